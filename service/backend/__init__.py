"""The HTTP client of a frontend for its backend, and the read requests it sends."""
