"""Benchmarks: the cost of the service relative to the cost of its components."""
