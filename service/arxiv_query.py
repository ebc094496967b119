"""Search parameters to arXiv's request parameters, and a check that arXiv executed the same query.

A search always produces the same text, whatever the order and spelling of its parameters, because
the text identifies it in the cache.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from sys import getsizeof
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from cachetools import LRUCache, cached
from msgspec import structs

from . import arxiv_query_parser as parser
from .arxiv_query_parser import Node, Term
from .errors import InvalidParameter
from .metadata.arxiv_ids import ArxivId, parse_arxiv_id, split_arxiv_ids
from .metadata.categories import UnknownCategory, select_categories
from .metadata.person_names import format_given_first
from .metadata.tex import convert_markup
from .metadata.unicode_text import remove_invisible, straighten_quotes
from .models.arxiv import ApiQuery, ArxivRequest, Entry, Feed, Search, SearchSource

QUERY_PREFIX = re.compile(r"^arxiv query:\s*", re.IGNORECASE)
"""The prefix of a feed's title: `ArXiv` before November 2025, `arXiv` since then."""
MAX_RESULT = 10_000  # arXiv returns no result beyond this one
MAX_MIRROR_RESULT = 10_000_000  # more than arXiv has papers
MAX_QUERY_LENGTH = 5000  # characters of a query in arXiv's own syntax
MAX_LIST_ITEMS = 200  # ids per search

FIELDS = {
    "author": "au",
    "title": "ti",
    "journal": "jr",
    "abstract": "abs",
    "comment": "co",
    "any": "all",
}
SEARCH_PARAMS = (*FIELDS, "category", "id_list", "query", "submitted_from", "submitted_to")
"""A search needs at least one of these parameters."""

_EARLIEST = 662_688_000  # 1991-01-01T00:00:00 UTC
_LATEST = 4_102_444_740  # 2099-12-31T23:59:00 UTC


MAX_CACHED_BYTES = 4 * 2**20
"""Size of the encoded searches kept in memory; one takes two kilobytes."""


def _compute_size(request: ArxivRequest) -> int:
    """The approximate size of a cached search in memory."""
    texts: list[object] = [*request.parameters.values()]
    for value in structs.astuple(request.search):
        texts += value if isinstance(value, tuple) else [value]
    return 1000 + sum(map(getsizeof, texts))


@cached(LRUCache(MAX_CACHED_BYTES, getsizeof=_compute_size))  # popular searches are repeated
def encode_search(
    search: Search | ApiQuery,
    api_url: str,
    default_max_results: int,
    source: SearchSource = "auto",
) -> ArxivRequest:
    """Encode a search for arXiv or the mirror. Raises InvalidParameter."""
    if isinstance(search, ApiQuery):
        params = build_api_params(search)
    else:
        params = build_params(search, default_max_results, source)
        search = structs.replace(search, max_results=int(params["max_results"]))
    mirror_key = compute_mirror_key(params, source)
    search_key = mirror_key if source == "mirror" else compute_search_key(api_url, params)
    return ArxivRequest(search, params, search_key, mirror_key, source)


def compute_mirror_key(params: dict[str, str], source: SearchSource) -> UUID:
    """Return the key of the answers of the mirror to these parameters.

    Those of a current mirror, for `auto`, have another key than those of any age.
    """
    return compute_search_key(f"mirror, source={source}", params)


def compute_search_key(url: str, params: dict[str, str]) -> UUID:
    """Return the key of the answers of arXiv at this URL to these parameters."""
    return UUID(bytes=sha256(f"{url}?{urlencode(params)}".encode()).digest()[:16])


def build_api_params(query: ApiQuery) -> dict[str, str]:
    """Return the parameters to send to arXiv."""
    params = _create_params(
        query.search_query, query.id_list, query.start, query.max_results, query
    )
    return params | ({"raw": query.raw} if query.raw else {})


