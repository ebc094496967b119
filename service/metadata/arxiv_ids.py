"""arXiv identifiers, in every form in which they are written."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from .dois import parse_doi
from .unicode_text import narrow_punctuation, remove_invisible

MAX_LENGTH = 1000
"""Characters of a text that may be an identifier; the query of a URL can be long."""

_OLD_ARCHIVES = (
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|comp-gas"
    "|cond-mat|cs|dg-ga|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math|math-ph|mtrl-th|nlin"
    "|nucl-ex|nucl-th|patt-sol|physics|plasm-ph|q-alg|q-bio|quant-ph|solv-int|supr-con"
)
"""The archives whose papers had identifiers of their own until March 2007."""
_BEFORE = "<([{\"'`“”„‘’‚«»‹›"  # noqa: RUF001 - quotes of other languages
_AFTER = ">)]}\"'`“”‘’«»‹›.,;:!"  # noqa: RUF001
_PAGES = "(?:abs|pdf|html|e-print|format|src|ps|dvi|tb|overview|ftp/arxiv/papers/[0-9]{4})"
_ADDRESS = re.compile(
    r"(?:https?:/{1,2})?"  # the path of a request lacks one of the slashes
    r"(?:(?:(?:[a-z0-9-]+\.){0,3}arxiv\.org|xxx\.lanl\.gov|(?:www\.)?alphaxiv\.org|ar5iv\.org)"
    rf"/+(?:{_PAGES}/+)?|(?:www\.)?(?:huggingface\.co/+papers|scirate\.com/+arxiv)/+"
    r"|(?:www\.|api\.)?semanticscholar\.org/+(?:arxiv/+|(?=arxiv:))"
    r"|(?:(?:dx\.|www\.)?doi\.org/+)10\.48550/(?=arxiv[.:]))"
    r"|(?:doi\b\s*:?\s*)?10\.48550/(?=arxiv[.:])"
    rf"|/*{_PAGES}/+",
    re.IGNORECASE | re.ASCII,
)
_PREPRINT = r"(?:arxiv[\s-]+)?(?:pre|e-?)prints?[\s,:]+"
"""What citations have before an identifier: arXiv preprint arXiv:2101.00001."""
_LABEL = re.compile(
    rf"(?:{_PREPRINT})?(?:(?:oai:)?arxiv(?:\.org(?=:))?[\s:._-]*)?", re.IGNORECASE | re.ASCII
)
_ID = re.compile(
    r"(?:(?P<new>(?P<month>[0-9]{4})\.[0-9]{4,5})"
    # arXiv itself omits the subject class: math.GT/0309136 is math/0309136
    rf"|(?P<archive>{_OLD_ARCHIVES})"
    r"(?:\.[a-z]+(?:-[a-z]+)?)?/(?P<number>[0-9]{7}))"
    r"(?:v(?P<version>[1-9][0-9]{0,3}))?",
    re.IGNORECASE | re.ASCII,
)
_DAY = r"[0-9]{1,2}\s+[a-z]{3,9}\.?"
"""In the stamp on the first page of a paper: arXiv:2101.00001v1 [cs.SE] 5 Jan 2021."""
_REST = re.compile(
    r"(?:\.(?:pdf|ps|dvi|html?|tar|gz)){0,2}/*(?:[?#].*)?"
    rf"|(?:\s*\[[a-z.-]+\]?)?(?:,?\s+\(?(?:{_DAY}\s+)?[0-9]{{4}}\)?)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_LIST_ITEM = re.compile(
    rf"(?:{_PREPRINT})?(?:(?:(?:oai:)?arxiv(?:\.org)?|doi)(?:\s*:\s*|\s+(?=[0-9a-z])))?[^\s,;]+"
    rf"(?:\s+\[[a-z.-]+\])?(?:\s+{_DAY}\s+[0-9]{{4}}\b|\s+\((?:{_DAY}\s+)?[0-9]{{4}}\))?",
    re.IGNORECASE | re.ASCII,
)


class ArxivId(NamedTuple):
    """An identifier without its version, and the version if the text has one."""

    name: str
    version: int | None


def parse_arxiv_id(text: str) -> ArxivId | None:
    """Return the identifier that a text consists of, or None."""
    if len(text) > MAX_LENGTH:
        return None
    text = _normalize_spelling(unquote(text)).lstrip(_BEFORE).rstrip(_AFTER).strip()
    for prefix in (_ADDRESS, _LABEL):
        if match := prefix.match(text):
            text = text[match.end() :]
    match = _ID.match(text)
    if not (match and _REST.fullmatch(text, match.end()) and (name := _normalize(match))):
        return None
    return ArxivId(name, int(match["version"]) if match["version"] else None)


def split_arxiv_ids(text: str) -> list[str]:
    """Return the items of a list separated by commas, semicolons or white space."""
    return _LIST_ITEM.findall(_normalize_spelling(text))


def find_paper_reference(text: str) -> ArxivId | str | None:
    """Return the identifier or the DOI that a full-text query consists of, or None.

    Text in quotes is not a reference: quotes request the literal text.
    """
    return None if text.lstrip().startswith('"') else parse_arxiv_id(text) or parse_doi(text)


def _normalize_spelling(text: str) -> str:
    return " ".join(narrow_punctuation(remove_invisible(text)).split())


def _normalize(match: re.Match[str]) -> str | None:
    """Return arXiv's spelling of an identifier, or None if arXiv never assigned such a one."""
    new, month = match["new"], match["month"] or match["number"][:4]
    if not "01" <= month[2:] <= "12":
        return None
    if new:
        return new if month >= "0704" else None
    return None if "0703" < month < "9101" else f"{match['archive'].lower()}/{match['number']}"


def format_versioned_id(arxiv_id: str | None, version: int | None) -> str:
    """Return `2101.00001v2`, or the identifier alone if the version is unknown."""
    return f"{arxiv_id}v{version}" if arxiv_id and version else arxiv_id or ""


def format_abs_url(arxiv_id: str | None, version: int | None) -> str | None:
    """Return the URL of the paper's page at arXiv, or None without an identifier."""
    # identifiers consist of characters that URLs may contain
    name = format_versioned_id(arxiv_id, version)
    return f"https://arxiv.org/abs/{name}" if name else None
