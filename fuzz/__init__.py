"""Fuzzing with coverage guidance, run by `make fuzz`."""
