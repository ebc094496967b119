"""The stand-in arXiv API: an ASGI application that answers the query it is asked."""

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
from demo.library import Library, UnansweredError

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
"""No page may reach beyond this result."""

_ID: Final = re.compile(
    r"(?P<bare>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v(?P<version>\d+))?", re.ASCII
)
_SORTS: Final = ("relevance", "lastUpdatedDate", "submittedDate")
_ORDERS: Final = ("ascending", "descending")
_SORT_HELP: Final = "https://arxiv.org/help/api/user-manual#sort"
_PENDING: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Stands in rendered feeds of the new family for the moment at which they are sent."""
_KEPT: Final = 20_000
"""Requests remembered at most; a benchmark makes many more."""


@dataclass(slots=True)
class Request:
    """What was on the wire: one request to the API, and when it was answered."""

    method: str
    raw_query: str
    body: bytes
    params: dict[str, str]
    headers: dict[str, str]
    started: float
    """By `time.monotonic`, as is the end."""
    ended: float = math.inf
    """Infinite while the request is under way."""
    status: int = 0
    """Zero while nothing was answered."""


class RefusedError(Exception):
    """A request that arXiv answers with an error entry."""

    def __init__(self, status: int, message: str, link: str = feed.ERRORS) -> None:
        """Keep the status next to what the entry will say."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.link = link


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A search as read from its parameters."""

    search_query: str
    """As rewritten."""
    id_list: tuple[str, ...]
    start: int
    max_results: int
    sort_by: str
    order: str

    @classmethod
    def read(cls, params: Mapping[str, str]) -> ListQuery:
        """Check parameters in arXiv's order; whatever has another name is ignored."""
        ids = tuple(params["id_list"].split(",")) if params.get("id_list") else ()
        for name in ids:
            if not _ID.fullmatch(name):
                message = f"incorrect id format for {name}"
                raise _malformed(message)
        asked = cls(
            search_query=query.rewrite(params.get("search_query", "")),
            id_list=ids,
            max_results=_count(params, "max_results", 10),
            start=_count(params, "start", 0),
            sort_by=_choice(params, "sortBy", _SORTS, "relevance"),
            order=_choice(params, "sortOrder", _ORDERS, "descending"),
        )
        if not (asked.search_query or ids):
            message = "Either a search_query or id_list must be specified for the classic API."
            raise RefusedError(400, message)
        return asked


def _malformed(message: str) -> RefusedError:
    return RefusedError(400, message, f"{feed.ERRORS}#{message.replace(' ', '_')}")