def _create_params(
    search_query: str, id_list: str, start: int, max_results: int, search: Search | ApiQuery
) -> dict[str, str]:
    params = {
        "search_query": search_query,
        "id_list": id_list,
        "start": str(start),
        "max_results": str(max_results),
    }
    if (search.sort_by, search.sort_order) != ("relevance", "descending"):
        params |= {"sortBy": search.sort_by, "sortOrder": search.sort_order}
    return params


def build_params(
    search: Search, default_max_results: int, source: SearchSource = "auto"
) -> dict[str, str]:
    """Return the parameters to send to arXiv. Raises InvalidParameter."""
    query = _build_query(search)
    ids = _parse_ids(search.id_list)
    if not (query or ids):
        raise InvalidParameter(", ".join(SEARCH_PARAMS), "give at least one of them")
    size = search.max_results
    if size is None:
        # arXiv applies max_results to ids, too
        size = len(ids) or default_max_results
    if search.start + size > MAX_RESULT and source != "mirror":
        raise InvalidParameter(
            "start",
            f"the page exceeds arXiv's last result, {MAX_RESULT:,}; narrow the search with"
            " submitted_from and submitted_to, use source=mirror, or use harvest, which narrows"
            " it itself",
        )
    return _create_params(query, ",".join(ids), search.start, size, search)


def _build_query(search: Search) -> str:
    """Return a query in which all parameters must match."""
    nodes: list[Node] = []
    if search.query and search.query.strip():
        nodes.append(_parse_query(search.query))
    for name, field in FIELDS.items():
        text = getattr(search, name)
        if text and text.strip():
            nodes.append(Term(field, clean_words(name, text)))
    if categories := _parse_categories(search.category):
        nodes.append(parser.join_nodes(categories, ["OR"] * (len(categories) - 1)))
    if search.submitted_from is not None or search.submitted_to is not None:
        nodes.append(_build_date_range(search.submitted_from, search.submitted_to))
    if not nodes:
        return ""
    text = parser.format_query(parser.join_nodes(nodes, ["AND"] * (len(nodes) - 1)))
    # if the second token contains an underscore, arXiv replaces all authors by it; the parenthesis
    # becomes a token of its own
    return f"({text})" if "_" in text and not text.startswith("(") else text


def clean_words(name: str, text: str) -> str:
    """Return what a parameter searches for. Raises InvalidParameter."""
    text = straighten_quotes(convert_markup(remove_invisible(text)))
    if name == "author":
        text = format_given_first(text)
    if value := parser.clean_value(text, strip_wildcards=True):
        return value
    raise InvalidParameter(name, "has no characters that arXiv can search for")


def _parse_query(text: str) -> Node:
    if len(text) > MAX_QUERY_LENGTH:
        raise InvalidParameter("query", f"is longer than {MAX_QUERY_LENGTH} characters")
    try:
        return parser.parse_query(text)
    except parser.InvalidQuery as error:
        raise InvalidParameter("query", str(error)) from None


def _parse_categories(texts: Iterable[str]) -> list[Node]:
    try:
        names, archives = select_categories(texts)
    except UnknownCategory as error:
        raise InvalidParameter("category", str(error)) from None
    values = [*names, *(f"{archive}.*" for archive in archives)]
    return [Term("cat", value) for value in sorted(values)]


def parse_id_parameter(text: str, parameter: str) -> ArxivId:
    """Parse the identifier in a parameter. Raises InvalidParameter."""
    if (arxiv_id := parse_arxiv_id(text)) is None:
        raise InvalidParameter(
            parameter,
            f"{text[:100]!r} is not an arXiv id like 2101.00001, 2101.00001v2, hep-th/9901001,"
            " nor the URL or the DOI of a paper at arXiv",
        )
    return arxiv_id


def _parse_ids(texts: Iterable[str]) -> list[str]:
    items = (item for text in texts for item in split_arxiv_ids(text))
    pairs = [parse_id_parameter(item, "id_list") for item in items]
    ids = {arxiv_id if version is None else f"{arxiv_id}v{version}" for arxiv_id, version in pairs}
    _check_number("id_list", ids)
    return sorted(ids)


