"""Ratios of what the service costs to what its parts cost, each pair measured in one run."""