def _count(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        count = int(params.get(name, default))
    except ValueError as error:
        message = f"{name} must be an integer"
        raise _malformed(message) from error
    if count < 0:
        message = f"{name} must be non-negative"
        raise _malformed(message)
    return count


def _choice(params: Mapping[str, str], name: str, choices: Sequence[str], default: str) -> str:
    choice = params.get(name, default)
    if choice not in choices:
        # The link of this one leads to the manual, so its id names no API error.
        raise RefusedError(400, f"{name} must be in: {', '.join(choices)}", _SORT_HELP)
    return choice


@dataclass
class StandIn:
    """The API on a shelf of papers; its settings may be changed while it runs."""

    papers: Sequence[Paper]
    min_interval: float = field(default=0.0, kw_only=True)
    """Seconds that must lie between the end of one request and the start of the next."""
    family: Family = field(default="new", kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    """Seconds every answer takes."""
    requests: list[Request] = field(default_factory=list, init=False)
    """What reached the API, oldest first; the very old is forgotten."""

    def __post_init__(self) -> None:
        """Index the papers; keep the pages that were asked for last."""
        self.library = Library(self.papers)
        self._search = lru_cache(maxsize=512)(self._find)
        self._page = lru_cache(maxsize=128)(self._render)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.monotonic()
        body = await _body(receive)
        if scope["path"] != "/api/query":
            await _respond(send, 404, PLAIN, b"Not found.")
            return
        if scope["method"] not in ("GET", "POST"):
            await _respond(send, 405, PLAIN, b"Method not allowed.")
            return
        request = _read(scope, body, started)
        throttled = self._is_too_early(started)
        self._remember(request)
        try:
            await asyncio.sleep(self.delay)
            if throttled:
                status, content_type, content = 429, PLAIN, b"Rate exceeded."
            else:
                (status, content), content_type = self.answer(request.params), ATOM
            request.status = status
        finally:
            # Before the last byte leaves, or a quick client could seem to overlap with itself.
            request.ended = time.monotonic()
        await _respond(send, status, content_type, content)

    def answer(self, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Give the status and the feed for these parameters."""
        try:
            content = self._page(ListQuery.read(params), self.family)
        except RefusedError as refused:
            return refused.status, feed.error(refused.message, refused.link, family=self.family)
        now = feed.stamp(datetime.now(UTC)).encode()
        return 200, content.replace(feed.stamp(_PENDING).encode(), now)

    def _is_too_early(self, now: float) -> bool:
        if self.min_interval <= 0:
            return False
        # A request under way ends at infinity, so that an overlap is too early as well.
        return any(now < past.ended + self.min_interval for past in self.requests)

    def _remember(self, request: Request) -> None:
        self.requests.append(request)
        if len(self.requests) > _KEPT:
            del self.requests[: _KEPT // 2]

    def _render(self, asked: ListQuery, family: Family) -> bytes:
        found = self._search(asked.search_query, asked.id_list, asked.sort_by, asked.order)
        last = asked.start + asked.max_results
        if asked.max_results == 0 or last > LAST_RESULT:
            raise _failed()
        return feed.render(
            found[asked.start : last],
            query=asked.search_query,
            id_list=asked.id_list,
            start=asked.start,
            max_results=asked.max_results,
            total=len(found),
            updated=_PENDING if family == "new" else None,
            family=family,
        )

    def _find(
        self, search_query: str, id_list: tuple[str, ...], sort_by: str, order: str
    ) -> list[Paper]:
        """Find all papers that answer a search, in the order asked for."""
        hits: Hits = dict.fromkeys(range(len(self.papers)), 0)
        try:
            if search_query:
                hits = self.library.find(query.parse(search_query))
        except query.InvalidQueryError as error:
            raise RefusedError(400, str(error)) from error
        except (UnansweredError, RecursionError) as error:
            raise _failed() from error
        if id_list:
            chosen = [(number, paper) for number, paper in self._named(id_list) if number in hits]
        else:
            chosen = [(number, self.papers[number]) for number in sorted(hits)]
        match sort_by:
            case "relevance":
                chosen.sort(key=lambda one: -hits[one[0]])
            case "lastUpdatedDate":
                chosen.sort(key=lambda one: one[1].updated, reverse=True)
            case "submittedDate":
                chosen.sort(key=lambda one: one[1].submitted, reverse=True)
        if order == "ascending":
            chosen.reverse()
        return [paper for _, paper in chosen]

    def _named(self, id_list: tuple[str, ...]) -> list[tuple[int, Paper]]:
        """Look papers up, once each and in the shelf's order; unknown ones go missing."""
        named: dict[tuple[int, int], Paper] = {}
        for name in id_list:
            found = _ID.fullmatch(name)
            if found is None or (number := self.library.numbers.get(found["bare"])) is None:
                continue
            newest = self.papers[number].version
            wanted = int(found["version"] or newest)
            if 1 <= wanted <= newest:
                named[number, wanted] = self.papers[number].at(wanted)
        return [(number, named[number, version]) for number, version in sorted(named)]


def _failed() -> RefusedError:
    return RefusedError(500, "The request could not be completed by the server.")


def _read(scope: Scope, body: bytes, started: float) -> Request:
    """Take down a request; of parameters sent twice, arXiv heeds the first."""
    raw_query = scope["query_string"].decode("latin-1")
    params = parse_qs(raw_query, keep_blank_values=True)
    if scope["method"] == "POST":
        params = parse_qs(body.decode("latin-1"), keep_blank_values=True) | params
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    first = {name: values[0] for name, values in params.items()}
    return Request(scope["method"], raw_query, body, first, headers, started)


async def _body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _respond(send: Send, status: int, content_type: str, content: bytes) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"access-control-allow-origin", b"*"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
