"""Requests to arXiv that let all searches go first, and what their responses have in common."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Self

import httpx

from ..arxiv_http import ArxivFailure, ArxivHttp, ArxivService, HttpResponse
from ..db.rate_limiter import Lease, RateLimiter
from ..models.arxiv import Outcome
from ..settings import Settings
from ..untrusted_xml import InvalidResponse


class BackgroundHttp:
    """Requests to one of arXiv's services; leaving the context closes the connection.

    The rate limiter has the priority of background work.
    """

    def __init__(
        self,
        settings: Settings,
        service: ArxivService,
        rate_limiter: RateLimiter,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = settings.timeout
        self._rate_limiter = rate_limiter
        self._http = ArxivHttp(settings, service, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def fetch(self, url: str, parameters: Mapping[str, str], deadline: float) -> HttpResponse:
        """Wait for the lease until `deadline` (loop time), send a GET request, return the response.

        Raises QueueTooLong or DatabaseUnavailable without the lease, and ArxivFailure.
        """
        async with self._rate_limiter.acquire(deadline) as lease:
            assert isinstance(lease, Lease)  # noqa: S101 - the other results need a probe
            end = min(lease.expires_at, asyncio.get_running_loop().time() + self._timeout)
            try:
                response = await self._http.fetch(url, parameters, end)
            except ArxivFailure as failure:
                lease.cooldown = _get_cooldown(failure)
                raise
            lease.answered = response.status == HTTPStatus.OK
        return response


@contextmanager
def map_parse_errors(response: HttpResponse) -> Iterator[None]:
    """Turn the errors of a parser into ArxivFailure, which has the status if it is the reason."""
    try:
        yield
    except InvalidResponse as error:
        reason = f"the response of arXiv is not valid: {error}"
        if response.status != HTTPStatus.OK:
            reason = f"arXiv responded with status {response.status}"
        raise ArxivFailure(Outcome.BROKEN, reason) from error
    except TimeoutError as error:
        reason = "the response of arXiv takes too long to parse"
        raise ArxivFailure(Outcome.TIMEOUT, reason) from error


def _get_cooldown(failure: ArxivFailure) -> float:
    """For how long arXiv demands that nothing is sent."""
    if failure.outcome != Outcome.BUSY or failure.concerns_one_request:
        return 0.0
    return float(failure.retry_after or 0)
