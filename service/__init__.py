"""A caching, rate-limiting HTTP gateway to the arXiv API."""

__version__ = "0.1.0"
