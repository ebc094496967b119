"""Searches of arXiv in the words of their users."""

import re

from ..errors import InvalidParameter
from ..metadata.arxiv_ids import ArxivId, find_paper_reference
from ..models.arxiv import Search
from .forms import replace_controls
from .recorded_query import parse_recorded_query

_PLAIN_WORDS = re.compile(r'[^"():]+')
_OPERATOR = re.compile(r"\b(?:AND|OR|ANDNOT|NOT)\b")


def create_search(q: str) -> Search:
    """Return the search of arXiv for a text: plain words, an identifier, or arXiv's own language.

    All of the words must match. Raises InvalidParameter.
    """
    if not q.strip():
        raise InvalidParameter("q", "it does not contain a word to search for")
    match find_paper_reference(q):
        case ArxivId(name, version):
            return Search(id_list=(f"{name}v{version}" if version else name,))
        case str(doi):
            return Search(query=f'doi:"{doi}"')
    if _PLAIN_WORDS.fullmatch(q) and not _OPERATOR.search(q):
        return Search(query=" AND ".join(q.split()))
    return Search(query=q)


def describe_query(query: str) -> str:
    """Return what a recorded search looks for, without the parameters that select its page."""
    recorded = parse_recorded_query(query)
    if recorded is None:
        return replace_controls(query)
    return replace_controls(" in ".join(filter(None, (recorded.search_query, recorded.id_list))))
