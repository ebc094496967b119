"""Access control: API keys, quotas, hosts, security headers, body limits, secrets."""

import asyncio
import io
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Coroutine
from contextlib import redirect_stderr, redirect_stdout
from time import monotonic
from typing import Any, Literal, cast

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from service import api_keys
from service import settings as settings_module
from service.api_keys import ApiKey, ApiKeyCache, Rate
from service.app import add_outer_middleware
from service.backend import client as backend_client
from service.cli.keys import add_key, keys, list_keys, revoke_key
from service.context import LocalContext
from service.errors import ApiKeyNameTaken, ConfigurationError, DatabaseUnavailable, NotFound
from service.http_headers import SECURITY_HEADERS, deadline
from service.middleware.api_keys import ApiKeyMiddleware
from service.middleware.request_timeout import RequestTimeoutMiddleware
from service.quotas import MAX_WINDOWS
from service.request_target import parse_host
from service.settings import Settings
from tests.conftest import Gateway, Serve, listening, make_app, running
from tests.support.process import ROOT, service

Settle = Callable[..., Settings]


@pytest.fixture
def make(settings: Settle) -> Callable[..., Any]:
    """Return a function that creates a key as the command line does."""

    async def add(name: str, rate: str = "5/minute") -> str:
        text = api_keys.generate_key()
        async with LocalContext(settings()) as context:
            await context.api_key_store.add(
                ApiKey(name, Rate.parse(rate)), api_keys.hash_key(text), text[:8]
            )
        return text

    return add


CHALLENGES = 'Bearer realm="arxiv-gateway", Basic realm="arxiv-gateway", charset="UTF-8"'


