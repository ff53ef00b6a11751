"""Backends that fail on purpose, for tests and rehearsals."""
