"""The vendor contract, version 0.3: superseded, still spoken by older clients."""
