"""A client of arXiv's OAI-PMH server."""

import asyncio
from datetime import date
from time import monotonic
from typing import Literal, Self

import httpx
from msgspec import Struct

from .. import metrics
from ..arxiv_http import ArxivFailure, ArxivService, HttpResponse, run_in_new_thread
from ..db.rate_limiter import RateLimiter
from ..models.arxiv import Outcome
from ..settings import Settings
from .background_http import BackgroundHttp, map_parse_errors
from .oai_xml import MetadataPrefix, OaiPage, parse_page

OAI = ArxivService("arXiv's OAI-PMH", "ARXIV_OAI_URL", "text/xml")
VERB: Literal["ListRecords"] = "ListRecords"
MAX_WAIT = 3600.0
"""Longest wait for the rate limiter in seconds, for example during a cooldown."""
PARSE_TIMEOUT = 60.0
NO_RECORDS = "noRecordsMatch"
"""The error that means an empty list."""


class ListRequest(Struct, frozen=True):
    """A request for one page of a list of records."""

    metadata_prefix: MetadataPrefix
    first_day: date
    last_day: date | None
    """None: no limit."""
    set_spec: str
    """Empty: all records."""
    token: str | None = None
    """The resumption token; None for the first page."""

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments of OAI-PMH."""
        if self.token is not None:
            return {"verb": VERB, "resumptionToken": self.token}
        arguments = {
            "verb": VERB,
            "metadataPrefix": self.metadata_prefix,
            "from": self.first_day.isoformat(),
        }
        if self.last_day:
            arguments["until"] = self.last_day.isoformat()
        if self.set_spec:
            arguments["set"] = self.set_spec
        return arguments


class OaiClient:
    """Requests pages of records; leaving the context closes the connection."""

    def __init__(
        self,
        settings: Settings,
        rate_limiter: RateLimiter,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = settings.oai_url
        self._http = BackgroundHttp(settings, OAI, rate_limiter, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def list_records(self, request: ListRequest) -> OaiPage:
        """Request one page of a list, which may be an error of OAI-PMH.

        Raises ArxivFailure if arXiv sends no usable response to this request, and QueueTooLong or
        DatabaseUnavailable if it could not be sent.
        """
        deadline = asyncio.get_running_loop().time() + MAX_WAIT
        try:
            response = await self._http.fetch(self._url, request.arguments, deadline)
            page = await run_in_new_thread(_parse, response, request.metadata_prefix)
            _check_request(page, request)
        except ArxivFailure as failure:
            metrics.MIRROR_REQUESTS.labels(failure.outcome).inc()
            raise
        metrics.MIRROR_REQUESTS.labels(Outcome.REFUSED if page.error else Outcome.OK).inc()
        return page


def _parse(response: HttpResponse, metadata_prefix: MetadataPrefix) -> OaiPage:
    with map_parse_errors(response):
        return parse_page(
            response.body,
            verb=VERB,
            metadata_prefix=metadata_prefix,
            deadline=monotonic() + PARSE_TIMEOUT,
        )


def _check_request(page: OaiPage, request: ListRequest) -> None:
    """Fail if the page is the response to another request, as from a broken cache.

    Errors need not repeat the arguments, except the one that means an empty list. In the first page
    of a list, arXiv's server repeats the `from` of the next page instead of that of the request.
    """
    sent, repeated = request.arguments, dict(page.request)
    if page.error and page.error.code != NO_RECORDS and not repeated:
        return
    if page.token and "from" in sent and repeated.get("from", "") > sent["from"]:
        repeated["from"] = sent["from"]
    if repeated != sent:
        raise ArxivFailure(Outcome.BROKEN, "arXiv sent the response to another request")
