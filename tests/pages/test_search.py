"""`/search`: the papers that match as a page, with facets, a histogram and links."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import lxml.html
import pytest
from lxml.html import HtmlElement

from service.settings import Settings
from tests.conftest import Gateway, Serve
from tests.support.papers import create_paper, store_papers

HOSTILE = '<img src=x onerror="alert(1)"> </script><script>alert(1)</script> \u202etxt'


async def fetch(client: Gateway, path: str, status: int = 200, **params: Any) -> HtmlElement:
    """Return a page that is valid for browsers."""
    response = await client.get(path, params=params)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return lxml.html.document_fromstring(response.content.decode())


def read_text(page: HtmlElement, selector: str) -> list[str]:
    """Return the text of each element, with single spaces."""
    return [" ".join(element.text_content().split()) for element in page.cssselect(selector)]


def find_link(page: HtmlElement, text: str) -> str:
    """Return the target of the only link whose text contains this one."""
    links = [a.get("href") for a in page.cssselect("main a[href]") if text in a.text_content()]
    [link] = dict.fromkeys(links)
    return str(link)


@pytest.fixture
async def papers(settings: Any) -> None:
    made: Settings = settings()
    assert made.database_url
    await store_papers(
        made.database_url,
        *(
            create_paper(
                number,
                f"Flaky tests {number}",
                f"We study $x^{number}$ and flaky systems",
                categories=["cs.SE", "math.CO"] if number % 2 else ["cs.SE"],
                authors=["Emmy Noether", "José Klein"],
            )
            for number in range(1, 25)
        ),
    )


@pytest.mark.usefixtures("papers")
async def test_dump(client: Gateway) -> None:
    from pathlib import Path

    for i, p in enumerate(
        (
            {"q": "flaky noether"},
            {"q": "flaky (", "since": "2x", "category": ["cs.SE", "xx"]},
            {"q": "flakyy"},
            {"category": "math.CO", "order": "newest"},
        )
    ):
        r = await client.get("/search", params=p)
        Path(f"/tmp/plan11/S_page{i}.html").write_text(r.text)
