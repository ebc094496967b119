"""The mirror of arXiv's metadata: how it is filled and updated, and answers from it."""
