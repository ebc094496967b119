"""The stand-in for the arXiv API: an ASGI application that searches generated papers."""

from __future__ import annotations

import asyncio
import math
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from demo import feed, query
from demo.library import Library, UnsupportedQueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    from demo.feed import Family
    from demo.library import Hits
    from demo.papers import Paper

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

ATOM: Final = "application/atom+xml; charset=UTF-8"
PLAIN: Final = "text/plain; charset=UTF-8"
LAST_RESULT: Final = 10_000
"""The last result that a page may contain."""

_ID: Final = re.compile(
    r"(?P<base>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v(?P<version>\d+))?", re.ASCII
)
_SORTS: Final = ("relevance", "lastUpdatedDate", "submittedDate")
_ORDERS: Final = ("ascending", "descending")
_SORT_HELP: Final = "https://arxiv.org/help/api/user-manual#sort"
_PENDING: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Placeholder in rendered feeds of the new family for the time at which they are sent."""
_MAX_REQUESTS: Final = 20_000
"""Maximum number of stored requests; benchmarks send many more."""


@dataclass(slots=True)
class Request:
    """One request to the API as it was received, and its response time and status."""

    method: str
    raw_query: str
    body: bytes
    params: dict[str, str]
    headers: dict[str, str]
    started: float
    """Time of `time.monotonic`, like `ended`."""
    ended: float = math.inf
    """Infinite while the request is in progress."""
    status: int = 0
    """Zero until the response is sent."""


class RejectedError(Exception):
    """A request that arXiv rejects with an error entry."""

    def __init__(self, status: int, message: str, link: str = feed.ERRORS) -> None:
        """Set the status of the response and the text and link of the entry."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.link = link


@dataclass(frozen=True, slots=True)
class Search:
    """A validated search."""

    search_query: str
    """The rewritten query."""
    id_list: tuple[str, ...]
    start: int
    max_results: int
    sort_by: str
    order: str

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Search:
        """Validate parameters in arXiv's order; unknown parameters are ignored."""
        ids = tuple(params["id_list"].split(",")) if params.get("id_list") else ()
        for arxiv_id in ids:
            if not _ID.fullmatch(arxiv_id):
                message = f"incorrect id format for {arxiv_id}"
                link = f"{feed.ERRORS}#incorrect_id_format_for_{arxiv_id}"  # with its spaces
                raise RejectedError(400, message, link)
        search = cls(
            search_query=query.rewrite(params.get("search_query", "")),
            id_list=ids,
            max_results=_parse_count(params, "max_results", 10),
            start=_parse_count(params, "start", 0),
            sort_by=_parse_choice(params, "sortBy", _SORTS, "relevance"),
            order=_parse_choice(params, "sortOrder", _ORDERS, "descending"),
        )
        if not (search.search_query or ids):
            message = "Either a search_query or id_list must be specified for the classic API."
            raise RejectedError(400, message)
        return search


def _create_parameter_error(message: str) -> RejectedError:
    return RejectedError(400, message, f"{feed.ERRORS}#{message.replace(' ', '_')}")


