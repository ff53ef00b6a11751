"""A lab's ion trap as a backend: a blocking driver, the adapter over it, and an instrument to try both with."""
