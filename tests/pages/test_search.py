"""`/search`: the papers that match as a page, with facets, a histogram and links."""

from typing import Any

import pytest

from tests.support.papers import create_paper, store_papers


@pytest.fixture
async def papers(settings: Any) -> None:
    """Store two dozen papers."""
    await store_papers(
        settings().database_url,
        *(
            create_paper(
                number,
                f"Flaky tests {number}",
                f"We study $x^{number}$ and flaky systems" * 10,
                categories=["cs.SE", "math.CO"] if number % 2 else ["cs.SE"],
                authors=["Emmy Noether", "José Klein"],
            )
            for number in range(1, 25)
        ),
    )
