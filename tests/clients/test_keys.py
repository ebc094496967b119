"""Clients that cannot set headers send an API key in the URL."""

from collections.abc import Callable
from typing import Any

import pytest

from service import api_keys
from service.api_keys import ApiKey, Rate
from service.context import LocalContext
from service.settings import Settings
from tests.support.clients import (
    Fetch,
    serve_gateway,
    use_arxiv_api,
    use_arxiv_for_r,
    use_papis,
    use_pubs,
)
from tests.support.clients import use_python as use

CLIENTS: dict[str, tuple[Fetch, dict[str, Any]]] = {
    "arxiv.py 2": (use("arxiv-2", "arxiv_py.py"), {"query": "all:testing"}),
    "arxiv.py 4": (use("arxiv-4", "arxiv_py.py"), {"query": "all:testing"}),
    "feedparser": (use("arxiv-4", "feedparser.py", "feedparser"), {"id_list": "0704.0001"}),
    "papis": (use_papis, {"explore": ["--title", "testing"]}),
    "pubs": (use_pubs, {"arxiv_id": "0704.0001"}),
    "arxiv-api": (use_arxiv_api, {"searchQueryParams": [{"include": [{"name": "testing"}]}]}),
    "aRxiv": (use_arxiv_for_r, {"query": "all:testing"}),
}


async def create_key(settings: Settings) -> str:
    key = api_keys.generate_key()
    async with LocalContext(settings) as context:
        await context.api_key_store.add(
            ApiKey("client", Rate.parse("100/minute")), api_keys.hash_key(key), key[:8]
        )
    return key


@pytest.mark.parametrize("client", CLIENTS)
async def test_client_sends_the_key_in_the_url(
    client: str,
    database: str,
    arxiv_url: str,
    settings: Callable[..., Settings],
) -> None:
    fetch, search = CLIENTS[client]
    key = await create_key(settings())
    with serve_gateway(database, arxiv_url, ARXIV_API_KEYS="required") as url:
        outcome = fetch(url.replace("http://", f"http://any:{key}@"), {"search": search})["search"]
    assert outcome["papers"]
