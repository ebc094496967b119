"""Searches of arXiv in the words of their users."""

import re

from ..arxiv_query import parse_query
from ..arxiv_query_parser import format_query
from ..arxiv_query_translation import translate_query
from ..errors import InvalidParameter
from ..metadata.arxiv_ids import ArxivId, find_paper_reference, format_versioned_id
from ..models.arxiv import Search
from .forms import replace_controls
from .recorded_query import parse_recorded_query

_ARXIV_FIELD = re.compile(
    r"\b(?:co|jr|cat|rn|id|doi|all|submittedDate|lastUpdatedDate):", re.IGNORECASE
)
"""A field that queries of the stored papers do not have."""


def create_search(q: str) -> Search:
    """Return the search of arXiv for a text.

    The text is the identifier of a paper, a query in arXiv's own language, or a query as for the
    stored papers. Raises InvalidParameter.
    """
    match find_paper_reference(q):
        case ArxivId(name, version):
            return Search(id_list=(format_versioned_id(name, version),))
        case str(doi):
            return Search(query=f'doi:"{doi}"')
    try:
        parse_query(q)
    except InvalidParameter:
        if _ARXIV_FIELD.search(q):
            raise
        return Search(query=format_query(translate_query(q)))
    return Search(query=q)


def describe_query(query: str) -> str:
    """Return what a recorded search looks for, without the parameters that select its page."""
    recorded = parse_recorded_query(query)
    if recorded is None:
        return replace_controls(query)
    return replace_controls(" in ".join(filter(None, (recorded.search_query, recorded.id_list))))
