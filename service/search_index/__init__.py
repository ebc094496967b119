"""The full-text index of papers, which is derived from PostgreSQL."""
