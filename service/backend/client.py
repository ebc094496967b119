"""The services of a frontend without a database: each call is an HTTP request to its backend."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import tzinfo
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec

from .. import timestamps
from ..api_keys import LOOKUP_TIMEOUT, ApiKey, Rate
from ..db import migrations
from ..db.pool import CALL_TIMEOUT
from ..db.reader import SLOW_READ_TIMEOUT, TEXT_PARAMETERS, ListSelection, RecordReader, Row
from ..errors import (
    BackendError,
    BackendUnavailable,
    DatabaseUnavailable,
    IndexUnavailable,
    InvalidParameter,
    ServiceError,
)
from ..http_headers import REQUEST_TIMEOUT, deadline
from ..http_pool import HTTPConnectionPool, create_cookie_jar, ssl_context
from ..logging import request_id
from ..models.arxiv import ArxivRequest, Entry
from ..models.filters import AnnouncementFilter, PaperFilter, Position
from ..models.mirror import ImportState, PaperDetails
from ..models.records import (
    AnnouncedDay,
    Announcement,
    Count,
    DatabaseStatus,
    PaperRow,
    PaperVersion,
    QueryRow,
    ResultRow,
    Run,
    SearchCount,
    SimilarPaperRow,
)
from ..models.requests import ApiKeysRequest, ResultsRequest, SearchRequest
from ..models.responses import ApiKeyInfo, Health, Problem, SigningKeyInfo, Suggestions
from ..paper_search import PaperSearch
from ..problems import MEDIA_TYPE
from ..search import SAVE_RETRY_SECONDS, SearchReply, SearchService
from ..settings import Settings
from ..singleflight import InFlight
from . import requests

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 100
"""Each carries one call at a time; concurrent identical searches share a call."""
CONNECT_TIMEOUT = 3.0
"""Seconds to wait for a free connection, and to connect."""
READ_TIMEOUT = 2 * (SLOW_READ_TIMEOUT + CALL_TIMEOUT) + 2.0
"""Seconds for two coalesced reads; later than the backend, whose error explains more."""
HEALTH_SECONDS = 3.0
"""How long the state of the backend is kept in memory."""
MAX_RESPONSE_BYTES = 2**26
"""64 KiB for each of the 1,000 papers of the longest page; 1,000 authors take 20 KiB."""

_OPTIONAL_RUN: type[Run | None] = Run | None  # type: ignore[assignment]
T = TypeVar("T")


class BackendResponse(NamedTuple):
    """A complete response."""

    status: int
    content_type: str
    content: bytearray


class BackendClient:
    """HTTP client for the backend.

    A call is retried once if its connection is lost, unless that could send a second request to
    arXiv (`retry=False`).
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self._url = url.rstrip("/")
        self._token = settings.backend_token
        self._ssl_context = ssl_context()
        self._health: Health | None = None
        self._checked_at = -inf
        self.connections = HTTPConnectionPool(self._create_client, MAX_CONNECTIONS, CONNECT_TIMEOUT)

    async def call(
        self,
        path: str,
        request: object,
        response_type: type[T],
        time_limit: float | None = None,
        *,
        retry: bool = True,
    ) -> T:
        """Send a request and decode the response. Raises BackendError or BackendUnavailable."""
        response = await self._send(path, msgspec.json.encode(request), time_limit, retry=retry)
        return _read(path, response, response_type)

    async def check_ready(self) -> None:
        """Raise DatabaseUnavailable if the backend is not ready."""
        try:
            response = await self._send("/health/ready", None)
        except ServiceError:
            self._health = None
            raise
        self._health, self._checked_at = _decode(response, Health), monotonic()
        if response.status != HTTPStatus.OK:
            raise DatabaseUnavailable(self._health.detail or "the backend is not ready")

    async def fetch_health(self) -> Health | None:
        """Return the state of the backend, which is at most a few seconds old; None if unknown."""
        if self._health is None or monotonic() - self._checked_at > HEALTH_SECONDS:
            with suppress(ServiceError):
                await self.check_ready()
        return self._health

    async def _send(
        self, path: str, body: bytes | None, time_limit: float | None = None, *, retry: bool = True
    ) -> BackendResponse:
        until = asyncio.get_running_loop().time() + (time_limit or READ_TIMEOUT)
        headers = {"x-request-id": request_id.get()}
        if not retry:
            headers["cache-control"] = "no-cache"  # keeps HAProxy from retrying too
        try:
            # an earlier deadline of the caller cancels this call from outside
            async with asyncio.timeout_at(until):
                try:
                    return await self._send_once(path, body, headers, until)
                except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                    # a request that found no connection was not sent, so it is always retried
                    if not retry and not isinstance(error, httpx.ConnectError):
                        raise
                    logger.info("retrying a backend call: the connection was lost (%r)", error)
                    await self.connections.close_idle()  # they lead to the same backend
                    return await self._send_once(path, body, headers, until)
        except httpx.PoolTimeout as error:
            raise BackendUnavailable("too many calls to the backend are in progress") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise BackendUnavailable("the backend does not respond in time") from error
        except httpx.HTTPError as error:
            raise BackendUnavailable("the backend is unavailable") from error

    async def _send_once(
        self, path: str, body: bytes | None, headers: dict[str, str], until: float
    ) -> BackendResponse:
        method, url, content = "POST" if body else "GET", self._url + path, bytearray()
        # computed for each attempt: the first one has used some of the time
        end = min(until, deadline.get() or until)
        left = max(end - asyncio.get_running_loop().time(), 0)
        headers = {**headers, REQUEST_TIMEOUT: f"{left:.3f}"}
        async with (
            self.connections.acquire() as client,
            client.stream(method, url, content=body, headers=headers) as response,
        ):
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_RESPONSE_BYTES:
                    limit = f"{MAX_RESPONSE_BYTES:,} bytes"
                    raise BackendUnavailable(f"the response of the backend exceeds {limit}")
        content_type = response.headers.get("content-type", "")
        return BackendResponse(response.status_code, content_type, content)

    async def find_api_keys(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        """Return the valid keys by digest."""
        request = ApiKeysRequest(digests=[digest.hex() for digest in digests])
        keys = await self.call("/find-keys", request, list[ApiKeyInfo], LOOKUP_TIMEOUT)
        return {
            bytes.fromhex(key.digest): ApiKey(key.name, Rate(key.quota, key.seconds))
            for key in keys
        }

    async def fetch_signing_key(self) -> bytes:
        """Return the key that signs sessions and forms."""
        path = "/find-signing-key"
        response = await self._send(path, None, LOOKUP_TIMEOUT)
        return bytes.fromhex(_read(path, response, SigningKeyInfo).key)

    def _create_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            # uvicorn closes idle connections after five seconds
            limits=httpx.Limits(max_connections=1, keepalive_expiry=3.0),
            headers={"accept-encoding": "identity", "content-type": "application/json"}
            | ({"authorization": f"Bearer {self._token}"} if self._token else {}),
            # a redirect or a proxy from the environment would leak the token
            follow_redirects=False,
            cookies=create_cookie_jar(),
            trust_env=False,
            verify=self._ssl_context,
        )