def _check_number(name: str, items: set[str]) -> None:
    if len(items) > MAX_LIST_ITEMS:
        raise InvalidParameter(name, f"takes at most {MAX_LIST_ITEMS} values, not {len(items)}")


def _build_date_range(since: int | None, until: int | None) -> Node:
    if since is not None and until is not None and until < since:
        raise InvalidParameter("submitted_to", "is before submitted_from")
    bounds = _EARLIEST if since is None else since, _LATEST if until is None else until
    moments = [datetime.fromtimestamp(min(max(bound, _EARLIEST), _LATEST), UTC) for bound in bounds]
    return Term("submittedDate", " TO ".join(f"{moment:%Y%m%d%H%M}" for moment in moments))


# Comparing the query that arXiv executed

_TITLE = re.compile(
    r"search_query=(?P<search_query>.*)&id_list=(?P<id_list>[^&]*)"
    r"(?:&start=(?P<start>[^&]*)&max_results=(?P<max_results>[^&]*))?",
    re.DOTALL,
)


def find_differences(sent: dict[str, str], feed: Feed) -> list[str]:
    """Compare the query that the feed reports with the one sent; one sentence per difference."""
    link, title = _parse_link(feed.link), _parse_title(feed.query)
    executed = title | link
    return _compare_queries(sent["search_query"], link, title) + [
        f"arXiv used {_quote(executed[name])} as {name}, not {_quote(sent[name])}"
        for name in ("id_list", "start", "max_results")
        if name in sent and name in executed
        if {*sent[name].split(",")} != {*executed[name].split(",")}
    ]


def _compare_queries(sent: str, link: dict[str, str], title: dict[str, str]) -> list[str]:
    executed = link.get("search_query")
    node = parser.parse_fielded_query(executed or "")
    if node or executed == "":
        # the link shows arXiv's parse tree: compare it with the tree that was sent
        equal = sent == executed == "" or _are_equal(_parse_unambiguous(sent), node)
    else:
        executed = title.get("search_query", sent)
        node = parser.parse_fielded_query(executed)
        equal = (
            (node is None and executed != "")  # it cannot be read
            or _normalize(executed) == _normalize(sent)
            or _are_equal(parser.parse_fielded_query(sent), node)
        )
    return [] if equal else [f"arXiv searched {_quote(executed or '')}, not {_quote(sent)}"]


def _parse_unambiguous(text: str) -> Node | None:
    """Parse a query that was sent; None if arXiv may interpret it differently."""
    without_dois = re.sub(r'doi:"[^"]*"', "", text)
    return None if "_" in without_dois else parser.parse_fielded_query(text, unambiguous=True)


def _are_equal(one: Node | None, other: Node | None) -> bool:
    if one is None or other is None:
        return False
    return parser.format_query(one).casefold() == parser.format_query(other).casefold()


def _normalize(text: str) -> str:
    """Remove differences of spelling without a meaning: case, spaces, quotes around one word."""
    return re.sub(r'"([^"\s]*)"', r"\1", " ".join(text.casefold().split()))


def _parse_link(href: str | None) -> dict[str, str]:
    """Return the parameters in a feed's link; links before November 2025 have none."""
    try:
        values = parse_qs(urlsplit(href or "").query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: texts[0] for name, texts in values.items()} if "search_query" in values else {}


def _parse_title(query: str | None) -> dict[str, str]:
    match = _TITLE.fullmatch(query or "")
    groups = match.groupdict().items() if match else ()
    return {name: text for name, text in groups if text is not None}


def _quote(text: str) -> str:
    return repr(text if len(text) <= MAX_QUERY_LENGTH else f"{text[:MAX_QUERY_LENGTH]}...")


def find_missing_ids(sent: dict[str, str], entries: list[Entry]) -> list[str]:
    """Return the requested ids without an entry. An id without a version means any version."""
    returned = {entry.arxiv_id for entry in entries}
    returned |= {f"{entry.arxiv_id}v{entry.version}" for entry in entries}
    return [name for name in sent["id_list"].split(",") if name and name not in returned]
