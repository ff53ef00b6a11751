"""Numbered migrations, applied in order; each file is run once, in one transaction."""
