"""Forms are accepted from pages of the service only."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import Gateway, Serve
from tests.support.pages import FORM_COOKIE, parse, read_form


@pytest.fixture
async def private(gateway: Serve) -> AsyncIterator[Gateway]:
    """Client of a service that requires keys: its form for signing in has no session."""
    async with gateway(api_keys="required") as client:
        yield client


ACCEPTED = 400  # the form is accepted, and the key in it is not


async def test_form_is_accepted_with_the_token_of_its_page(private: Gateway) -> None:
    page = await private.get("/sign-in")
    assert page.headers["cache-control"] == "private, no-cache"
    [cookie] = page.headers.get_list("set-cookie")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=lax", "path=/"}
    form = read_form(page, "/sign-in")
    assert (await private.post("/sign-in", data=form)).status_code == ACCEPTED


async def test_forms_in_two_tabs_are_both_accepted(private: Gateway) -> None:
    first = read_form(await private.get("/sign-in"), "/sign-in")
    again = await private.get("/sign-in")
    second = read_form(again, "/sign-in")
    assert "set-cookie" not in again.headers
    for form in (second, first):
        assert (await private.post("/sign-in", data=form)).status_code == ACCEPTED


async def test_form_without_its_token_or_cookie_is_rejected(private: Gateway) -> None:
    form = read_form(await private.get("/sign-in"), "/sign-in")
    cookie = private.cookies[FORM_COOKIE]
    for token in ("", "x", "ü", cookie, form["csrf_token"][:-1], form["csrf_token"] + "A"):
        changed = await private.post("/sign-in", data=form | {"csrf_token": token})
        assert changed.status_code == 403
        assert "the form has expired: send it again from its page" in parse(changed).text_content()
    del form["csrf_token"]
    assert (await private.post("/sign-in", data=form)).status_code == 403
    for value in ("", "x", "A" * 43, "A" * 20_000, cookie[:-1]):
        headers = {"cookie": f"{FORM_COOKIE}={value}"}
        private.cookies.clear()
        assert (await private.post("/sign-in", data=form, headers=headers)).status_code == 403
    assert (await private.post("/sign-in", data=form)).status_code == 403


async def test_secret_that_another_host_of_the_domain_sets_is_not_used(private: Gateway) -> None:
    form = read_form(await private.get("/sign-in"), "/sign-in")
    secret = private.cookies[FORM_COOKIE]
    private.cookies.clear()
    for prefix, status in (("", 403), ("__Host-", ACCEPTED)):
        headers = {"cookie": f"{prefix}{FORM_COOKIE}={secret}"}
        response = await private.post("https://gateway/sign-in", data=form, headers=headers)
        assert response.status_code == status


async def test_malformed_cookie_is_replaced(private: Gateway) -> None:
    page = await private.get("/sign-in", headers={"cookie": f"{FORM_COOKIE}=x"})
    form = read_form(page, "/sign-in")
    assert (await private.post("/sign-in", data=form)).status_code == ACCEPTED


OWN = [
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin", "origin": "null"},
    {"origin": "null"},
    {"origin": "http://gateway"},
    {"origin": "https://gateway"},  # a proxy ends TLS
    {"origin": "https://papers.example.org"},
]
FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "x"},
    {"sec-fetch-site": "cross-site", "origin": "http://gateway"},
    {"origin": "http://example.org"},
    {"origin": "http://gateway:8080"},
    {"origin": "http://gateway.example.org"},
    {"origin": "gateway"},
    {"origin": "http://[x"},
    {"origin": ""},
]


@pytest.mark.parametrize(
    ("headers", "status"),
    [*((headers, ACCEPTED) for headers in OWN), *((headers, 403) for headers in FOREIGN)],
)
async def test_form_of_another_origin_is_rejected(
    gateway: Serve, headers: dict[str, str], status: int
) -> None:
    async with gateway(api_keys="required", public_url="https://papers.example.org/") as client:
        client.base_url = httpx.URL("https://gateway")  # its cookies are sent over TLS only
        form = read_form(await client.get("/sign-in"), "/sign-in")
        response = await client.post("/sign-in", data=form, headers=headers)
    assert response.status_code == status
    if status == 403:
        text = parse(response).text_content()
        assert "from another site" in text
        # which changes nothing if the browser itself states where the form comes from
        assert ("ARXIV_PUBLIC_URL" in text) is ("sec-fetch-site" not in headers)


INVALID_FORMS = [
    (b"key=%ff", 400, "form: is not percent-encoded UTF-8"),
    (b"key=\xff", 400, "form: is not percent-encoded UTF-8"),
    (b"key=a&key=b", 400, "form: contains a field twice"),
    (b"key=%00", 400, "form: contains a NUL character"),
    (b"&".join(b"a%d=" % number for number in range(101)), 400, "more than 100 fields"),
    (b"key=" + b"a" * 70_000, 413, ""),
]


@pytest.mark.parametrize(("body", "status", "detail"), INVALID_FORMS)
async def test_invalid_form_is_rejected_as_a_page(
    private: Gateway, body: bytes, status: int, detail: str
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await private.post("/sign-in", content=body, headers=headers)
    assert response.status_code == status
    assert detail in parse(response).text_content()


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "x", ""])
async def test_other_types_of_bodies_are_rejected(private: Gateway, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = await private.post("/sign-in", content=b"{}", headers=headers)
    assert response.status_code == 415
