"""DOIs, in every form in which arXiv's authors and users write them."""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from ..models.arxiv import Link
from .unicode_text import narrow_punctuation, remove_invisible

MAX_LENGTH = 1000
"""Characters of a text that may be a DOI, a URL included."""
MAX_DOI_LENGTH = 500
"""A longer one is left out, because it may be the beginning of a text that was cut."""

_DOI = re.compile(r"(?:(?<![\w.])|(?<=doi))10\.[0-9]{4,9}/\S+", re.IGNORECASE)
_ENCODED_SLASH = re.compile(r"(?<=10\.)([0-9]{4,9})%2F", re.IGNORECASE)
_ENCODED = re.compile(r"%(2[1-9A-F]|[3-6][0-9A-F]|7[0-9A-E])", re.IGNORECASE)
"""A visible ASCII character in a URL, such as the brackets of a SICI."""
_NEXT = re.compile(
    r"[,;](?=https?://|(?:info:|urn:)?doi\b|(?:dx\.|www\.)?doi\.org/|10\.)", re.IGNORECASE
)
_WHOLE = re.compile(
    r"(?:https?://\S+?[/=](?=10\.|doi)|(?:dx\.|www\.)?doi\.org/|(?:info:|urn:)?doi[:/=.]|doi\b)*+"
    r"\s*10\.[0-9]{4,9}(?:/|%2F)\S+",
    re.IGNORECASE,
)
_OPENING = {")": "(", "]": "[", "}": "{", ">": "<", "”": "“", "’": "‘", "»": "«"}  # noqa: RUF001
_CLOSING = {opening: closing for closing, opening in _OPENING.items()}


def parse_dois(texts: Iterable[str]) -> list[str]:
    """Return the bare DOIs in texts such as the elements `arxiv:doi` of an entry, each once."""
    found: dict[str, str] = {}
    for text in texts:
        for doi in _find_dois(text):
            found.setdefault(doi.lower(), doi)  # DOIs ignore case
    return list(found.values())


def parse_doi(text: str) -> str | None:
    """Return the bare DOI that a text consists of, or None."""
    if len(text) > MAX_LENGTH:
        return None
    text = narrow_punctuation(remove_invisible(text)).strip().lstrip("<([{")
    dois = parse_dois([text]) if _WHOLE.fullmatch(text) else []
    return dois[0] if len(dois) == 1 else None


def format_doi_url(doi: str) -> str:
    """Return the URL that resolves a DOI."""
    return "https://doi.org/" + quote(doi, safe="/:;()")


def replace_doi_links(links: list[Link], dois: list[str]) -> list[Link]:
    """Return the links with exactly one for each DOI, in the place of the first one."""
    position = next((i for i, link in enumerate(links) if _is_doi_link(link)), len(links))
    before, after = links[:position], links[position:]
    return [
        *before,
        *(Link(format_doi_url(doi), "related", "doi") for doi in dois),
        *(link for link in after if not _is_doi_link(link)),
    ]


def _is_doi_link(link: Link) -> bool:
    return link.title == "doi"


def _find_dois(text: str) -> Iterator[str]:
    text = narrow_punctuation(remove_invisible(text))
    for word in _ENCODED_SLASH.sub(r"\1/", text).split():
        for part in _NEXT.split(word):
            match = _DOI.search(part)
            if match and len(match[0]) <= MAX_DOI_LENGTH:
                is_url = "/" in part[: match.start()]
                if doi := _strip_end(_decode_path(match[0]) if is_url else match[0]):
                    yield doi


def _decode_path(text: str) -> str:
    """Return the rest of a URL without its encoding, query and fragment."""
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    return _NEXT.split(_ENCODED.sub(lambda character: chr(int(character[1], 16)), path))[0]


def _strip_end(text: str) -> str:
    """Remove punctuation, and quotes and brackets without a counterpart, from the end of a DOI."""
    if text[-1].isalnum():
        return text  # the rest takes ten times as long
    surplus = {mark: text.count(mark) % 2 for mark in "\"'"}
    surplus |= {mark: text.count(mark) - text.count(_OPENING[mark]) for mark in _OPENING}
    end = len(text)
    while (last := text[end - 1]) in ",;." or last in _CLOSING or surplus.get(last, 0) > 0:
        end -= 1
        if closing := _CLOSING.get(last):
            surplus[closing] += 1
        elif last in surplus:
            surplus[last] -= 1
    doi = text[:end]
    return doi if _DOI.fullmatch(doi) else ""