def authorize(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# Keys


async def test_key_is_required_except_for_exempt_paths(gateway: Serve) -> None:
    async with gateway(api_keys="required", backend_token="x" * 16) as client:
        for path in (
            *("/results", "/queries", "/papers", "/arxiv?title=x", "/unknown"),
            "http://gateway//results",
        ):
            for headers in (
                {},
                authorize(api_keys.generate_key()),
                authorize("x"),
                {"authorization": "Basic x"},
            ):
                refused = await client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == CHALLENGES
                assert refused.headers["content-type"] == "application/problem+json"
        for path in ("/health/live", "/health/ready", "/metrics", "/schema"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/get-sequence", headers=authorize("x" * 16))).status_code == 200
        assert (await client.head("/results")).status_code == 401
        assert (await client.options("/results")).status_code == 204


async def test_backend_endpoints_do_not_bypass_keys(gateway: Serve) -> None:
    for mode in ("required", "optional"):
        async with gateway(api_keys=mode, anonymous_rate="1/day") as client:
            for path in ("/read-results", "/read-queries", "/arxiv-api?title=x", "/get-sequence"):
                assert (await client.get(path)).status_code == 404
            for path in ("/write-queries", "/write-results", "/find-answer", "/find-keys"):
                assert (await client.post(path, json={})).status_code == 404
    with pytest.raises(
        ValueError, match=r"arxiv-api does not accept API keys; .* ARXIV_BACKEND_TOKEN"
    ):
        Settings(api_keys="required", endpoints="arxiv,arxiv-api")
    with_token = Settings(api_keys="required", backend_token_also="x" * 16)
    assert with_token.served == Settings().served


def encode_basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"authorization": f"Basic {b64encode(raw).decode()}"}


@pytest.mark.parametrize("user", ["any", "", "arXiv ü", "a" * 1000])
async def test_key_is_accepted_as_the_password_of_basic(
    gateway: Serve, make: Callable[..., Any], user: str
) -> None:
    key = await make("team-a")
    async with gateway(api_keys="required") as client:
        for headers in (
            encode_basic(f"{user}:{key}"),
            {"proxy-authorization": encode_basic(f"{user}:{key}")["authorization"]},
            {"authorization": encode_basic(f"{user}:{key}")["authorization"].replace("B", "b", 1)},
        ):
            assert (await client.get("/results", headers=headers)).status_code == 200
        for text in (f"{user}:{key}x", f"{key}:{user}", f"{user}:", f"{user}:{key}:", key):
            response = await client.get("/results", headers=encode_basic(text))
            assert response.status_code == 401
            assert key not in response.text


MALFORMED_BASIC = [
    *(
        "Basic",
        "Basic ",
        "Basic x",
        "Basic a:b",
        "Basic ====",
        "Basic YTpi=",
        "Basic YTpi, Basic a",
    ),
    *("basic \xff", "Basic " + "A" * 60_000, "Basic YTpi YTpi"),
    encode_basic("no colon")["authorization"],
    encode_basic(b"a:\xff")["authorization"],
    encode_basic("a:b\0c")["authorization"],
    encode_basic("a\0:b")["authorization"],
    encode_basic("a:\n")["authorization"],
]


@pytest.mark.parametrize("value", MALFORMED_BASIC)
@pytest.mark.parametrize("mode", ["optional", "required"])
async def test_malformed_basic_is_an_invalid_key(gateway: Serve, value: str, mode: str) -> None:
    headers = [(b"authorization", value.encode("latin-1"))]
    async with gateway(api_keys=mode, backend_token="x" * 16) as client:
        for path in ("/results", "/get-sequence"):
            assert (await client.get(path, headers=headers)).status_code == 401


async def test_control_characters_make_basic_malformed_even_around_a_valid_key(
    gateway: Serve, make: Callable[..., Any]
) -> None:
    key = await make("team-a")
    async with gateway(api_keys="required") as client:
        for text in (f"a\0:{key}", f"a:{key}\0", f"a\n:{key}", f"a:{key}\n"):
            response = await client.get("/results", headers=encode_basic(text))
            assert response.status_code == 401


async def test_other_schemes_are_no_key(gateway: Serve) -> None:
    digest = {"authorization": 'Digest username="a"'}
    for mode, status in (("optional", 200), ("required", 401)):
        async with gateway(api_keys=mode) as client:
            assert (await client.get("/results", headers=digest)).status_code == status


async def test_backend_token_is_accepted_as_the_password_of_basic(gateway: Serve) -> None:
    token = "t:" + "x" * 16
    async with gateway(backend_token=token) as client:
        valid = await client.get("/get-sequence", headers=encode_basic(f"any:{token}"))
        proxied = {"proxy-authorization": encode_basic(f":{token}")["authorization"]}
        refused = [
            await client.get("/get-sequence", headers=headers)
            for headers in ({}, encode_basic(f"any:{token}x"), encode_basic(token))
        ]
        assert (await client.get("/get-sequence", headers=proxied)).status_code == 200

    assert valid.status_code == 200
    assert {each.status_code for each in refused} == {401}
    assert {each.headers["www-authenticate"] for each in refused} == {CHALLENGES}


async def test_quota_of_a_key_is_enforced_and_reported(
    gateway: Serve, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("NOTICE")
    key = await make("team-a", "3/minute")
    async with gateway(api_keys="required", cors_origins="*") as client:
        responses = [await client.get("/results", headers=authorize(key)) for _ in range(2)]
        known = authorize(key) | {"if-none-match": responses[0].headers["etag"]}
        responses.append(await client.get("/results", headers=known))
        responses.append(await client.get("/results", headers=authorize(key)))
        preflight = await client.options(
            "/results", headers={"origin": "https://a.org", "access-control-request-method": "GET"}
        )

    assert [each.status_code for each in responses] == [200, 200, 304, 429]
    assert [each.headers["ratelimit"] for each in responses] == [
        f'"default";r={left};t=60' for left in (2, 1, 0, 0)
    ]
    assert {each.headers["ratelimit-policy"] for each in responses} == {'"default";q=3;w=60'}
    assert responses[-1].headers["retry-after"] == "60"
    assert responses[-1].json()["retry_after"] == 60
    assert "RateLimit" in responses[-1].headers["access-control-expose-headers"]
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert preflight.status_code == 204
    assert re.search(r"GET /results 429 in \S+ ms for team-a$", caplog.text, re.MULTILINE)
    assert key not in caplog.text


async def test_addresses_have_a_quota_if_keys_are_optional(
    gateway: Serve, make: Callable[..., Any]
) -> None:
    key = await make("team-a")
    async with gateway(api_keys="optional", anonymous_rate="2/hour") as client:
        statuses = [(await client.get("/results")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await client.get("/results", headers=authorize(key))).status_code == 200
        unknown_key = authorize(api_keys.generate_key())
        assert (await client.get("/results", headers=unknown_key)).status_code == 401


async def test_revoked_key_becomes_invalid(
    settings: Settle, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make("team-a")
    async with LocalContext(settings()) as context:
        assert (await context.api_keys.find(key)) == ApiKey("team-a", Rate(5, 60))
        assert await context.api_key_store.revoke("team-a")
        assert await context.api_keys.find(key)  # cached for a few seconds
        monkeypatch.setattr(api_keys, "FRESH_SECONDS", 0)
        assert await context.api_keys.find(key) is None
        assert not await context.api_key_store.revoke("team-a")
    assert await make("team-a") != key  # the name can be used again


class Database:
    """A key store with one key, which records how many keys each lookup has."""

    def __init__(self) -> None:
        self.lookups: list[int] = []
        self.is_unavailable = False
        self.key = api_keys.generate_key()

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        self.lookups.append(len(digests))
        await asyncio.sleep(0.01)
        if self.is_unavailable:
            raise DatabaseUnavailable("unavailable")
        return {
            each: ApiKey("a", Rate(1, 1)) for each in digests if each == api_keys.hash_key(self.key)
        }


async def test_concurrent_lookups_of_keys_are_batched() -> None:
    database = Database()
    cache = ApiKeyCache(database.find)
    wrong = [api_keys.generate_key() for _ in range(200)]
    keys = await asyncio.gather(*[cache.find(key) for key in [*wrong, database.key, *wrong]])

    assert [each for each in keys if each] == [ApiKey("a", Rate(1, 1))]
    assert database.lookups == [201]
    assert await cache.find("no key at all") is None
    assert await cache.find(wrong[0]) is None
    assert database.lookups == [201]


async def test_known_key_stays_valid_while_the_database_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = Database()
    cache = ApiKeyCache(database.find)
    assert await cache.find(database.key)
    database.is_unavailable = True
    monkeypatch.setattr(api_keys, "FRESH_SECONDS", 0)
    assert await cache.find(database.key)
    with pytest.raises(DatabaseUnavailable):
        await cache.find(api_keys.generate_key())
    monkeypatch.setattr(api_keys, "STALE_SECONDS", 0)
    with pytest.raises(DatabaseUnavailable):
        await cache.find(database.key)
    database.is_unavailable = False
    assert await cache.find(database.key)


async def test_request_timeout_limits_the_lookup_of_a_key_for_its_own_client_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_keys, "LOOKUP_TIMEOUT", 60)
    monkeypatch.setattr(backend_client, "LOOKUP_TIMEOUT", 60)
    heads: list[bytes] = []
    answer = asyncio.Event()

    async def respond_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head := (await reader.readuntil(b"\r\n\r\n")).lower())
        await answer.wait()
        content = b"[]"
        if b"/find-keys" in head:
            digest = api_keys.hash_key(key).hex()
            found = {"digest": digest, "name": "team-a", "quota": 5, "seconds": 60}
            content = json.dumps([found]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(content), content))

    key = api_keys.generate_key()
    async with listening(respond_late) as url:
        app = make_app(Settings(backend_url=url, api_keys="required"))
        wire = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
        async with running(app), httpx.AsyncClient(transport=wire, base_url="http://x") as client:
            patient = asyncio.create_task(client.get("/results", headers=authorize(key)))
            while not heads:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.001)
            hurried = authorize(key) | {"request-timeout": "0.2"}
            begun = monotonic()
            late = await client.get("/results", headers=hurried)
            taken = monotonic() - begun
            answer.set()
            served = await patient

    assert (late.status_code, served.status_code) == (504, 200)
    assert 0.15 < taken < 30
    [timeout] = re.findall(rb"request-timeout: ([0-9.]+)", heads[0])
    assert 30 < float(timeout) <= 60


