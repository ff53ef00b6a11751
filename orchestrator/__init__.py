"""Orchestrate quantum jobs: your own quantum cloud in one package."""
