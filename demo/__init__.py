"""A stand-in for the arXiv API that answers from generated papers."""