async def test_lookup_of_a_key_does_not_inherit_the_deadline_of_its_first_client() -> None:
    deadlines: list[float | None] = []

    async def find(_: list[bytes]) -> dict[bytes, ApiKey]:
        deadlines.append(deadline.get())
        return {}

    app = RequestTimeoutMiddleware()(ApiKeyMiddleware(ApiKeyCache(find), None)(hello))
    headers = [(b"authorization", b"Bearer " + api_keys.generate_key().encode())]
    assert await call(app, "192.0.2.1", [*headers, (b"request-timeout", b"5")]) == 401

    assert deadlines == [None]


async def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_CACHED_KEYS", 10)
    cache = ApiKeyCache(Database().find)
    for _ in range(30):
        await cache.find(api_keys.generate_key())
    assert len(cache._known) == 10  # noqa: SLF001

    keys = await asyncio.gather(*(cache.find(api_keys.generate_key()) for _ in range(30)))
    assert keys == [None] * 30


async def call(app: Any, address: str, headers: list[tuple[bytes, bytes]]) -> int:
    """Send a request from an address; return the status."""
    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "GET", "path": "/results", "headers": headers}
    await app(scope | {"client": (address, 1)}, None, send)
    return int(statuses[0])


async def hello(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("pattern", ["10.{}.{}.1", "2001:db8:{:x}{:02x}::1"])
async def test_requests_from_many_addresses_do_not_reset_the_quota_of_a_key(pattern: str) -> None:
    async def find(digests: list[bytes]) -> dict[bytes, ApiKey]:
        return dict.fromkeys(digests, ApiKey("team-a", Rate(1, 86_400)))

    layer = ApiKeyMiddleware(ApiKeyCache(find), Rate(1, 86_400))
    app = layer(hello)
    headers = [(b"authorization", b"Bearer " + api_keys.generate_key().encode())]
    assert await call(app, "192.0.2.1", headers) == 200
    for number in range(MAX_WINDOWS + 1):
        assert await call(app, pattern.format(number // 256, number % 256), []) == 200

    assert await call(app, "192.0.2.1", headers) == 429
    windows = layer.address_quotas._windows  # noqa: SLF001
    assert sum(map(len, windows.values())) <= MAX_WINDOWS


@pytest.mark.parametrize(
    ("addresses", "are_one"),
    [
        (("192.0.2.1", "192.0.2.2"), False),
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8:0:1::1", "2001:db8:0:2::1"), False),
        # as written by proxies that listen on :: for IPv4 and IPv6
        (("::ffff:192.0.2.1", "::ffff:192.0.2.2"), False),
        (("::ffff:192.0.2.1", "192.0.2.1"), True),
        # malformed addresses would otherwise be unlimited in number and length
        (("x" * 60_000, "192.0.2.1:55"), True),
    ],
)
async def test_anonymous_clients_are_distinguished_by_address(
    addresses: tuple[str, str], *, are_one: bool
) -> None:
    layer: Any = ApiKeyMiddleware(ApiKeyCache(Database().find), Rate(1, 60))(hello)
    statuses = []
    for address in addresses:
        wire = httpx.ASGITransport(layer, client=(address, 1))
        async with httpx.AsyncClient(transport=wire, base_url="http://x") as client:
            statuses.append((await client.get("/results")).status_code)

    assert statuses == [200, 429 if are_one else 200]


def test_rate_with_an_unusual_window_has_a_name() -> None:
    assert str(Rate(5, 60)) == "5/minute"
    assert str(Rate(5, 90)) == "5/90 seconds"


async def test_keys_are_added_listed_and_revoked_on_the_command_line(
    settings: Settle, db: psycopg.Connection
) -> None:
    async def output(action: Coroutine[Any, Any, None]) -> str:
        with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()):
            await action
        return stdout.getvalue()

    key = (await output(add_key(ApiKey("team-a", Rate(7, 86_400)), settings()))).strip()
    with pytest.raises(ApiKeyNameTaken):
        await output(add_key(ApiKey("team-a", Rate(1, 1)), settings()))
    await output(add_key(ApiKey("team-b", Rate(600, 60)), settings()))
    await output(revoke_key("team-b", settings()))
    await output(add_key(ApiKey("x" * 64, Rate(999_999_999, 60)), settings()))
    with pytest.raises(NotFound):
        await output(revoke_key("team-b", settings()))
    listed = await output(list_keys(settings()))

    assert re.search(rf"team-a +{key[:8]}\.\.\. +7/day", listed)
    assert re.search(r"x{64} .* 999999999/minute .*Z", listed)
    assert key not in listed
    [stored] = db.execute("select * from api_keys where name = 'team-a'").fetchall()
    assert key not in str(stored)


@pytest.mark.parametrize(
    "arguments",
    [("add", "a b"), ("add", "x", "--rate", "5"), ("add", ""), ("revoke", "é"), ("add",), ()],
)
def test_invalid_names_and_rates_of_keys_are_rejected(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(keys, arguments)

    assert result.exit_code == 2


async def test_openapi_describes_keys(gateway: Serve) -> None:
    expected: dict[Literal["off", "optional", "required"], Any] = {
        "off": None,
        "optional": [{"key": []}, {"key_as_password": []}, {}],
        "required": [{"key": []}, {"key_as_password": []}],
    }
    for mode, security in expected.items():
        async with gateway(api_keys=mode) as client:
            described = (await client.get("/schema")).json()
        operation = described["paths"]["/results"]["get"]
        assert operation.get("security") == security
        assert {"401", "429"} <= set(operation["responses"])
        assert "security" not in described["paths"]["/health/live"]["get"]


# Hosts


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("api.example.org", "API.example.org:8000", "api.example.org.:")),
        *((host, 200) for host in ("a.b.example.net", "127.0.0.1:1", "[::1]", "[0:0::1]:80")),
        *((host, 400) for host in ("example.org", "example.net", "evil.org", "xexample.net", "")),
        *((host, 400) for host in ("api.example.org:x", "api.example.org@evil.org", "::1", "[::1")),
        *((host, 400) for host in ("api.example.org, evil.org", "api.example.org/", "a b")),
    ],
)
async def test_hosts_are_validated(gateway: Serve, host: str, status: int) -> None:
    allowed = "api.example.org,*.example.net,127.0.0.1,[::1]"
    async with gateway(allowed_hosts=allowed) as client:
        # backend endpoints too, unless they require a token
        for path in ("/results", "/read-results"):
            response = await client.get(path, headers={"host": host})
            assert response.status_code == status
            if status == 400:
                assert response.headers["content-type"] == "application/problem+json"
        open_to = 400 if parse_host(host) is None else 200
        for path in ("/health/live", "/metrics"):
            assert (await client.get(path, headers={"host": host})).status_code == open_to


