"""What this machine makes of the orchestrator: ``orchestrator bench`` (docs/performance.md)."""