def _parse_count(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        count = int(params.get(name, default))
    except ValueError as error:
        message = f"{name} must be an integer"
        raise _create_parameter_error(message) from error
    if count < 0:
        message = f"{name} must be non-negative"
        raise _create_parameter_error(message)
    return count


def _parse_choice(
    params: Mapping[str, str], name: str, choices: Sequence[str], default: str
) -> str:
    choice = params.get(name, default)
    if choice not in choices:
        # This error links to the manual, so its id does not contain the message.
        raise RejectedError(400, f"{name} must be in: {', '.join(choices)}", _SORT_HELP)
    return choice


@dataclass
class StandIn:
    """The API over a sequence of papers. Its attributes may be changed while it runs."""

    papers: Sequence[Paper]
    min_interval: float = field(default=0.0, kw_only=True)
    """Minimum time in seconds from the end of a request to the start of the next."""
    family: Family = field(default="new", kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    """Time in seconds that every response takes."""
    requests: list[Request] = field(default_factory=list, init=False)
    """The requests received, oldest first; the oldest are dropped beyond a limit."""

    def __post_init__(self) -> None:
        """Index the papers and create the caches."""
        self.library = Library(self.papers)
        self._find_papers_cached = lru_cache(maxsize=512)(self._find_papers)
        self._render_page_cached = lru_cache(maxsize=128)(self._render_page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.monotonic()
        body = await _receive_body(receive)
        if scope["path"] != "/api/query":
            await _send_response(send, 404, PLAIN, b"Not found.")
            return
        if scope["method"] not in ("GET", "POST"):
            await _send_response(send, 405, PLAIN, b"Method not allowed.")
            return
        request = _parse_request(scope, body, started)
        throttled = self._is_too_early(started)
        self._store_request(request)
        try:
            await asyncio.sleep(self.delay)
            if throttled:
                status, content_type, content = 429, PLAIN, b"Rate exceeded."
            else:
                (status, content), content_type = self.answer(request.params), ATOM
            request.status = status
        finally:
            # Set before the last byte is sent: the next request of a fast client must not overlap.
            request.ended = time.monotonic()
        await _send_response(send, status, content_type, content)

    def answer(self, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the status and the feed of a request with these parameters."""
        try:
            content = self._render_page_cached(Search.parse(params), self.family)
        except RejectedError as error:
            return error.status, feed.error(error.message, error.link, family=self.family)
        now = feed.format_time(datetime.now(UTC)).encode()
        return 200, content.replace(feed.format_time(_PENDING).encode(), now)

    def _is_too_early(self, now: float) -> bool:
        if self.min_interval <= 0:
            return False
        # A request in progress has an infinite end, so overlapping requests are too early as well.
        return any(now < past.ended + self.min_interval for past in self.requests)

    def _store_request(self, request: Request) -> None:
        self.requests.append(request)
        if len(self.requests) > _MAX_REQUESTS:
            del self.requests[: _MAX_REQUESTS // 2]

    def _render_page(self, search: Search, family: Family) -> bytes:
        papers = self._find_papers_cached(
            search.search_query, search.id_list, search.sort_by, search.order
        )
        end = search.start + search.max_results
        if search.max_results == 0 or end > LAST_RESULT:
            raise _create_server_error()
        return feed.render(
            papers[search.start : end],
            query=search.search_query,
            id_list=search.id_list,
            start=search.start,
            max_results=search.max_results,
            total=len(papers),
            updated=_PENDING if family == "new" else None,
            family=family,
        )

    def _find_papers(
        self, search_query: str, id_list: tuple[str, ...], sort_by: str, order: str
    ) -> list[Paper]:
        """Find all papers that match a search, in the requested order."""
        hits: Hits = dict.fromkeys(range(len(self.papers)), 0)
        try:
            if search_query:
                hits = self.library.find(query.parse(search_query))
        except query.InvalidQueryError as error:
            raise RejectedError(400, str(error)) from error
        except (UnsupportedQueryError, RecursionError) as error:
            raise _create_server_error() from error
        if id_list:
            found = [
                (number, paper) for number, paper in self._get_papers(id_list) if number in hits
            ]
        else:
            found = [(number, self.papers[number]) for number in sorted(hits)]
        match sort_by:
            case "relevance":
                found.sort(key=lambda item: -hits[item[0]])
            case "lastUpdatedDate":
                found.sort(key=lambda item: item[1].updated, reverse=True)
            case "submittedDate":
                found.sort(key=lambda item: item[1].submitted, reverse=True)
        if order == "ascending":
            found.reverse()
        return [paper for _, paper in found]

    def _get_papers(self, id_list: tuple[str, ...]) -> list[tuple[int, Paper]]:
        """Return the papers with these ids, once each and by number; unknown ids are skipped."""
        papers: dict[tuple[int, int], Paper] = {}
        for arxiv_id in id_list:
            match = _ID.fullmatch(arxiv_id)
            if match is None or (number := self.library.numbers.get(match["base"])) is None:
                continue
            newest = self.papers[number].version
            version = int(match["version"] or newest)
            if 1 <= version <= newest:
                papers[number, version] = self.papers[number].at(version)
        return [(number, papers[number, version]) for number, version in sorted(papers)]


def _create_server_error() -> RejectedError:
    return RejectedError(500, "The request could not be completed by the server.")


def _parse_request(scope: Scope, body: bytes, started: float) -> Request:
    """Parse a request. If a parameter is repeated, the first one is used, as by arXiv."""
    raw_query = scope["query_string"].decode("latin-1")
    params = parse_qs(raw_query, keep_blank_values=True)
    if scope["method"] == "POST":
        params = parse_qs(body.decode("latin-1"), keep_blank_values=True) | params
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    first = {name: values[0] for name, values in params.items()}
    return Request(scope["method"], raw_query, body, first, headers, started)


async def _receive_body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send_response(send: Send, status: int, content_type: str, content: bytes) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"access-control-allow-origin", b"*"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