async def test_malformed_host_is_always_rejected(client: Gateway) -> None:
    for host in ("", "a:x", "a b", "a/b", "[::1", "a@b", "a:65536", "a:99999", "[::1]:70000"):
        assert (await client.get("/results", headers={"host": host})).status_code == 400
    for twice in ([("host", "a"), ("host", "b")], [("host", "a"), ("host", "a")]):
        assert (await client.get("/results", headers=twice)).status_code == 400


def test_host_header_is_parsed() -> None:
    assert parse_host("[::ffff:1.2.3.4]:5") == parse_host("[::ffff:102:304]")
    assert parse_host("[:::]") is None
    assert parse_host("example.net:65535") == parse_host("example.net:") == "example.net"
    assert parse_host(".example.net") is None


# Security headers


async def test_every_response_has_security_headers(gateway: Serve) -> None:
    async with gateway(backend_token="x" * 16) as client:
        for path in (
            "/results",
            "/results?format=csv",
            "/nowhere",
            "/get-sequence",
            "/health/live",
        ):
            for method in ("GET", "HEAD", "OPTIONS"):
                headers = (await client.request(method, path)).headers
                for name, value in SECURITY_HEADERS:
                    assert headers[name.decode()] == value.decode()
                assert headers["content-security-policy"].startswith("default-src 'none'; frame")
                assert headers["cross-origin-resource-policy"] == "same-origin"
    async with gateway(cors_origins="*") as client:
        headers = (await client.get("/results")).headers
        assert headers["cross-origin-resource-policy"] == "cross-origin"


