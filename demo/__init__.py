"""A stand-in for arXiv that serves generated papers: the API, OAI-PMH and RSS."""
