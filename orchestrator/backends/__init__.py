"""Backends: the adapter contract, capabilities, discovery by entry point."""