async def test_schema_page_allows_only_its_own_scripts(client: Gateway) -> None:
    from hashlib import sha256  # noqa: PLC0415

    page = await client.get("/schema", headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]

    [script] = re.findall(r"<script(?![^>]+src=)[^>]*>(.*?)</script>", page.text, re.DOTALL)
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert not re.search(r"\son\w+=", page.text.split("<script type")[0])


# Limits


async def test_bodies_of_api_clients_are_limited(client: Gateway) -> None:
    for path, status in (("/queries", 413), ("/write-results", 400)):
        json = {"content-type": "application/json"}
        response = await client.post(path, content=b" " * 2**17, headers=json)
        assert response.status_code == status


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "127.9.9.9", "127.1")),
        *((host, True) for host in ("::1", "::ffff:127.0.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "0")),  # noqa: S104
        ("169.254.1.1", False),
    ],
)
def test_backend_without_token_requires_loopback(host: str, *, is_loopback: bool) -> None:
    assert settings_module.is_loopback(host) is is_loopback
    Settings(host=host, backend_token="x" * 16).check_exposure()
    Settings(host=host, backend_token_also="x" * 16).check_exposure()
    Settings(host=host, endpoints="frontend").check_exposure()
    if is_loopback:
        Settings(host=host).check_exposure()
    else:
        with pytest.raises(
            ConfigurationError, match=r"ARXIV_BACKEND_TOKEN.*ARXIV_ENDPOINTS=frontend"
        ):
            Settings(host=host).check_exposure()


