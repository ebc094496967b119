"""Tests of the pages for browsers, over HTTP."""
