"""The pages for browsers: handlers, templates and static files."""
