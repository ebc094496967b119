"""The stand-in for arXiv: an ASGI application with the API, OAI-PMH and RSS of generated papers."""

from __future__ import annotations

import asyncio
import codecs
import math
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, parse_qsl

from demo import feed, query
from demo.categories import ARCHIVES, CATEGORIES
from demo.library import Library, UnsupportedQueryError
from demo.oai import OaiServer, UnavailableError
from demo.rss import RssServer

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Iterable,
        Mapping,
        MutableMapping,
        Sequence,
    )

    from demo.feed import Family
    from demo.library import Hits
    from demo.papers import Paper

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

ATOM: Final = "application/atom+xml; charset=utf-8"
PLAIN: Final = "text/plain; charset=UTF-8"
LAST_RESULT: Final = 10_000
"""The last result that a page may contain."""

# An id is accepted if it contains something like an id, but then it is compared as a whole.
_NEW_ID: Final = re.compile(r"(?<![\d=.])(?:arxiv:)?\d{4}\.\d{4,5}", re.IGNORECASE)
_OLD_ID: Final = re.compile(
    rf"(?:{'|'.join(map(re.escape, ARCHIVES + CATEGORIES))})/\d{{2}}[01]\d{{4}}", re.IGNORECASE
)
_VERSIONED_ID: Final = re.compile(r"(.+)v([1-9][0-9]*)")
_SORTS: Final = ("relevance", "lastUpdatedDate", "submittedDate")
_ORDERS: Final = ("ascending", "descending")
_SORT_HELP: Final = "https://arxiv.org/help/api/user-manual#sort"
_NOT_FOUND: Final = (
    "The requested URL was not found on the server."
    " If you entered the URL manually please check your spelling and try again."
)
_METHOD_NOT_ALLOWED: Final = "The method is not allowed for the requested URL."
_BODY_TOO_LARGE: Final = "The data value transmitted exceeds the capacity limit."
_SERVER_ERROR: Final = (
    "The server encountered an internal error and was unable to complete your request."
    " Either the server is overloaded or there is an error in the application."
)
_PENDING: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Placeholder in rendered feeds of the new family for the time at which they are sent."""
_MAX_REQUESTS: Final = 20_000
"""Maximum number of stored requests; benchmarks send many more."""


@dataclass(slots=True)
class Request:
    """One request as it was received, and its response time and status."""

    method: str
    raw_query: str
    body: bytes
    headers: dict[str, str]
    started: float
    """Time of `time.monotonic`, like `ended`."""
    params: dict[str, str] = field(default_factory=dict)
    ended: float = math.inf
    """Infinite while the request is in progress."""
    status: int = 0
    """Zero until the response is sent."""
    path: str = "/api/query"


class Response(NamedTuple):
    """A response to a request."""

    status: int
    content: bytes = b""
    content_type: str = ATOM
    headers: tuple[tuple[str, str], ...] = ()


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

    search_query: str | None
    """The rewritten query, or with `raw` the query as it was sent."""
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
            if not (_NEW_ID.search(arxiv_id) or _OLD_ID.search(arxiv_id)):
                raise _create_parameter_error("incorrect id format for ", arxiv_id)
        raw = params.get("raw") == "1"
        sent = params.get("search_query")
        search = cls(
            max_results=_parse_count(params, "max_results", 10),
            start=_parse_count(params, "start", 0),
            sort_by=_parse_choice(params, "sortBy", _SORTS, "relevance"),
            order=_parse_choice(params, "sortOrder", _ORDERS, "descending"),
            search_query=sent if raw else query.rewrite(sent or "") or None,
            id_list=ids,
        )
        if search.search_query is None and not ids:
            message = "Either a search_query or id_list must be specified for the classic API."
            raise RejectedError(400, message)
        return search

    @property
    def is_in_range(self) -> bool:
        """Whether arXiv returns this page; it rounds the number of the page."""
        if self.max_results == 0 or self.start + self.max_results > LAST_RESULT:
            return False
        return 1 + round(self.start / self.max_results) <= LAST_RESULT // self.max_results


def _create_parameter_error(message: str, value: str = "") -> RejectedError:
    link = f"{feed.ERRORS}#{message.replace(' ', '_')}{value}"
    return RejectedError(400, message + value, link)


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
    """The API, OAI-PMH and RSS of papers. Its attributes may be changed while it runs."""

    papers: Sequence[Paper]
    min_interval: float = field(default=0.0, kw_only=True)
    """Minimum time in seconds from the end of a request to the start of the next."""
    family: Family = field(default="new", kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    """Time in seconds that every response takes."""
    false_empty: int = field(default=0, kw_only=True)
    """Number of requests, beginning with the next, that find nothing although papers match."""
    retry_after: int | None = field(default=None, kw_only=True)
    """If set, requests are rejected with 503 and this number of seconds in Retry-After."""
    redirect_url: str | None = field(default=None, kw_only=True)
    """If set, requests are redirected to this URL with 301."""
    truncates: bool = field(default=False, kw_only=True)
    """Whether responses end in the middle, although their length is right."""
    oai: OaiServer = field(default_factory=OaiServer, init=False)
    rss: RssServer = field(default_factory=RssServer, init=False)
    requests: list[Request] = field(default_factory=list, init=False)
    """The requests received, oldest first; the oldest are dropped beyond a limit."""

    def __post_init__(self) -> None:
        """Index the papers and create the caches."""
        self._set_papers(self.papers)

    def _set_papers(self, papers: Sequence[Paper]) -> None:
        self.papers = papers
        self.library = Library(self.papers)
        self.oai.set_papers(self.papers)
        self.rss.papers = self.papers
        self._find_papers_cached = lru_cache(maxsize=512)(self._find_papers)
        self._render_page_cached = lru_cache(maxsize=128)(self._render_page)

    def reset(self) -> None:
        """Drop the stored requests, and respond at once and without faults."""
        self.requests.clear()
        self.min_interval, self.delay = 0.0, 0.0
        self.false_empty, self.truncates = 0, False
        self.retry_after = self.redirect_url = None
        self.oai.reset()
        self.rss.reset()

    def add(self, papers: Iterable[Paper], changed: date | None = None) -> None:
        """Serve more papers, whose metadata changed on this day (today in UTC by default)."""
        changed = changed or datetime.now(UTC).date()
        added = [replace(paper, changed=changed) for paper in papers]
        self._set_papers([*self.papers, *added])

    def replace(self, paper: Paper, changed: date | None = None) -> None:
        """Serve this paper instead of the one with its id. Its metadata changed on this day."""
        self.papers = [other for other in self.papers if other.arxiv_id != paper.arxiv_id]
        self.add([paper], changed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.monotonic()
        body = await _receive_body(receive)
        if rejection := _reject_target(scope["method"], scope["path"]):
            await _send_response(send, scope["method"], rejection)
            return
        request = _create_request(scope, body, started)
        throttled = self._is_too_early(started)
        self._store_request(request)
        try:
            await asyncio.sleep(self.delay)
            response = self._respond(request, throttled=throttled)
            request.status = response.status
        finally:
            # Set before the last byte is sent: the next request of a fast client must not overlap.
            request.ended = time.monotonic()
        await _send_response(send, request.method, response)

    def _respond(self, request: Request, *, throttled: bool) -> Response:
        if throttled:
            return Response(429, b"Rate exceeded.", PLAIN)
        if self.retry_after is not None:
            return Response(
                503, content_type=PLAIN, headers=(("retry-after", f"{self.retry_after}"),)
            )
        if self.redirect_url is not None:
            return Response(301, content_type=PLAIN, headers=(("location", self.redirect_url),))
        response = self._find_service(request.path)(request)
        if self.truncates:
            return response._replace(content=response.content[: len(response.content) // 2])
        return response

    def _find_service(self, path: str) -> Callable[[Request], Response]:
        if path == "/api/query":
            return self._respond_to_search
        return self._respond_to_oai if path == "/oai" else self._respond_to_feed

    def _respond_to_search(self, request: Request) -> Response:
        try:
            request.params = _parse_parameters(request)
        except RejectedError as error:
            return Response(error.status, feed.error(error.message, family=self.family))
        return Response(*self.answer(request.params))

    def _respond_to_oai(self, request: Request) -> Response:
        sent = (
            request.body.decode(errors="replace") if request.method == "POST" else request.raw_query
        )
        params = parse_qsl(sent, keep_blank_values=True)
        request.params = dict(params)
        try:
            return Response(200, self.oai.answer(params), "text/xml")
        except UnavailableError:
            content = b"<html><body>\n<h1>Retry after 0 seconds</h1>\n</body></html>\n"
            return Response(503, content, "text/html", (("retry-after", "0"),))

    def _respond_to_feed(self, request: Request) -> Response:
        _, kind, names = request.path.split("/", 2)
        feed = self.rss.render(names, kind)
        headers = (("etag", feed.etag), ("cache-control", f"max-age={feed.max_age}"))
        if feed.status == 200 and request.headers.get("if-none-match") == feed.etag:  # noqa: PLR2004 - a status
            return Response(304, b"", feed.content_type, headers)
        return Response(feed.status, feed.content, feed.content_type, headers)

    def answer(self, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the status and the feed of a request with these parameters."""
        try:
            return self._answer(params)
        except (feed.UnsupportedCharacterError, RecursionError):
            return 500, feed.error(_SERVER_ERROR, family=self.family)

    def _answer(self, params: Mapping[str, str]) -> tuple[int, bytes]:
        is_empty = self.false_empty > 0
        try:
            content = self._render_page_cached(Search.parse(params), self.family, is_empty)
        except RejectedError as error:
            return error.status, feed.error(error.message, error.link, family=self.family)
        if is_empty:
            self.false_empty -= 1
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

    def _render_page(self, search: Search, family: Family, is_empty: bool) -> bytes:  # noqa: FBT001 - a key of the cache
        papers = self._find_papers_cached(
            search.search_query, search.id_list, search.sort_by, search.order
        )
        if is_empty:
            papers = []
        if not search.is_in_range:
            raise _create_server_error()
        return feed.render(
            papers[search.start : search.start + search.max_results],
            query=search.search_query,
            id_list=search.id_list,
            start=search.start,
            max_results=search.max_results,
            total=len(papers),
            updated=_PENDING if family == "new" else None,
            family=family,
        )

    def _find_papers(
        self, search_query: str | None, id_list: tuple[str, ...], sort_by: str, order: str
    ) -> list[Paper]:
        """Find all papers that match a search, in the requested order."""
        hits: Hits = dict.fromkeys(range(len(self.papers)), 0)
        try:
            if search_query is not None:
                hits = self.library.find(query.parse(search_query))
        except query.InvalidQueryError as error:
            raise RejectedError(400, str(error)) from error
        except UnsupportedQueryError as error:
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
            match = _VERSIONED_ID.fullmatch(arxiv_id)
            number = self.library.numbers.get(match[1] if match else arxiv_id)
            if number is None:
                continue
            newest = self.papers[number].version
            version = int(match[2]) if match else newest
            if version <= newest:
                papers[number, version] = self.papers[number].at(version)
        return [(number, papers[number, version]) for number, version in sorted(papers)]


