"""Programs that use a real client of the arXiv API and print what they get as JSON."""
