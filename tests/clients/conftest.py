"""Fixtures: one gateway, with an empty database, for all tests of a file."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.settings import Settings
from tests.conftest import copied, served


@pytest.fixture(scope="module")
def arxiv_url(arxiv_server: tuple[StandIn, str]) -> str:
    """Base URL of the stand-in for arXiv."""
    return arxiv_server[1].removesuffix("/api/query")


@pytest.fixture(scope="module")
def gateway_url(server: str, template: str, arxiv_url: str) -> Iterator[str]:
    """Base URL of a gateway in front of the stand-in."""
    with (
        copied(server, template) as database,
        served(
            Settings(
                database_url=make_conninfo(database, user="arxiv_rw"),
                database_ro_url=make_conninfo(database, user="arxiv_ro"),
                api_url=f"{arxiv_url}/api/query",
                interval=0.0,
            )
        ) as url,
    ):
        yield url
