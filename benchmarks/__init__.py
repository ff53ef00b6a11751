"""Measurements and rehearsals; not part of the package."""
