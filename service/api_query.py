"""The parameters of arXiv's own API, read as arXiv reads them.

A value that arXiv rejects is rejected here, with arXiv's message. What needs more than the
parameters, such as the syntax of a query, is left to arXiv.
"""

import codecs
import re
from collections.abc import Mapping
from typing import cast, get_args
from urllib.parse import parse_qsl, urlencode

from .arxiv_query import MAX_MIRROR_RESULT, MAX_RESULT
from .errors import InvalidApiQuery
from .models.arxiv import MAX_RESULTS, ApiQuery, SearchSource, SortBy, SortOrder

MAX_PARAMETERS = 100
MAX_QUERY_CHARS = 10_000
MAX_RAW_CHARS = 100
MAX_ENCODED_CHARS = 60_000
"""Of all texts in the URL of a request to arXiv, for which httpx takes at most 65,536; 2,000
identifiers with versions take 46,000."""

_ID = re.compile(r"\d{4}\.\d{4,5}|[a-z-]/\d{2}[01]\d{4}", re.IGNORECASE)
"""An identifier of either form, the archive reduced to its last letter: any number of letters
would take time in proportion to the square of their number."""
_SORT_KEYS = get_args(SortBy)
_SORT_ORDERS = sorted(get_args(SortOrder))


def _encode_again(error: UnicodeError) -> tuple[str, int]:
    """Return the bytes that are not UTF-8, percent-encoded: an error handler of `decode`."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - nothing is encoded with it
    invalid = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in invalid), error.end


_KEEP_ENCODED = "arxiv_gateway.keep_encoded"
codecs.register_error(_KEEP_ENCODED, _encode_again)


def parse_parameters(text: bytes) -> dict[str, str]:
    """Return the parameters in the query of a URL or in a form; the first of each name.

    Bytes that are not UTF-8 stay percent-encoded, as at arXiv. Raises InvalidApiQuery.
    """
    try:
        pairs = parse_qsl(
            text.decode(errors=_KEEP_ENCODED),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors=_KEEP_ENCODED,
        )
    except ValueError:
        raise InvalidApiQuery(f"there are more than {MAX_PARAMETERS} parameters") from None
    return dict(reversed(pairs))


def parse_api_query(parameters: Mapping[str, str], source: SearchSource = "auto") -> ApiQuery:
    """Return the search in these parameters; others are ignored. Raises InvalidApiQuery.

    The checks and their order are those of arXiv.
    """
    search_query, id_list = parameters.get("search_query", ""), parameters.get("id_list", "")
    _check_texts(parameters)
    if id_list:
        _check_ids(id_list)
    max_results = _parse_count(parameters, "max_results", 10)
    start = _parse_count(parameters, "start", 0)
    sort_by = _parse_choice(parameters, "sortBy", _SORT_KEYS, "relevance")
    sort_order = _parse_choice(parameters, "sortOrder", _SORT_ORDERS, "descending")
    if not search_query and not id_list:
        raise InvalidApiQuery(
            "Either a search_query or id_list must be specified for the classic API."
        )
    _check_page(start, max_results, MAX_MIRROR_RESULT if source == "mirror" else MAX_RESULT)
    return ApiQuery(
        search_query=search_query,
        id_list=id_list,
        start=start,
        max_results=max_results,
        sort_by=cast("SortBy", sort_by),
        sort_order=cast("SortOrder", sort_order),
        raw=parameters.get("raw", ""),
    )


def _check_texts(parameters: Mapping[str, str]) -> None:
    limits = {"search_query": MAX_QUERY_CHARS, "id_list": MAX_ENCODED_CHARS, "raw": MAX_RAW_CHARS}
    texts = {name: parameters.get(name, "") for name in limits}
    for name, text in texts.items():
        if len(text) > limits[name]:
            raise InvalidApiQuery(f"{name} must have at most {limits[name]} characters")
        if "\0" in text:
            raise InvalidApiQuery(f"{name} must not contain a NUL character")
    if len(urlencode(texts)) > MAX_ENCODED_CHARS:
        raise InvalidApiQuery(
            f"the parameters must have at most {MAX_ENCODED_CHARS} characters in a URL"
        )


def _check_ids(id_list: str) -> None:
    """Check that each item contains an identifier, as arXiv does."""
    for item in id_list.split(","):
        if not _ID.search(item):
            raise InvalidApiQuery(f"incorrect id format for {item}")


def _parse_count(parameters: Mapping[str, str], name: str, default: int) -> int:
    try:
        count = int(parameters.get(name, default))
    except ValueError:
        raise InvalidApiQuery(f"{name} must be an integer") from None
    if count < 0:
        raise InvalidApiQuery(f"{name} must be non-negative")
    return count


def _parse_choice(
    parameters: Mapping[str, str], name: str, choices: list[str] | tuple[str, ...], default: str
) -> str:
    choice = parameters.get(name, default)
    if choice not in choices:
        raise InvalidApiQuery(f"{name} must be in: {', '.join(choices)}")
    return choice


def _check_page(start: int, max_results: int, max_result: int) -> None:
    """Reject pages that arXiv's documentation excludes; its server fails with 500 instead."""
    if max_results == 0:
        raise InvalidApiQuery("max_results must be positive")
    if max_results > MAX_RESULTS:
        raise InvalidApiQuery(f"max_results must be at most {MAX_RESULTS}")
    if start + max_results > max_result:
        raise InvalidApiQuery(
            f"start must be at most {max_result - max_results}: arXiv sends only the first"
            f" {max_result} results of a search"
        )
