"""The service under faults, for real: its process, PostgreSQL's, and what lies between them."""