def _read(path: str, response: BackendResponse, response_type: type[T]) -> T:
    if response.status != HTTPStatus.OK:
        raise _create_error(path, response)
    return _decode(response, response_type)


def _decode(response: BackendResponse, response_type: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=response_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendUnavailable(
            f"the response of the backend (status {response.status}) cannot be read: check"
            " that ARXIV_BACKEND_URL is a backend of the same release"
        ) from error


def _create_error(path: str, response: BackendResponse) -> ServiceError:
    """Return the backend's own error, or BackendUnavailable if the response is not from one."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        return BackendUnavailable("the backend rejects the ARXIV_BACKEND_TOKEN of this frontend")
    # a backend uses neither: it sends null or an empty list if nothing is recorded
    not_served = HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED
    if response.status in not_served or response.content_type != MEDIA_TYPE:
        where = f"{path} (status {response.status})"
        advice = "check ARXIV_BACKEND_URL and the ARXIV_ENDPOINTS of the backend"
        return BackendUnavailable(f"the backend does not serve {where}: {advice}")
    problem = _decode(response, Problem)
    if problem.parameter and {*problem.parameter.split(", ")} <= {"q", *TEXT_PARAMETERS}:
        # only PostgreSQL and the search index know what is too large for them
        reason = problem.detail.removeprefix(f"{problem.parameter}: ")
        return InvalidParameter(problem.parameter, reason)
    if problem.parameter is not None:  # other parameters of clients are validated by the frontend
        return BackendUnavailable(
            f"the backend rejects a request to {path} ({problem.detail}): check that it is of the"
            " same release"
        )
    if problem.title == IndexUnavailable.title:
        return IndexUnavailable(problem.detail, retry_after=problem.retry_after)
    return BackendError(
        problem.detail,
        title=problem.title,
        status_code=response.status,
        retry_after=problem.retry_after,
        query_id=problem.query_id,
        upstream_status=problem.upstream_status,
    )


class RemoteSearchService(SearchService):
    """Forwards searches to the backend, whose cache and rate limiter all frontends share."""

    def __init__(self, settings: Settings, backend: BackendClient) -> None:
        super().__init__(settings)
        self._backend = backend
        # the rate limiter, the request to arXiv, and saving while the database is unavailable
        self._timeout = settings.max_wait + settings.timeout + SAVE_RETRY_SECONDS + READ_TIMEOUT

    async def _search_uncached(
        self, request: ArxivRequest, _: InFlight[SearchReply], *, use_cache: bool
    ) -> SearchReply:
        # other clients may join this search and wait longer than the deadline of the first one
        deadline.set(None)
        body = SearchRequest.create(
            request.search, bypass_cache=not use_cache, source=request.source
        )
        path, limit = "/find-answer", self._timeout
        # not retried without the cache: it could send a second request to arXiv
        reply = await self._backend.call(path, body, SearchReply, limit, retry=use_cache)
        self._add_to_cache(request, reply)
        return reply


class RemoteRecords:
    """The part of RecordStore that frontends need: reads from the primary what was just written."""

    def __init__(self, backend: BackendClient) -> None:
        self._backend = backend

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        request = ResultsRequest(query_id=query_id)
        return await self._backend.call("/find-results", request, list[ResultRow])

    async def fetch_entries(self, query_id: int) -> list[Entry]:
        request = ResultsRequest(query_id=query_id)
        return await self._backend.call("/find-entries", request, list[Entry])

    systems = ("backend",)
    """Only the backend, which checks its own systems."""

    async def fetch_migrations(self, system: str) -> set[str]:  # noqa: ARG002 - there is one
        # a backend without a migration is not ready
        await self._backend.check_ready()
        await self._backend.call("/read-archive", requests.QueryById(query_id=1), _OPTIONAL_RUN)
        return set(migrations.list_names())


class RemoteReader(RecordReader):
    """Reads through the backend, one call per read; whole lists are read in batches."""

    def __init__(self, backend: BackendClient) -> None:
        self._backend = backend

    async def _read(self, request: requests.ReadRequest, response_type: type[T]) -> T:
        return await self._backend.call("/read-archive", request, response_type)

    async def fetch_page(
        self, selection: ListSelection[Row], position: Position, limit: int
    ) -> list[Row]:
        # callers may have different deadlines, so they do not share a call
        lists: Any = {id(definition): name for name, (definition, _) in requests.LISTS.items()}
        name = lists[id(selection.definition)]
        page = requests.Page(name, selection.filters, position, limit, selection.newest)
        return await self._read(page, list[selection.definition.row_type])  # type: ignore[name-defined]

    _fetch_page = fetch_page

    async def fetch_run(self, query_id: int, *, ignore_read_delay: bool = False) -> Run | None:
        return await self._read(requests.QueryById(query_id, ignore_read_delay), _OPTIONAL_RUN)

    async def count_runs(self, since: int, limit: int) -> int:
        return await self._read(requests.RunCount(since, limit), int)

    async def fetch_runs(self, run: Run, limit: int) -> list[Run]:
        return await self._read(requests.Runs(run, limit), list[Run])

    async def fetch_next_run(self, run: Run) -> Run | None:
        return await self._read(requests.NextRun(run), _OPTIONAL_RUN)

    async def fetch_results(self, run: Run) -> list[ResultRow]:
        return await self._read(requests.Results(run), list[ResultRow])

    async def fetch_feed_papers(self, runs: Sequence[Run]) -> list[PaperRow]:
        return await self._read(requests.Feed(list(runs)), list[PaperRow])

    async def fetch_finding_runs(self, arxiv_id: str, limit: int) -> list[QueryRow]:
        return await self._read(requests.FindingRuns(arxiv_id, limit), list[QueryRow])

    async def fetch_versions(
        self, arxiv_id: str, *, ignore_read_delay: bool = False
    ) -> list[PaperRow]:
        return await self._read(requests.Versions(arxiv_id, ignore_read_delay), list[PaperRow])

    async def fetch_details(self, paper: PaperVersion) -> PaperDetails:
        return await self._read(requests.Details(paper), PaperDetails)

    async def fetch_papers(self, papers: Collection[PaperVersion]) -> dict[PaperVersion, PaperRow]:
        rows = await self._read(requests.PapersById(list(papers)), list[PaperRow])
        return {(row.arxiv_id, row.version): row for row in rows}

    async def fetch_announced_day(self, filters: AnnouncementFilter) -> AnnouncedDay:
        return await self._read(requests.AnnouncementsOfDay(filters), AnnouncedDay)

    async def fetch_announcements(self, arxiv_id: str) -> list[Announcement]:
        return await self._read(requests.Announcements(arxiv_id), list[Announcement])

    async def fetch_latest_responses(self, limit: int) -> list[QueryRow]:
        return await self._read(requests.LatestResponses(limit), list[QueryRow])

    async def count_searches(self, starts: list[int]) -> list[SearchCount]:
        return await self._read(requests.SearchCounts(starts), list[SearchCount])

    async def fetch_imports(self, limit: int) -> list[ImportState]:
        return await self._read(requests.Imports(limit), list[ImportState])

    async def fetch_database_status(self) -> list[DatabaseStatus]:
        return await self._read(requests.DatabaseState(), list[DatabaseStatus])


class RemotePaperSearch(PaperSearch):
    """Searches in the index of a backend."""

    def __init__(self, backend: BackendClient, reader: RemoteReader) -> None:
        self._backend = backend
        self._reader = reader

    async def fetch_page(
        self, selection: ListSelection[Any], position: Position, limit: int
    ) -> list[Any]:
        return await self._reader.fetch_page(selection, position, limit)

    async def count(self, filters: PaperFilter, tz: tzinfo) -> list[Count]:
        request = requests.Counts(filters, timestamps.format_zone(tz))
        return await self._backend.call("/read-archive", request, list[Count])

    async def suggest(self, q: str) -> Suggestions:
        return await self._backend.call("/read-archive", requests.SuggestionsFor(q), Suggestions)

    async def find_similar(
        self, paper: PaperVersion, filters: PaperFilter, limit: int
    ) -> list[SimilarPaperRow]:
        request = requests.SimilarTo(paper, filters, limit)
        return await self._backend.call("/read-archive", request, list[SimilarPaperRow])

    async def correct_spelling(self, filters: PaperFilter) -> list[str]:
        request = requests.Corrections(filters)
        return await self._backend.call("/read-archive", request, list[str])
