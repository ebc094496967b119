"""The text of a recorded search, and the search that it belongs to.

The text is what arXiv reports of a search: it lacks the order, and the query is as arXiv
has corrected it. The key of the search shows what was sent.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import get_args
from uuid import UUID

from msgspec import Struct, structs

from .api_query import parse_api_query
from .arxiv_query import build_api_params, compute_mirror_key, compute_search_key
from .errors import InvalidApiQuery
from .models.arxiv import ApiQuery, SearchSource, SortBy, SortOrder
from .models.records import Run

_RECORDED = re.compile(
    r"search_query=(?P<search_query>.*)&id_list=(?P<id_list>[^&]*)"
    r"(?:&start=(?P<start>[0-9]+))?(?:&max_results=(?P<max_results>[0-9]+))?"
    r"(?:&sortBy=(?P<sortBy>[A-Za-z]+)&sortOrder=(?P<sortOrder>[a-z]+))?(?:&raw=(?P<raw>.*))?",
    re.DOTALL,
)
_DATES = re.compile(r'submittedDate:"([0-9]+ TO [0-9]+)"')
_NO_KEY = UUID(int=0)
_ORDERS = {
    ("relevance", "descending"): "by relevance",
    ("relevance", "ascending"): "by relevance, the least relevant first",
    ("lastUpdatedDate", "descending"): "most recently updated first",
    ("lastUpdatedDate", "ascending"): "least recently updated first",
    ("submittedDate", "descending"): "newest first",
    ("submittedDate", "ascending"): "oldest first",
}


class RestoredSearch(Struct, frozen=True):
    """A recorded search that can be run again."""

    query: ApiQuery
    source: SearchSource
    """What answers it; `auto` if it was a mirror that was current."""
    has_same_key: bool
    """Whether its runs have the key of the recorded one; otherwise its order is unknown."""

    @property
    def order(self) -> str:
        """The order of its results in words."""
        if not self.has_same_key:
            return "unknown"
        return _ORDERS[self.query.sort_by, self.query.sort_order]


def parse_recorded_query(text: str) -> ApiQuery | None:
    """Return what a recorded text says; None if it is not a search of arXiv's API."""
    match = _RECORDED.fullmatch(text)
    if match is None:
        return None
    values = {name: value for name, value in match.groupdict().items() if value}
    try:
        return parse_api_query(values, "mirror")  # which has pages that arXiv does not have
    except InvalidApiQuery:
        return None


def describe_query(text: str, recorded: ApiQuery | None) -> str:
    """Return what a recorded search looks for, without the parameters that select its page.

    `recorded` is what `parse_recorded_query` reads in the text.
    """
    if recorded is None:
        return text
    return " in ".join(filter(None, (recorded.search_query, recorded.id_list)))


def restore_search(run: Run, api_url: str) -> RestoredSearch | None:
    """Return the search that a run belongs to, at arXiv's API at this URL; None if it is unknown.

    Without a key, or if arXiv has corrected the query, this is the search in the recorded text.
    """
    recorded = parse_recorded_query(run.query)
    if recorded is None:
        return None
    for query in _list_candidates(recorded):
        params = build_api_params(query)
        keys: dict[UUID, SearchSource] = {
            compute_search_key(api_url, params): "arxiv",
            compute_mirror_key(params, "mirror"): "mirror",
            compute_mirror_key(params, "auto"): "auto",
        }
        if source := keys.get(run.search_key or _NO_KEY):
            return RestoredSearch(query, source, has_same_key=True)
    return RestoredSearch(recorded, "arxiv", has_same_key=False)


def _list_candidates(recorded: ApiQuery) -> Iterator[ApiQuery]:
    """Yield the searches that arXiv may report in this way."""
    # arXiv replaces the brackets of a range by quotes
    ranges = _DATES.sub(r"submittedDate:[\1]", recorded.search_query)
    texts = dict.fromkeys((recorded.search_query, ranges))
    raws = dict.fromkeys((recorded.raw, "1"))
    for text, by, order, raw in product(texts, get_args(SortBy), get_args(SortOrder), raws):
        yield structs.replace(recorded, search_query=text, sort_by=by, sort_order=order, raw=raw)
