"""Simulated trapped-ion QPUs: native gates, gate times, calibrations that drift, and a queue of one."""
