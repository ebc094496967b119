"""Structs that the modules exchange; field names are those of the tables and of the JSON."""