def _create_server_error() -> RejectedError:
    return RejectedError(500, _SERVER_ERROR)


_PATHS: Final = re.compile(r"/api/query|/oai|/(?:rss|atom)/[^/]+")


def _reject_target(method: str, path: str) -> Response | None:
    if not _PATHS.fullmatch(path):
        return Response(404, feed.error(_NOT_FOUND))
    if method == "OPTIONS":
        return Response(200, headers=(("allow", "GET, HEAD, OPTIONS, POST"),))
    if method not in ("GET", "HEAD", "POST"):
        return Response(405, feed.error(_METHOD_NOT_ALLOWED))
    return None


def _create_request(scope: Scope, body: bytes, started: float) -> Request:
    raw_query = scope["query_string"].decode("latin-1")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], raw_query, body, headers, started, path=scope["path"])


def _parse_parameters(request: Request) -> dict[str, str]:
    """Parse the parameters in the URL or, of a POST, only those in the body.

    If a parameter is repeated, the first one is used.
    """
    if request.method != "POST":
        return _parse_form(request.raw_query.encode("latin-1"), _create_server_error())
    content_type = request.headers.get("content-type", "")
    if not content_type:  # parsed differently: empty values are dropped, other bytes replaced
        values = parse_qs(request.body.decode(errors="replace"))
        return {name: value[0] for name, value in values.items()}
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    return _parse_form(request.body, RejectedError(413, _BODY_TOO_LARGE))


def _parse_form(form: bytes, rejection: RejectedError) -> dict[str, str]:
    """Parse parameters; the form is rejected if it contains bytes that are not UTF-8."""
    try:
        values = parse_qs(form.decode(), keep_blank_values=True, errors=_KEEP_ENCODED)
    except UnicodeDecodeError as error:
        raise rejection from error
    return {name: value[0] for name, value in values.items()}


def _keep_encoded(error: UnicodeError) -> tuple[str, int]:
    """Replace bytes that are not UTF-8 by their percent-encoding, as Werkzeug does."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - the only error of decoding
    damaged = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in damaged), error.end


_KEEP_ENCODED: Final = "demo.keep_encoded"
codecs.register_error(_KEEP_ENCODED, _keep_encoded)


async def _receive_body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send_response(send: Send, method: str, response: Response) -> None:
    headers = [
        ("content-type", response.content_type),
        ("content-length", str(len(response.content))),
        ("access-control-allow-origin", "*"),
        *response.headers,
    ]
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    content = b"" if method == "HEAD" else response.content
    await send({"type": "http.response.body", "body": content})
