"""Sessions: `/sign-in` and `/sign-out`, and what their cookie is accepted for."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from time import time
from urllib.parse import quote

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service import api_keys, sessions
from service.api_keys import generate_key, hash_key
from service.middleware.api_keys import SIGN_IN_RATE
from tests.conftest import Gateway, Serve
from tests.support.pages import BROWSER, FORM_COOKIE, KEY_COOKIE, parse, read_form

Add = Callable[..., str]


@pytest.fixture
def add(db: psycopg.Connection) -> Add:
    """Return a function that creates a key."""

    def add_key(name: str = "team-a", quota: int = 100) -> str:
        key = generate_key()
        db.execute(
            "insert into api_keys (name, digest, beginning, quota, seconds)"
            " values (%s, %s, %s, %s, 60)",
            [name, hash_key(key), key[:8], quota],
        )
        return key

    return add_key


@pytest.fixture
async def private(gateway: Serve) -> AsyncIterator[Gateway]:
    """Client of a service that requires keys."""
    async with gateway(api_keys="required") as client:
        yield client


async def sign_in(client: Gateway, key: str, path: str = "/sign-in") -> httpx.Response:
    form = read_form(await client.get(path), "/sign-in")
    return await client.post("/sign-in", data=form | {"key": key})


async def sign_out(client: Gateway) -> httpx.Response:
    form = read_form(await client.get("/"), "/sign-out")
    return await client.post("/sign-out", data=form)


# Signing in and out


async def test_page_leads_to_the_form_and_back(private: Gateway, add: Add) -> None:
    refused = await private.get("/", params={"tracker": "a b&c"})
    assert refused.status_code == 303
    assert refused.headers["location"] == "/sign-in?next=/%3Ftracker%3Da%2Bb%2526c"

    accepted = await sign_in(private, add(), refused.headers["location"])

    assert accepted.status_code == 303
    assert accepted.headers["location"] == "/?tracker=a+b%26c"
    page = await private.get(accepted.headers["location"])
    assert page.status_code == 200
    assert "Sign out team-a" in " ".join(parse(page).text_content().split())


async def test_search_is_not_lost_if_the_session_has_ended(private: Gateway, add: Add) -> None:
    key = add()
    await sign_in(private, key)
    form = read_form(await private.get("/"), "/")
    private.cookies.delete(KEY_COOKIE)
    response = await private.post("/", data=form | {"q": "dark & matter", "mode": "arxiv"})
    accepted = await sign_in(private, key, response.headers["location"])
    page = await private.get(accepted.headers["location"])
    again = read_form(page, "/")
    assert (again["q"], again["mode"]) == ("dark & matter", "arxiv")


@pytest.mark.parametrize(
    ("path", "fields", "location"),
    [
        ("/", {"q": "x" * 9000}, "/sign-in"),
        ("/", {"other": "x"}, "/sign-in"),
        ("/searches/7/runs", {}, "/sign-in?next=/searches/7"),
        ("/abs/2101.00001", {}, "/sign-in?next=/abs/2101.00001"),
    ],
)
async def test_other_forms_lead_back_to_their_page(
    private: Gateway, path: str, fields: dict[str, str], location: str
) -> None:
    response = await private.post(path, data=fields, headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, location)


@pytest.mark.parametrize("path", ["/sign-out", "/sign-in"])
async def test_signing_in_does_not_lead_to_signing_out(
    private: Gateway, add: Add, path: str
) -> None:
    response = await private.post("/sign-out", headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    accepted = await sign_in(private, add(), f"/sign-in?next={path}")
    assert accepted.headers["location"] == "/"


async def test_form_is_skipped_with_a_session(private: Gateway, add: Add) -> None:
    await sign_in(private, add())
    response = await private.get("/sign-in?next=/status")
    assert (response.status_code, response.headers["location"]) == (303, "/status")


async def test_start_page_is_not_named_as_the_next_one(private: Gateway) -> None:
    assert (await private.get("/")).headers["location"] == "/sign-in"


async def test_key_may_have_spaces_around_it(private: Gateway, add: Add) -> None:
    assert (await sign_in(private, f" {add()}\r\n")).status_code == 303


async def test_session_ends_by_signing_out(private: Gateway, add: Add) -> None:
    await sign_in(private, add())

    left = await sign_out(private)

    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert KEY_COOKIE not in private.cookies
    assert (await private.get("/")).status_code == 303


async def test_signing_out_twice_is_harmless(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="optional") as client:
        await sign_in(client, add())
        form = read_form(await client.get("/"), "/sign-out")
        for _ in range(2):  # as from two tabs
            left = await client.post("/sign-out", data=form)
            assert (left.status_code, left.headers["location"]) == (303, "/")


async def test_page_of_another_site_cannot_end_a_session(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="optional") as client:
        await sign_in(client, add())
        form = read_form(await client.get("/"), "/sign-out")
        foreign = {"sec-fetch-site": "cross-site"}
        with_cookie = await client.post("/sign-out", data=form, headers=foreign)
        client.cookies.clear()  # browsers do not send Lax cookies with such a form
        without_cookie = await client.post("/sign-out", data=form, headers=foreign)
    assert with_cookie.status_code == 403
    assert without_cookie.status_code == 303
    for response in (with_cookie, without_cookie):
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize("key", ["", "x", "ag_" + "A" * 43, "\N{SNOWMAN}" * 1000, "ag_<b>"])
async def test_invalid_key_is_reported_at_the_field_and_not_repeated(
    private: Gateway, key: str
) -> None:
    response = await sign_in(private, key, "/sign-in?next=/searches")

    assert response.status_code == 400
    page = parse(response)
    field = page.get_element_by_id("key")
    error = page.get_element_by_id(field.get("aria-describedby"))
    assert error.text == "invalid or revoked API key: ask the operator for a new one"
    assert field.get("value") is None
    assert read_form(response, "/sign-in")["next"] == "/searches"
    assert KEY_COOKIE not in private.cookies
    assert not key or len(key) < 5 or key not in response.text


async def test_attempts_of_an_address_are_limited(private: Gateway, add: Add) -> None:
    key = add()
    form = read_form(await private.get("/sign-in"), "/sign-in") | {"key": "x"}
    for _ in range(SIGN_IN_RATE.quota):
        assert (await private.post("/sign-in", data=form)).status_code == 400

    refused = await private.post("/sign-in", data=form | {"key": key})

    assert refused.status_code == 429
    assert "quota of 20/minute" in parse(refused).text_content()
    api = await private.get("/queries", headers={"authorization": f"Bearer {key}"})
    assert api.status_code == 200


async def test_service_without_keys_has_no_sign_in(client: Gateway) -> None:
    for response in (
        await client.get("/sign-in"),
        await client.post("/sign-in", data={}),
        await client.post("/sign-out", data={}),
    ):
        assert response.status_code == 404
        assert "does not use API keys" in parse(response).text_content()
    assert b"/sign-in" not in (await client.get("/")).content


async def test_service_without_pages_accepts_no_session(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="required") as client:
        await sign_in(client, add())
        cookies = dict(client.cookies)
    async with gateway(api_keys="required", pages="off") as client:
        for path in ("/", "/sign-in", "/queries"):
            response = await client.get(path, headers=as_header(cookies) | BROWSER)
            assert response.status_code == 401
            assert response.headers["content-type"] == "application/problem+json"


FOREIGN = [
    *("//example.org/", "https://example.org/", "/\\example.org", "\\\\example.org", "/a\\b"),
    *("javascript:alert(1)", "/\t/example.org", "/\r\nset-cookie: a=b", " /x", "x", "/ü", "\0"),
    *("/" + "a" * 9000, "/papers?key=ag_" + "A" * 43, "/%00" + "\x7f"),
]


@pytest.mark.parametrize("target", FOREIGN)
async def test_redirect_leads_only_to_a_path_of_the_service(
    private: Gateway, add: Add, target: str
) -> None:
    form = read_form(await private.get("/sign-in", params={"next": target}), "/sign-in")
    assert form["next"] == "/"

    data = form | {"next": target, "key": add()}
    response = await private.post("/sign-in", data=data)

    if "\0" in target:
        assert response.status_code == 400
    else:
        assert response.headers["location"] == "/"


async def test_keys_in_urls_are_not_repeated(private: Gateway) -> None:
    response = await private.get("/", params={"key": "ag_" + "A" * 43})
    assert response.headers["location"] == "/sign-in"


# The cookie


async def test_cookie_is_for_this_service_only(private: Gateway, add: Add) -> None:
    response = await sign_in(private, add())
    [cookie] = response.headers.get_list("set-cookie")
    assert cookie.startswith(f"{KEY_COOKIE}=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=lax", "path=/", "max-age=2592000"}
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("base_url", "public_url", "is_secure"),
    [
        ("https://gateway", None, True),
        ("http://gateway", "https://gateway", True),  # a proxy that the service does not trust
        ("http://gateway", "https://papers.example.org", True),  # and that changes Host
        ("http://gateway", None, False),
        ("http://gateway", "http://gateway", False),
    ],
)
async def test_cookies_are_of_this_host_only_and_sent_over_tls_only_if_the_browser_uses_it(
    gateway: Serve, add: Add, base_url: str, public_url: str | None, *, is_secure: bool
) -> None:
    async with gateway(api_keys="required", public_url=public_url) as client:
        shown = await client.get(f"{base_url}/sign-in")
        form = read_form(shown, "/sign-in") | {"key": add()}
        [secret] = shown.headers.get_list("set-cookie")
        headers = {"cookie": secret.split(";")[0]}
        response = await client.post(f"{base_url}/sign-in", data=form, headers=headers)
    assert response.status_code == 303
    prefix = "__Host-" if is_secure else ""
    [session] = response.headers.get_list("set-cookie")
    for cookie, name in ((secret, FORM_COOKIE), (session, KEY_COOKIE)):
        assert cookie.startswith(f"{prefix}{name}=")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert ("secure" in attributes) is is_secure
        assert "path=/" in attributes
        assert not any(each.startswith("domain") for each in attributes)


async def test_only_the_cookie_of_this_connection_is_read(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="required") as client:
        await sign_in(client, add())
        session = client.cookies[KEY_COOKIE]
        client.cookies.clear()
        for scheme, prefix, status in (
            ("http", "", 200),
            ("http", "__Host-", 303),
            ("https", "", 303),  # another host of the domain can set this cookie
            ("https", "__Host-", 200),
        ):
            headers = {"cookie": f"{prefix}{KEY_COOKIE}={session}"}
            response = await client.get(f"{scheme}://gateway/", headers=headers)
            assert response.status_code == status


async def test_session_over_tls_ends_by_signing_out(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="required") as client:
        client.base_url = httpx.URL("https://gateway")
        await sign_in(client, add())
        assert f"__Host-{KEY_COOKIE}" in client.cookies
        await sign_out(client)
        assert f"__Host-{KEY_COOKIE}" not in client.cookies


def as_header(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def change_byte(value: str, position: int) -> str:
    raw = bytearray(urlsafe_b64decode(value))
    raw[position] ^= 1
    return urlsafe_b64encode(raw).decode()


def create_invalid_cookies(valid: str, other: str) -> list[str]:
    return [
        *("", "x", "A" * 96, "-" * 96, "A" * 40_000, valid[:-1], valid + "A", valid * 2),
        *(change_byte(valid, position) for position in (0, 31, 32, 39, 40, 71)),
        # the digest of one key with the signature of another
        urlsafe_b64encode(urlsafe_b64decode(other)[:32] + urlsafe_b64decode(valid)[32:]).decode(),
        f'"{valid}"',
    ]


async def test_invalid_cookies_are_no_session(private: Gateway, add: Add) -> None:
    await sign_in(private, add("team-b"))
    other = private.cookies[KEY_COOKIE]
    await sign_out(private)
    await sign_in(private, add())
    valid = private.cookies[KEY_COOKIE]
    private.cookies.clear()
    for value in create_invalid_cookies(valid, other):
        headers = {"cookie": f"{KEY_COOKIE}={value}"}
        assert (await private.get("/", headers=headers)).status_code == 303
        assert (await private.get("/queries", headers=headers)).status_code == 401
    for cookie in (
        f"a=b; {KEY_COOKIE}=x; {KEY_COOKIE}={valid}; c",
        f"{KEY_COOKIE}={'A' * 96};{KEY_COOKIE}={valid}",
    ):  # another host of the domain can add cookies
        assert (await private.get("/", headers={"cookie": cookie})).status_code == 200


async def test_session_ends_after_30_days(
    private: Gateway, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(private, add())
    cookies = as_header(dict(private.cookies))
    now = time()
    for seconds, status in ((29 * 86_400, 200), (30 * 86_400 + 1, 303)):
        monkeypatch.setattr(sessions, "time", lambda seconds=seconds: now + seconds)
        assert (await private.get("/", headers=cookies)).status_code == status


async def test_session_ends_with_its_key(
    private: Gateway, add: Add, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "FRESH_SECONDS", 0)
    await sign_in(private, add())
    assert (await private.get("/queries")).status_code == 200

    db.execute("update api_keys set revoked = 1")

    assert (await private.get("/queries")).status_code == 401
    assert (await private.get("/")).status_code == 303


async def test_session_counts_on_the_quota_of_its_key(private: Gateway, add: Add) -> None:
    key = add(quota=3)
    await sign_in(private, key)
    header = {"authorization": f"Bearer {key}"}
    assert (await private.get("/queries", headers=header)).status_code == 200
    assert (await private.get("/")).headers["ratelimit"].startswith('"default";r=1')
    await private.get("/")

    refused = await private.get("/")

    assert refused.status_code == 429
    assert "quota of 3/minute for team-a is used up" in parse(refused).text_content()


async def test_signing_in_again_replaces_the_session(private: Gateway, add: Add) -> None:
    other_tab = read_form(await private.get("/sign-in"), "/sign-in")
    await sign_in(private, add("first"))
    before = private.cookies[KEY_COOKIE]
    form = read_form(await private.get("/"), "/sign-out")
    await private.post("/sign-in", data=other_tab | {"key": add("second")})

    assert private.cookies[KEY_COOKIE] != before
    assert "second" in parse(await private.get("/")).text_content()
    stale = await private.post("/sign-out", data=form)  # from a tab of the first session
    assert stale.status_code == 403
    assert "the form has expired: send it again from its page" in parse(stale).text_content()


# What a session is accepted for


async def test_session_is_accepted_where_a_key_is_by_get(private: Gateway, add: Add) -> None:
    await sign_in(private, add())
    for path in ("/queries", "/papers?format=bibtex", "/results?format=csv"):
        assert (await private.get(path)).status_code != 401
        assert (await private.head(path)).status_code != 401
    assert (await private.post("/api/query", data={"id_list": "1"})).status_code == 401


async def test_session_is_no_token_of_the_backend(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="required", backend_token="x" * 16) as client:
        await sign_in(client, add())
        for path in ("/get-sequence", "/find-signing-key"):
            assert (await client.get(path)).status_code == 401
        headers = {"authorization": "Bearer " + "x" * 16}
        response = await client.get("/find-signing-key", headers=headers)
        assert response.headers["cache-control"] == "no-store"
        assert re.fullmatch("[0-9a-f]{64}", response.json()["key"])


async def test_response_to_a_session_is_not_stored_by_shared_caches(
    private: Gateway, add: Add
) -> None:
    key = add()
    await sign_in(private, key)
    for path in ("/", "/queries", "/arxiv?title=electron"):
        response = await private.get(path, headers={"sec-fetch-site": "none"})
        assert response.headers["cache-control"].startswith("private")
    private.cookies.clear()
    response = await private.get("/queries", headers={"authorization": f"Bearer {key}"})
    assert response.headers["cache-control"] == "no-cache"


async def test_api_clients_without_a_key_are_not_redirected(private: Gateway) -> None:
    response = await private.get("/queries")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    page = await private.get("/papers", headers=BROWSER)
    assert page.status_code == 401
    assert [link.get("href") for link in parse(page).xpath("//main//a")] == [
        "/sign-in?next=/papers",
        "/",
    ]


async def test_page_with_an_invalid_key_is_not_redirected(private: Gateway) -> None:
    response = await private.get("/", headers={"authorization": "Bearer x"})
    assert response.status_code == 401


async def test_anonymous_users_can_sign_in_if_keys_are_optional(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="optional", anonymous_rate="3/day") as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert "Sign in" in parse(page).text_content()
        await client.get("/")
        headers = {"cookie": f"{KEY_COOKIE}=x"}
        assert (
            (await client.get("/", headers=headers))
            .headers["ratelimit"]
            .startswith('"default";r=0')
        )
        assert (await client.get("/")).status_code == 429
        assert (await sign_in(client, add())).status_code == 303
        assert (await client.get("/")).status_code == 200


# The signing key


async def test_sessions_are_valid_in_all_instances(gateway: Serve, add: Add) -> None:
    async with gateway(api_keys="required") as client:
        await sign_in(client, add())
        cookies = as_header(dict(client.cookies))
    async with gateway(api_keys="required", workers=2) as other:
        assert (await other.get("/", headers=cookies)).status_code == 200


async def test_missing_signing_key_is_reported(
    private: Gateway, add: Add, db: psycopg.Connection
) -> None:
    db.execute("delete from signing_keys")
    response = await private.get("/sign-in")
    assert response.status_code == 503
    assert "the table signing_keys is empty" in parse(response).text_content()
    # requests with a key do without it
    header = {"authorization": f"Bearer {add()}"}
    assert (await private.get("/queries", headers=header)).status_code == 200

    db.execute("insert into signing_keys default values")

    assert (await private.get("/sign-in")).status_code == 200


async def test_secrets_are_in_no_log_line(
    private: Gateway, add: Add, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = add()
    await sign_in(private, key)
    await private.get("/", params={"key": key})
    await sign_out(private)
    row = db.execute("select key from signing_keys").fetchone()
    assert row
    lines = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert any("/sign-in" in line for line in lines)
    for secret in (key, private.cookies.get(FORM_COOKIE), row[0].hex(), hash_key(key).hex()):
        assert secret
        assert secret not in "\n".join(lines)


@pytest.mark.parametrize("path", ["/arxiv?title=star", "/api/query?search_query=all:star"])
async def test_pages_of_other_sites_cannot_begin_a_search(
    private: Gateway, add: Add, arxiv: StandIn, path: str
) -> None:
    await sign_in(private, add("alice"))
    for site in ("cross-site", "same-site", None):
        headers = {"sec-fetch-site": site} if site else {}
        assert (await private.get(path, headers=headers)).status_code == 401
    assert not arxiv.requests
    for site in ("same-origin", "none"):
        assert (await private.get(path, headers={"sec-fetch-site": site})).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "/arxiv?title=x",
        "/%61rxiv?title=x",
        "/./arxiv?title=x",
        "/new/%2e%2e/api/query",
        "/api/query",
    ],
)
async def test_signing_in_begins_no_search(private: Gateway, add: Add, target: str) -> None:
    response = await sign_in(private, add("alice"), f"/sign-in?next={quote(target)}")
    assert response.headers["location"] == "/"
