"""Dispatch: ready jobs to adapters; claims, leases, retries, time limits, cancel, drain."""
