"""Supervised worker processes and their protocol."""
