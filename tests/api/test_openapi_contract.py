"""The description at `/schema` is kept to the letter, whatever is sent; `make fuzz` sends more."""

import asyncio
import re
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
EXAMPLES = 50 if LONG else 5
BOUND_TOGETHER = {
    ", ".join(arxiv_query.SEARCH_PARAMS),  # one of them is needed
    "start",  # with max_results no more than 10,000
    "after",  # a cursor is good for its own query, and not beside a page
    "order",  # relevance needs q
    "fields",  # not of a bibliography
    "until",  # not before since
    "end_timestamp",
    "submitted_to",
}
LANGUAGES = {
    *("q", "query"),  # with a grammar
    *("author", "title", "journal", "abstract", "comment", "any"),  # without a word in it
    *("category", "id_list", "arxiv_id"),
    *("since", "start_timestamp", "submitted_from"),  # of ISO 8601 more than `date-time` is taken
}
PAPER = re.compile(r"results\[\d+\]\.")
"""Litestar describes no bounds of what may be null, or is in a list, in a struct in a struct."""
ODD_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "text/csv, */*;q=0.1", "Accept-Encoding": "zstd;q=0.5, gzip"},
    {"Accept": "application/x-bibtex", "Accept-Encoding": "identity;q=0, *"},
    {"Accept": "image/png, text/html;q=0.9", "If-None-Match": "*"},
    {"Accept": "application/atom+xml;type=feed", "Accept-Encoding": ", ;q=,gzip;q=2"},
    {"Accept": "*/*;q=0", "Cache-Control": "no-cache, max-age=x"},
    {"Accept": ";;,,=q/*", "If-None-Match": 'W/"x", "'},
)
"""OpenAPI describes no Accept, so no tool would send these."""


@schemathesis.check
def refuses_valid_data_for_a_reason(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: AnyCase
) -> None:
    """What the schema allows is refused only for what no schema can say."""
    mode = case.meta and case.meta.generation.mode
    if response.status_code != 400 or mode != schemathesis.GenerationMode.POSITIVE:
        return
    problem = response.json()
    excused = (
        "query_id" in problem  # arXiv itself refuses it
        or "NUL" in problem["detail"]  # no text may hold one
        or "unknown field" in problem["detail"]  # Litestar describes structs in structs as open
        # the parts of a question belong together
        or (case.path, problem["parameter"]) == ("/read-archive", "body")
        or PAPER.match(problem["parameter"])
        or problem["parameter"] in BOUND_TOGETHER | LANGUAGES
    )
    assert excused, problem["detail"]


odd_headers = cycle(ODD_HEADERS)


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: AnyCase, __: dict[str, Any]) -> None:
    """Add some of them to what is sent anyway."""
    case.headers.update(next(odd_headers))


CONFIG = {
    "seed": 1,
    "generation": {"max-examples": EXAMPLES, "deterministic": not LONG},
    "checks": {
        # all of them are on; 400 is looked at by the one above, and 406 comes of ODD_HEADERS
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "400", "401", "404", "406", "409", "5xx"]
        }
    },
    # whatever is no truth value: Litestar takes 0 for false
    "operations": [
        {"include-path": path, "checks": {"negative_data_rejection": {"enabled": False}}}
        for path in ("/find-answer", "/read-archive")
    ],
    "phases": {
        # the bounds of everything, and what one answer leads to; at random only for `make fuzz`
        "fuzzing": {"enabled": LONG},
        "coverage": {"unexpected-methods": ["TRACE", "DELETE"]},
        "stateful": {"max-steps": 4},
    },
}


async def keyed(made: Settings) -> str:
    """An API key in this database, with which one may ask without end."""
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
    """What a service with some searches says of itself, with and without a token and keys."""
    token = None if request.param == "neither" else TOKEN
    made = settings(backend_token=token, api_keys="required" if request.param == "both" else "off")
    secrets = {"token": {"bearer": token}} if token else {}
    if request.param == "both":
        secrets["key"] = {"bearer": asyncio.run(keyed(made))}
    headers = {"authorization": f"Bearer {secrets['key']['bearer']}"} if "key" in secrets else {}
    with served(made) as url:
        for title in ("testing", "unit test", "no such words"):
            httpx.get(f"{url}/arxiv", params={"title": title}, headers=headers).raise_for_status()
        config = schemathesis.Config.from_dict(CONFIG | {"auth": {"openapi": secrets}})
        described = schemathesis.openapi.from_url(f"{url}/schema/openapi.json", config=config)
        yield described


def test_every_answer_is_as_described(contract: schemathesis.BaseSchema) -> None:
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
    assert sent > 1000
    assert not failures, "\n\n".join(failures)
