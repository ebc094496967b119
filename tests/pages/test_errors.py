"""Errors are pages for browsers, and problems for programs, wherever a request is rejected."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
import uvicorn

from service.middleware import response_budget
from service.server import create_config
from service.settings import Settings
from tests.conftest import Gateway, Serve, make_app, undelayed
from tests.support.pages import BROWSER, parse


async def check_page_and_problem(client: Gateway, path: str, status: int, **headers: str) -> None:
    problem = await client.get(path, headers=headers)
    assert problem.status_code == status
    assert problem.headers["content-type"] == "application/problem+json"
    page = await client.get(path, headers=headers | BROWSER)
    assert page.status_code == status
    assert problem.json()["detail"] in parse(page).text_content()
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src")
    assert "Accept" in page.headers["vary"]
    assert page.headers.get("retry-after") == problem.headers.get("retry-after")


async def test_errors_of_handlers_and_middleware_are_pages(gateway: Serve) -> None:
    async with gateway(allowed_hosts="gateway") as client:
        for path, status in (
            ("/nowhere", 404),
            ("/queries/1", 404),
            ("/papers?order=x", 400),
            ("/arxiv", 400),
        ):
            await check_page_and_problem(client, path, status)
        await check_page_and_problem(client, "/queries", 400, host="example.org")
        late = {"request-timeout": "x"}
        await check_page_and_problem(client, "/queries", 400, **late)


async def test_quota_and_missing_key_are_pages(gateway: Serve) -> None:
    async with gateway(api_keys="required") as client:
        await check_page_and_problem(client, "/queries", 401)
    async with gateway(api_keys="optional", anonymous_rate="1/day") as client:
        await client.get("/queries")
        problem = await client.get("/queries")
        page = await client.get("/queries", headers=BROWSER)
        assert problem.status_code == page.status_code == 429
        assert "quota of 1/day" in parse(page).text_content()


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", ""])
async def test_errors_of_pages_are_always_pages(gateway: Serve, accept: str) -> None:
    async with gateway(allowed_hosts="gateway") as client:
        headers = {"accept": accept, "host": "example.org"}
        response = await client.get("/", headers=headers)
    assert response.status_code == 400
    assert "ARXIV_ALLOWED_HOSTS" in parse(response).text_content()
    assert 'rel="stylesheet"' in response.text


async def test_api_query_reports_errors_as_feeds_to_browsers_too(client: Gateway) -> None:
    response = await client.get("/api/query", params={"start": "x"}, headers=BROWSER)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/atom+xml")


async def test_details_are_escaped(client: Gateway) -> None:
    response = await client.get("/papers", params={"<script>": "<b>"}, headers=BROWSER)
    assert response.status_code == 400
    assert "<script>:" not in response.text
    assert "<script>: no such parameter" in parse(response).text_content()


async def test_head_of_an_error_page_has_no_body(client: Gateway) -> None:
    response = await client.head("/nowhere", headers=BROWSER)
    assert response.status_code == 404
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.content == b""


async def test_without_pages_all_errors_are_problems(gateway: Serve) -> None:
    async with gateway(pages="off") as client:
        for path in ("/", "/nowhere"):
            response = await client.get(path, headers=BROWSER)
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"


async def test_requests_that_do_not_reach_the_application_get_pages(
    settings: Callable[..., Settings],
) -> None:
    made = settings()
    server = uvicorn.Server(create_config(make_app(made), made))
    listener = undelayed()
    serving = asyncio.create_task(server.serve([listener]))
    async with httpx.AsyncClient() as client:
        client.base_url = httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            for path, headers, status in (
                ("/sign-in?next=" + "a" * 60_000, {}, 414),
                ("/papers", {"x-large": "a" * 70_000, "accept": BROWSER["accept"]}, 431),
                ("/?q=a", {"x-large": "a" * 70_000, "accept": BROWSER["accept"]}, 431),
            ):
                response = await client.get(path, headers=headers)
                assert response.status_code == status
                assert f"Status {status}" in parse(response).text_content()
                assert int(response.headers["content-length"]) == len(response.content)
                [policy] = response.headers.get_list("content-security-policy")
                assert "style-src 'self'" in policy
            for path in ("/papers?q=" + "a" * 60_000, "/nowhere/" + "a" * 60_000):
                response = await client.get(path)
                assert response.status_code == 414
                assert response.headers["content-type"] == "application/problem+json"
        finally:
            server.should_exit = True
            await serving


async def test_too_many_large_responses_are_reported_as_a_page(
    client: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = response_budget.ResponseBudgetMiddleware.reserve

    def reject(self: response_budget.ResponseBudgetMiddleware, size: int) -> None:
        monkeypatch.setattr(response_budget, "MAX_RESERVED_BYTES", 0)
        self._reserved = 1
        reserve(self, size)

    monkeypatch.setattr(response_budget.ResponseBudgetMiddleware, "reserve", reject)
    monkeypatch.setattr(response_budget, "PIECE_BYTES", 100)
    response = await client.get("/queries", headers=BROWSER)
    assert response.status_code == 503
    assert "too many large responses" in parse(response).text_content()
    assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    "accept",
    [
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "text/*",
        "text/html,*/*",
        "application/json,application/xhtml+xml;q=0.5",
    ],
)
async def test_programs_that_accept_html_get_problems(client: Gateway, accept: str) -> None:
    response = await client.get("/papers?x=1", headers={"accept": accept})
    assert response.headers["content-type"] == "application/problem+json"


async def test_browsers_are_known_by_what_they_open(client: Gateway) -> None:
    headers = {"accept": "*/*", "sec-fetch-dest": "document"}
    assert (
        "no such parameter"
        in parse(await client.get("/papers?x=1", headers=headers)).text_content()
    )


async def test_browsers_do_not_ask_for_a_password_themselves(gateway: Serve) -> None:
    async with gateway(api_keys="required") as client:
        problem = await client.get("/queries")
        page = await client.get("/queries", headers=BROWSER)
    assert "Basic" in problem.headers["www-authenticate"]
    assert page.headers["www-authenticate"] == 'Bearer realm="arxiv-gateway"'


async def test_only_the_url_of_the_own_content_is_cached_for_long(client: Gateway) -> None:
    [path] = parse(await client.get("/")).xpath("//link[@rel='stylesheet']/@href")
    own = await client.get(path)
    assert own.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]
    for other in ("/static/style.css", "/static/style.css?deadbeef"):
        response = await client.get(other)
        assert response.status_code == 200
        assert response.headers.get_list("cache-control") == ["no-cache"]
