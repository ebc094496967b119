"""The backend of a frontend that has no database: the same doors, each a call over HTTP."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Hashable, Sequence
from datetime import tzinfo
from http import HTTPStatus
from typing import Any, NamedTuple, Self

import httpx
import msgspec

from .. import timestamps
from ..api_keys import PATIENCE as KEYS_PATIENCE
from ..api_keys import ApiKey, Rate
from ..db import migrations
from ..db.pool import PATIENCE
from ..db.reader import SLOW_PATIENCE, Filter, ListDefinition, R, RecordReader, T
from ..errors import BackendError, BackendUnavailable, DatabaseUnavailable, ServiceError
from ..http_pool import HTTPConnectionPool, trust
from ..logging import request_id
from ..middleware.request_timeout import NAME as REQUEST_TIMEOUT
from ..middleware.request_timeout import deadline
from ..models.arxiv import ArxivRequest
from ..models.filters import PaperFilter, Position
from ..models.records import Count, PaperRow, PaperVersion, ResultRow, Run
from ..models.requests import ApiKeysRequest, ResultsRequest, SearchRequest
from ..models.responses import ApiKeyInfo, Health, Problem
from ..problems import MEDIA_TYPE
from ..search import SAVE_RETRY_SECONDS, InFlight, SearchReply, SearchService
from ..settings import Settings
from . import requests

logger = logging.getLogger(__name__)

CONNECTIONS = 100
"""Each waits for one answer; equal searches share one."""
IDLE = 3.0
"""Seconds for which a connection is kept; uvicorn closes those that are idle for five."""
CONNECTION_PATIENCE = 3.0
"""Seconds that a call may wait for a connection."""
MARGIN = 2.0
"""Seconds more than the backend takes at most: what it says then tells more than our timeout."""
READING = 2 * (SLOW_PATIENCE + PATIENCE) + MARGIN
"""Seconds that the answer to a question about what is stored may take: two shared reads."""
MOST = 2**26
"""Bytes of an answer: 64 KiB for each of the thousand papers of the longest page, a paper of a
thousand authors has 20."""

_NOT_SERVED = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
"""No question is answered so: what is not recorded is null, or no rows."""
_encode = msgspec.json.Encoder().encode


class BackendResponse(NamedTuple):
    """An answer, read to its end."""

    status: int
    kind: str
    """Its content-type."""
    content: bytearray


class Backend:
    """The one client of the backend. Enter the context to open its connections."""

    def __init__(self, settings: Settings, url: str) -> None:
        """Call what is at `url` with the token of the settings."""
        self._url = url.rstrip("/")
        self._token = settings.backend_token
        self._tls = trust()
        self._clients = HTTPConnectionPool(self._client, CONNECTIONS, CONNECTION_PATIENCE)
        self.health: Health | None = None
        """What it said when it was last asked for it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.hang_up()

    async def ask(
        self,
        path: str,
        question: object,
        kind: Any,  # noqa: ANN401 - mypy knows no type of types such as `Run | None`
        patience: float | None = None,
        *,
        repeats: bool = True,
    ) -> Any:  # noqa: ANN401
        """The answer to a question, as what it is. Raises BackendProblem or BackendUnavailable.

        `repeats`: whether it does no harm to ask once more; HAProxy on the way is told so as well.
        """
        body = _encode(question)
        said = await self._call("POST", path, body, patience or READING, repeats=repeats)
        if said.status != HTTPStatus.OK:
            raise _problem(path, said)
        return _read(said, kind)

    async def check(self) -> None:
        """Raises StoreUnavailable where the backend is not ready."""
        said = await self._call("GET", "/health/ready", None, READING)
        self.health = _read(said, Health)
        if said.status != HTTPStatus.OK:
            raise DatabaseUnavailable(self.health.detail or "the backend is not ready")

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        patience: float,
        *,
        repeats: bool = True,
    ) -> BackendResponse:
        until = asyncio.get_running_loop().time() + patience
        headers = {"x-request-id": request_id.get()}
        if not repeats:
            headers["cache-control"] = "no-cache"
        try:
            # where the caller's own deadline comes first, what set it ends this call
            async with asyncio.timeout_at(until):
                try:
                    return await self._send(method, path, body, headers, until)
                except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                    if not repeats and not isinstance(error, httpx.ConnectError):
                        raise
                    logger.info("a call of the backend was lost: repeating it (%r)", error)
                    await self._clients.hang_up()  # what else is idle leads to the same end
                    return await self._send(method, path, body, headers, until)
        except httpx.PoolTimeout as error:
            raise BackendUnavailable("too many calls of the backend are under way") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise BackendUnavailable("the backend does not answer in time") from error
        except httpx.HTTPError as error:
            raise BackendUnavailable("the backend is away") from error

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], until: float
    ) -> BackendResponse:
        url, content = self._url + path, bytearray()
        # each time anew: a first try has taken some of it
        left = min(until, deadline.get() or until) - asyncio.get_running_loop().time()
        headers = {**headers, REQUEST_TIMEOUT: f"{max(left, 0):.3f}"}
        async with (
            self._clients.lend() as client,
            client.stream(method, url, content=body, headers=headers) as response,
        ):
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MOST:
                    raise BackendUnavailable(f"the backend answers more than {MOST:,} bytes")
        return BackendResponse(
            response.status_code, response.headers.get("content-type", ""), content
        )

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECTION_PATIENCE),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE),
            headers={"accept-encoding": "identity", "content-type": "application/json"}
            | ({"authorization": f"Bearer {self._token}"} if self._token else {}),
            # a redirect, or somebody's proxy, would take the token elsewhere
            follow_redirects=False,
            trust_env=False,
            verify=self._tls,
        )


