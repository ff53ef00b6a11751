"""Storage: the store contract and its implementations."""
