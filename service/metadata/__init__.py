"""Metadata of papers as arXiv, authors and users write it. Pure functions, one kind per module."""
