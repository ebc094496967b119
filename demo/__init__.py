"""A stand-in for the arXiv API that serves generated papers."""
