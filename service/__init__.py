"""arxiv-gateway: one polite door to the arXiv API, with a memory in PostgreSQL."""

__version__ = "0.1.0"
