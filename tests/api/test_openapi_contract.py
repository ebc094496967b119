"""All responses match the schema at `/schema`; `make fuzz` sends more requests."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import settings as hypothesis_settings
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from demo.arxiv import StandIn
from service import api_keys, arxiv_query
from service.api_keys import ApiKey, Rate
from service.context import create_pools
from service.db.api_keys import ApiKeyStore
from service.settings import Settings
from tests.conftest import served

AnyCase = schemathesis.Case[Any]
TOKEN = "a token of the tests' own"  # noqa: S105
LONG = hypothesis_settings.get_current_profile_name() == "long"
EXAMPLES = 50 if LONG else 2
INTERDEPENDENT = {
    ", ".join(arxiv_query.SEARCH_PARAMS),  # at least one is required
    "start",  # start + max_results is at most 10,000
    "after",  # a cursor is bound to its query, and excludes page
    "order",  # relevance requires q
    "fields",  # only for tables
    "until",  # not before since
    "end_timestamp",
    "submitted_to",
}
LANGUAGES = {
    *("q", "query"),  # have a grammar
    *("author", "title", "journal", "abstract", "comment", "any"),  # may contain no word
    *("category", "id_list", "arxiv_id"),
    *("since", "start_timestamp", "submitted_from"),  # accept more of ISO 8601 than `date-time`
}
ODD_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "text/csv, */*;q=0.1", "Accept-Encoding": "zstd;q=0.5, gzip"},
    {"Accept": "application/x-bibtex", "Accept-Encoding": "identity;q=0, *"},
    {"Accept": "image/png, text/html;q=0.9", "If-None-Match": "*"},
    {"Accept": "application/atom+xml;type=feed", "Accept-Encoding": ", ;q=,gzip;q=2"},
    {"Accept": "*/*;q=0", "Cache-Control": "no-cache, max-age=x"},
    {"Accept": ";;,,=q/*", "If-None-Match": 'W/"x", "'},
)
"""Tools do not send these, since OpenAPI cannot describe Accept."""


@schemathesis.check
def valid_data_is_rejected_for_a_reason(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: AnyCase
) -> None:
    """Valid data is rejected only for reasons that a schema cannot express."""
    mode = case.meta and case.meta.generation.mode
    if response.status_code != 400 or mode != schemathesis.GenerationMode.POSITIVE:
        return
    if case.path == "/api/query":
        return  # all of its parameters are in the language of arXiv
    problem = response.json()
    excused = (
        "query_id" in problem  # arXiv rejects it
        or "NUL" in problem["detail"]  # texts must not contain one
        # the parts of a request depend on each other
        or (problem["parameter"] == "body" and case.path in {"/find-answer", "/read-archive"})
        or problem["parameter"] in INTERDEPENDENT | LANGUAGES
        or problem["detail"].startswith("results[0]: arxiv_id: ")  # takes any spelling
    )
    assert excused, problem["detail"]


odd_headers = cycle(ODD_HEADERS)


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: AnyCase, __: dict[str, Any]) -> None:
    """Add unusual headers to each request."""
    case.headers.update(next(odd_headers))


CONFIG = {
    "seed": 1,
    "generation": {"max-examples": EXAMPLES, "deterministic": not LONG},
    "checks": {
        # all others are enabled; the check above handles 400, and ODD_HEADERS cause 406
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "400", "401", "404", "406", "409", "5xx"]
        }
    },
    # invalid booleans: Litestar accepts 0 as false
    "operations": [
        {"include-path": path, "checks": {"negative_data_rejection": {"enabled": False}}}
        for path in ("/find-answer", "/read-archive")
    ],
    "phases": {
        # bounds, and links between operations; random data only in `make fuzz`
        "fuzzing": {"enabled": LONG},
        "coverage": {"unexpected-methods": ["TRACE", "DELETE"]},
        "stateful": {"max-steps": 4},
    },
}


async def create_api_key(made: Settings) -> str:
    """Create an API key without a practical limit."""
    text = api_keys.generate_key()
    async with create_pools(made) as pools:
        await ApiKeyStore(pools).add(ApiKey("a", Rate(10**9, 1)), api_keys.hash_key(text), "")
    return text


@pytest.fixture(params=["token", "neither", "both"] if LONG else ["token"])
def contract(
    settings: Callable[..., Settings],
    arxiv: StandIn,  # noqa: ARG001 - a clean one
    request: pytest.FixtureRequest,
) -> Iterator[schemathesis.BaseSchema]:
    """The schema of a service with some searches, with and without a token and keys."""
    token = None if request.param == "neither" else TOKEN
    made = settings(backend_token=token, api_keys="required" if request.param == "both" else "off")
    secrets = {"token": {"bearer": token}} if token else {}
    if request.param == "both":
        secrets["key"] = {"bearer": asyncio.run(create_api_key(made))}
    headers = {"authorization": f"Bearer {secrets['key']['bearer']}"} if "key" in secrets else {}
    with served(made) as url:
        for title in ("testing", "unit test", "no such words"):
            httpx.get(f"{url}/arxiv", params={"title": title}, headers=headers).raise_for_status()
        config = schemathesis.Config.from_dict(CONFIG | {"auth": {"openapi": secrets}})
        described = schemathesis.openapi.from_url(f"{url}/schema/openapi.json", config=config)
        yield described


@pytest.mark.thorough
def test_every_response_matches_the_schema(contract: schemathesis.BaseSchema) -> None:
    failures, sent = [], 0
    for event in from_schema(contract).execute():
        if isinstance(event, ScenarioFinished):
            sent += len(event.recorder.interactions)
            failures += [
                f"{event.phase} {event.recorder.label}: {check.failure_info.failure.message}"
                f"\n{check.failure_info.code_sample}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.failure_info
            ]
        elif isinstance(event, NonFatalError | FatalError):
            failures.append(repr(event))
    assert sent > 300
    assert not failures, "\n\n".join(failures)
