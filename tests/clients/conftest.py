"""Fixtures: the stand-in for arXiv, and the service as a process, with the HTTP that users get."""

from collections.abc import Iterator

import pytest

from demo.arxiv import StandIn
from tests.conftest import copied
from tests.support.clients import serve_gateway


@pytest.fixture(scope="session")
def arxiv_url(arxiv_server: tuple[StandIn, str]) -> str:
    """Base URL of the stand-in for arXiv."""
    return arxiv_server[1].removesuffix("/api/query")


@pytest.fixture(scope="session")
def gateway_url(server: str, template: str, arxiv_url: str) -> Iterator[str]:
    """Base URL of a gateway in front of the stand-in, with a database for all tests."""
    with copied(server, template) as database, serve_gateway(database, arxiv_url) as url:
        yield url