def _read(said: BackendResponse, kind: Any) -> Any:  # noqa: ANN401 - see ask
    try:
        return msgspec.json.decode(said.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendUnavailable(
            f"{said.status} from the backend is not what one answers: is it one, and of"
            " the same release?"
        ) from error


def _problem(path: str, said: BackendResponse) -> ServiceError:
    """What the backend says is wrong, if it is the backend who says it."""
    if said.status == HTTPStatus.UNAUTHORIZED:
        return BackendUnavailable("the backend refuses this frontend's ARXIV_BACKEND_TOKEN")
    if said.status in _NOT_SERVED or said.kind != MEDIA_TYPE:
        return BackendUnavailable(f"the backend does not serve {path}: it answers {said.status}")
    problem: Problem = _read(said, Problem)
    if problem.parameter is not None:  # those of our own caller are found out here
        return BackendUnavailable(
            f"the backend does not understand {path} ({problem.detail}): is it of the same release?"
        )
    return BackendError(
        problem.detail,
        title=problem.title,
        status_code=said.status,
        retry_after=problem.retry_after,
        query_id=problem.query_id,
    )


class RemoteSearchService(SearchService):
    """Has the backend find what is not at hand: its gate and its memory are everybody's."""

    def __init__(self, settings: Settings, backend: Backend) -> None:
        """Take from the settings how long the backend may take."""
        super().__init__(settings)
        self._backend = backend
        # the wait for a turn, arXiv's last answer, and its record while the database is away
        self._patience = settings.max_wait + settings.timeout + SAVE_RETRY_SECONDS + READING

    async def _run(
        self, _: InFlight[SearchReply], request: ArxivRequest, *, use_cache: bool
    ) -> SearchReply:
        """From the backend."""
        deadline.set(None)  # others may wait longer than who came first; the last to leave ends it
        wanted = SearchRequest(asked=request.search, anew=not use_cache)
        # what a lost search found is remembered; anew, another call would ask arXiv once more
        found: SearchReply = await self._backend.ask(
            "/find-answer", wanted, SearchReply, self._patience, repeats=use_cache
        )
        self._add_to_cache(request, found.recorded)
        return found


class RemoteRecords:
    """What was just written, read where it was written."""

    def __init__(self, backend: Backend) -> None:
        """Ask this backend."""
        self._backend = backend

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, in their order."""
        wanted = ResultsRequest(query_id=query_id)
        rows: list[ResultRow] = await self._backend.ask("/find-results", wanted, list[ResultRow])
        return rows

    @property
    def systems(self) -> Collection[str]:
        """The backend alone: it speaks for its systems."""
        return ("backend",)

    async def fetch_migrations(self, system: str) -> set[str]:  # noqa: ARG002 - there is one
        """Those we know of: a backend that lacks any says so. Raises StoreUnavailable then.

        It is also asked something that needs the token.
        """
        await self._backend.check()
        await self._backend.ask("/read-archive", requests.Query(query_id=1), Run | None)
        return set(migrations.names())


class RemoteApiKeys:
    """Which API keys count, as the backend says."""

    def __init__(self, backend: Backend) -> None:
        """Ask this backend."""
        self._backend = backend

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        """The keys that count, of those with these digests."""
        wanted = ApiKeysRequest(digests=[digest.hex() for digest in digests])
        found: list[ApiKeyInfo] = await self._backend.ask(
            "/find-keys", wanted, list[ApiKeyInfo], KEYS_PATIENCE
        )
        return {
            bytes.fromhex(key.digest): ApiKey(key.name, Rate(key.quota, key.seconds))
            for key in found
        }


class RemoteReader(RecordReader):
    """Each question is one call; whole lists are read in batches as ever."""

    def __init__(self, backend: Backend) -> None:
        """Ask this backend."""
        self._backend = backend

    async def _ask(self, question: requests.ReadRequest, kind: Any) -> Any:  # noqa: ANN401 - see ask
        return await self._backend.ask("/read-archive", question, kind)

    async def page(
        self,
        kind: ListDefinition[T],
        wanted: Filter,
        place: Position,
        limit: int,
        *,
        newest: bool = False,
    ) -> list[T]:
        """For each who asks."""
        return await self._page(kind, wanted, place, limit, newest=newest)

    async def together(self, asked: Hashable, read: Callable[[], Coroutine[Any, Any, R]]) -> R:  # noqa: ARG002
        """For each who asks: they do not wait equally long."""
        return await read()

    async def _page(
        self, kind: ListDefinition[T], wanted: Filter, place: Position, limit: int, *, newest: bool
    ) -> list[T]:
        name: Any = next(name for name, (each, _) in requests.LISTS.items() if each is kind)
        page = requests.Page(name, wanted, place, limit, newest)
        rows: list[T] = await self._ask(page, list[kind.rows])  # type: ignore[name-defined]
        return rows

    async def query(self, query_id: int) -> Run | None:
        """One search."""
        run: Run | None = await self._ask(requests.Query(query_id), Run | None)
        return run

    async def runs(self, run: Run, limit: int) -> list[Run]:
        """The runs of the same search up to this one."""
        runs: list[Run] = await self._ask(requests.Runs(run, limit), list[Run])
        return runs

    async def results_of(self, run: Run) -> list[ResultRow]:
        """The results of a search."""
        rows: list[ResultRow] = await self._ask(requests.Results(run), list[ResultRow])
        return rows

    async def feed(self, runs: Sequence[Run]) -> list[PaperRow]:
        """What these runs found."""
        papers: list[PaperRow] = await self._ask(requests.Feed(list(runs)), list[PaperRow])
        return papers

    async def versions(self, arxiv_id: str) -> list[PaperRow]:
        """The versions of one paper."""
        papers: list[PaperRow] = await self._ask(requests.Versions(arxiv_id), list[PaperRow])
        return papers

    async def papers_of(self, names: Collection[PaperVersion]) -> dict[PaperVersion, PaperRow]:
        """The papers of these names."""
        wanted = requests.Papers(list(names))
        found: list[PaperRow] = await self._ask(wanted, list[PaperRow])
        return {(paper.arxiv_id, paper.version): paper for paper in found}

    async def counts(self, wanted: PaperFilter, tz: tzinfo) -> list[Count]:
        """How many papers match."""
        counts: list[Count] = await self._ask(
            requests.Counts(wanted, timestamps.name_of(tz)), list[Count]
        )
        return counts
