"""The vendor contract, version 0.4."""
