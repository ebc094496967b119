"""What the first visit to a page costs."""

import pytest
from playwright.sync_api import Browser, Response

MAX_BYTES, MAX_REQUESTS = 60_000, 4


@pytest.mark.parametrize(
    "path", ["/", "/search?q=testing", "/abs/math/0406001", "/new", "/searches", "/status"]
)
def test_first_visit_takes_few_requests_and_bytes(browser: Browser, site: str, path: str) -> None:
    responses: list[Response] = []
    context = browser.new_context(base_url=site)
    context.on("response", lambda each: responses.append(each))  # noqa: PLW0108 - Playwright sets an attribute of it
    page = context.new_page()
    page.goto(path)
    page.wait_for_load_state("networkidle")
    sizes = [response.request.sizes()["responseBodySize"] for response in responses]
    context.close()
    assert all(response.ok for response in responses)
    assert len(responses) <= MAX_REQUESTS
    assert 0 < sum(sizes) <= MAX_BYTES, sizes