@pytest.mark.parametrize("host", ["x" * 300, "[::1]", "127.0.0.1:8000", " 127.0.0.1"])
def test_invalid_listen_address_is_reported_as_such(host: str) -> None:
    Settings(host=host, backend_token="x" * 16).check_exposure()
    Settings(host=host, backend_token_also="x" * 16).check_exposure()
    with pytest.raises(ConfigurationError, match="is not a host to listen on"):
        Settings(host=host).check_exposure()


# Secrets

SECRET = "correct-horse-battery-staple"  # noqa: S105
ENVIRONMENT = {
    "ARXIV_DATABASE_URL": f"postgresql://arxiv_rw:{SECRET}@127.0.0.1:9/arxiv",
    "ARXIV_DATABASE_RO_URL": f"host=127.0.0.1 port=9 user=arxiv_ro password={SECRET}",
    "ARXIV_API_URL": f"http://someone:{SECRET}@127.0.0.1:9/api/query",
    "ARXIV_BACKEND_TOKEN": SECRET,
    "ARXIV_API_KEYS": "optional",
    "ARXIV_INTERVAL": "0",
    "ARXIV_MAX_WAIT": "1",
    "ARXIV_LOG_LEVEL": "DEBUG",
}


@pytest.mark.parametrize("database_is_there", [True, False])
def test_secrets_are_in_no_log_line_and_no_response(
    settings: Settle,
    db: psycopg.Connection,
    *,
    database_is_there: bool,
) -> None:
    key = api_keys.generate_key()
    db.execute(
        "insert into api_keys (name, digest, beginning, quota, seconds) values ('a', %s, '', 9, 9)",
        [api_keys.hash_key(key)],
    )
    urls = {}
    if database_is_there:
        original = settings()
        urls = {
            "ARXIV_DATABASE_URL": f"{original.database_url} password={SECRET}",
            "ARXIV_DATABASE_RO_URL": f"{original.database_ro_url} password={SECRET}",
        }
    responses = []
    with service(ENVIRONMENT | urls) as running:
        requests = [
            ("/health/ready", ""),
            ("/results", api_keys.generate_key()),
            ("/get-sequence", f"{SECRET}x"),
            ("/write-queries", SECRET),
        ]
        if database_is_there:  # without it, results are kept until it is available
            requests += [
                ("/arxiv?title=x", key),
                ("/arxiv-api?title=x", SECRET),
                ("/results?x=1", key),
            ]
        for path, token in requests:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            response = httpx.get(running.url() + path, headers=headers, timeout=30)
            responses.append(f"{response.headers} {response.text}")
        httpx.post(
            f"{running.url()}/write-queries",
            content=b"{",
            headers={"authorization": f"Bearer {SECRET}"},
        )
        running.end(15)
    text = "\n".join([*responses, running.output])

    assert "GET /health/ready " in text
    assert SECRET not in text
    assert key not in text


@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"]])
def test_failing_commands_print_no_secrets(command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service", *command],
        env=ENVIRONMENT | {"PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode in {1, 2}
    assert ended.stdout + ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
