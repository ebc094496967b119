"""Searches of arXiv in the words of their users."""

import re

from ..arxiv_query_parser import format_query
from ..arxiv_query_translation import translate_query
from ..metadata.arxiv_ids import format_versioned_id
from ..models.arxiv import Search
from ..paper_query import Reference, parse_query
from .forms import replace_controls
from .recorded_query import parse_recorded_query

_PHRASE = re.compile('"[^"]*"')
_ARXIV_FIELD = re.compile(
    r"\b(?:co|jr|cat|rn|id|doi|all|submittedDate|lastUpdatedDate):(?=\S)", re.IGNORECASE
)
"""A field that queries of the stored papers do not have."""


def create_search(q: str) -> Search:
    """Return the search of arXiv for a query as for the stored papers.

    With a field that only arXiv has, the query is in arXiv's own language. Raises InvalidParameter.
    """
    if _ARXIV_FIELD.search(_PHRASE.sub('""', q)):
        return Search(query=q)
    query = parse_query(q)
    if not isinstance(query, Reference):
        return Search(query=format_query(translate_query(q, query)))
    if query.arxiv_id:
        return Search(id_list=(format_versioned_id(query.arxiv_id, query.version),))
    return Search(query=f'doi:"{query.doi}"')


def describe_query(query: str) -> str:
    """Return what a recorded search looks for, without the parameters that select its page."""
    recorded = parse_recorded_query(query)
    if recorded is None:
        return replace_controls(query)
    return replace_controls(" in ".join(filter(None, (recorded.search_query, recorded.id_list))))
