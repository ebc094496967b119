"""arXiv identifiers, in every form in which they are written."""

import re
from typing import NamedTuple
from urllib.parse import quote

_ID = re.compile(
    r"(?:(?P<new>\d{4}\.\d{4,5})|(?P<archive>[a-z]+(?:-[a-z]+)*)(?:\.[A-Z]{2})?/(?P<number>\d{7}))"
    r"(?P<version>v[1-9]\d{0,3})?",
    re.ASCII,
)
_ID_IN_URL = re.compile(
    r"(?:arxiv:\s*|(?:https?://(?:dx\.)?doi\.org/)?10\.48550/arxiv\."
    r"|(?:https?://)?(?:\w+\.)?arxiv\.org/(?:abs|pdf|html)/)(?P<id>.*?)(?:\.pdf|/)?"
    r"(?:[?#].*)?",
    re.IGNORECASE | re.DOTALL,
)


class ArxivId(NamedTuple):
    """An identifier without its version, and the version if the text has one."""

    name: str
    version: int | None


def parse_arxiv_id(text: str) -> ArxivId | None:
    """Return the identifier that a text consists of, or None."""
    url = _ID_IN_URL.fullmatch(text)
    match = _ID.fullmatch(url["id"] if url else text)
    if not match:
        return None
    # arXiv itself omits the subject class: math.GT/0309136 is math/0309136
    name = match["new"] or f"{match['archive']}/{match['number']}"
    return ArxivId(name, int(match["version"][1:]) if match["version"] else None)


def format_versioned_id(arxiv_id: str | None, version: int | None) -> str:
    """Return `2101.00001v2`, or the identifier alone if the version is unknown."""
    return f"{arxiv_id}v{version}" if arxiv_id and version else arxiv_id or ""


def format_abs_url(arxiv_id: str | None, version: int | None) -> str | None:
    """Return the URL of the paper's page at arXiv, or None without an identifier."""
    name = format_versioned_id(arxiv_id, version)
    return f"https://arxiv.org/abs/{quote(name)}" if name else None
