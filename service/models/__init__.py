"""Structs that the modules exchange; field names are those of the tables and of the JSON."""

from typing import Any

from msgspec import Meta


def describe(description: str, *examples: object, **bounds: Any) -> Meta:  # noqa: ANN401 - see Meta
    """Describe a field in OpenAPI."""
    return Meta(description=description, examples=[*examples] or None, **bounds)


TITLE = describe("title", "Invariants of any differential expressions")
AUTHORS = describe("authors, in order", ["Emmy Noether", "Felix Klein"])
GROUP_AUTHORS = describe(
    "those of `authors` that are groups, as marked by a colon after the name",
    ["ATLAS Collaboration"],
)
AFFILIATIONS = describe(
    "affiliations of each author, in the order of `authors`", [["Goettingen"], []]
)
ABSTRACT = describe("abstract", "We study what stays the same.")
JOURNAL = describe("journal reference", "Nachr. Ges. Wiss. Goettingen 1918")
COMMENT = describe("comment of the authors", "18 pages")
DOIS = describe("DOIs of the published versions", ["10.1000/182"])
PRIMARY_CATEGORY = describe("primary category", "math.DG")
CATEGORIES = describe("all categories", ["math.DG", "math-ph"])
VERSION = describe("version of the paper; null if unknown", 2)
PUBLISHED = describe("when version 1 was submitted", "2026-11-02T09:17:46Z")
UPDATED = describe("when this version was submitted", "2026-11-20T12:31:55Z")
LINKS = describe(
    "links of the paper's Atom entry",
    [{"href": "https://arxiv.org/abs/2611.00001v2", "rel": "alternate"}],
)
SENT = describe(
    "texts as arXiv sent them, where white space, authors, DOIs or links were corrected",
    {"summary": "  We study what\nstays the same.\n"},
)
URL = describe(
    "page of the paper at arXiv, with its version if known; null without an identifier",
    "https://arxiv.org/abs/2611.00001v2",
)
NULLABLE_ID = describe("arXiv identifier without a version; null if unknown", "2611.00001")
UNIX_TIME = describe("time of the search, in Unix seconds", 1_795_464_900)
