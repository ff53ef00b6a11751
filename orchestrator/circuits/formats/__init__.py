"""Circuit formats in and out; one module a family."""
