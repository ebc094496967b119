"""What strangers get: keys, rates, hosts, headers for browsers, a door that stays shut."""

import asyncio
import io
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Literal

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from service import api_keys
from service import settings as settings_module
from service.api_keys import ApiKey, ApiKeyCache, Rate
from service.cli.keys import add_key, keys, list_keys, revoke_key
from service.context import LocalContext
from service.errors import ApiKeyNameTaken, ConfigurationError, DatabaseUnavailable, NotFound
from service.middleware.allowed_hosts import host_of
from service.middleware.api_keys import ApiKeyMiddleware
from service.middleware.security_headers import HEADERS
from service.quotas import CALLERS, Rates
from service.settings import Settings
from tests.conftest import Gateway, Serve
from tests.support.process import ROOT, service

Settle = Callable[..., Settings]


@pytest.fixture
def make(settings: Settle) -> Callable[..., Any]:
    """Makes a key as the command line does."""

    async def add(name: str, rate: str = "5/minute") -> str:
        text = api_keys.new()
        async with LocalContext(settings()) as context:
            await context.key_store.add(
                ApiKey(name, Rate.read(rate)), api_keys.digest(text), text[:8]
            )
        return text

    return add


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# Keys


async def test_who_has_no_key_gets_nothing_but_what_is_open(gateway: Serve) -> None:
    async with gateway(api_keys="required", backend_token="x" * 16) as client:
        for path in ("/results", "/queries", "/papers", "/arxiv?title=x", "//results", "/unknown"):
            for headers in ({}, bearer(api_keys.new()), bearer("x"), {"authorization": "Basic x"}):
                refused = await client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert refused.headers["content-type"] == "application/problem+json"
        for path in ("/health/live", "/health/ready", "/metrics", "/schema"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/get-sequence", headers=bearer("x" * 16))).status_code == 200
        assert (await client.head("/results")).status_code == 401
        assert (await client.options("/results")).status_code == 204


async def test_the_backend_is_no_way_around_keys(gateway: Serve) -> None:
    for keys_count in ("required", "optional"):
        async with gateway(api_keys=keys_count, anonymous_rate="1/day") as client:
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


async def test_a_key_has_its_rate_and_every_answer_tells_it(
    gateway: Serve, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("NOTICE")
    key = await make("team-a", "3/minute")
    async with gateway(api_keys="required", cors_origins="*") as client:
        answers = [await client.get("/results", headers=bearer(key)) for _ in range(2)]
        known = bearer(key) | {"if-none-match": answers[0].headers["etag"]}
        answers.append(await client.get("/results", headers=known))
        answers.append(await client.get("/results", headers=bearer(key)))
        asked = await client.options(
            "/results", headers={"origin": "https://a.org", "access-control-request-method": "GET"}
        )

    assert [each.status_code for each in answers] == [200, 200, 304, 429]
    assert [each.headers["ratelimit"] for each in answers] == [
        f'"default";r={left};t=60' for left in (2, 1, 0, 0)
    ]
    assert {each.headers["ratelimit-policy"] for each in answers} == {'"default";q=3;w=60'}
    assert answers[-1].headers["retry-after"] == "60"
    assert answers[-1].json()["retry_after"] == 60
    assert "RateLimit" in answers[-1].headers["access-control-expose-headers"]
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert asked.status_code == 204
    assert re.search(r"GET /results 429 in \S+ ms for team-a$", caplog.text, re.MULTILINE)
    assert key not in caplog.text


async def test_where_keys_are_optional_addresses_have_a_rate(
    gateway: Serve, make: Callable[..., Any]
) -> None:
    key = await make("team-a")
    async with gateway(api_keys="optional", anonymous_rate="2/hour") as client:
        statuses = [(await client.get("/results")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await client.get("/results", headers=bearer(key))).status_code == 200
        assert (await client.get("/results", headers=bearer(api_keys.new()))).status_code == 401


async def test_a_revoked_key_ends_within_seconds(
    settings: Settle, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make("team-a")
    async with LocalContext(settings()) as context:
        assert (await context.keys.of(key)) == ApiKey("team-a", Rate(5, 60))
        assert await context.key_store.revoke("team-a")
        assert await context.keys.of(key)  # believed for a while
        monkeypatch.setattr(api_keys, "FRESH", 0)
        assert await context.keys.of(key) is None
        assert not await context.key_store.revoke("team-a")
    assert await make("team-a") != key  # the name is free again


class Database:
    """Knows one key; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.away = False
        self.key = api_keys.new()

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        self.asked.append(len(digests))
        await asyncio.sleep(0.01)
        if self.away:
            raise DatabaseUnavailable("away")
        return {
            each: ApiKey("a", Rate(1, 1)) for each in digests if each == api_keys.digest(self.key)
        }


async def test_made_up_keys_are_looked_for_together() -> None:
    database = Database()
    ring = ApiKeyCache(database)
    wrong = [api_keys.new() for _ in range(200)]
    found = await asyncio.gather(*[ring.of(key) for key in [*wrong, database.key, *wrong]])

    assert [each for each in found if each] == [ApiKey("a", Rate(1, 1))]
    assert database.asked == [201]
    assert await ring.of("no key at all") is None
    assert await ring.of(wrong[0]) is None
    assert database.asked == [201]


async def test_a_known_key_outlives_the_database_for_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = Database()
    ring = ApiKeyCache(database)
    assert await ring.of(database.key)
    database.away = True
    monkeypatch.setattr(api_keys, "FRESH", 0)
    assert await ring.of(database.key)
    with pytest.raises(DatabaseUnavailable):
        await ring.of(api_keys.new())
    monkeypatch.setattr(api_keys, "STALE", 0)
    with pytest.raises(DatabaseUnavailable):
        await ring.of(database.key)
    database.away = False
    assert await ring.of(database.key)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED", 10)
    ring = ApiKeyCache(Database())
    for _ in range(30):
        await ring.of(api_keys.new())
    assert len(ring._known) == 10  # noqa: SLF001

    found = await asyncio.gather(*(ring.of(api_keys.new()) for _ in range(30)))
    assert found == [None] * 30

    rates = Rates()
    for number in range(CALLERS + 5):
        rates.count(f"from {number}", Rate(1, 60))
    assert len(rates._windows) == CALLERS  # noqa: SLF001


@pytest.mark.parametrize(
    ("addresses", "are_one"),
    [
        (("192.0.2.1", "192.0.2.2"), False),
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8:0:1::1", "2001:db8:0:2::1"), False),
        # as proxies write them that listen on :: for both
        (("::ffff:192.0.2.1", "::ffff:192.0.2.2"), False),
        (("::ffff:192.0.2.1", "192.0.2.1"), True),
        # what is none would be a new one with each request, and of any length
        (("x" * 60_000, "192.0.2.1:55"), True),
    ],
)
async def test_anonymous_callers_are_told_apart_by_address(
    addresses: tuple[str, str], *, are_one: bool
) -> None:
    async def hello(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    layer: Any = ApiKeyMiddleware(hello, ApiKeyCache(Database()), Rate(1, 60))
    statuses = []
    for address in addresses:
        wire = httpx.ASGITransport(layer, client=(address, 1))
        async with httpx.AsyncClient(transport=wire, base_url="http://x") as client:
            statuses.append((await client.get("/results")).status_code)

    assert statuses == [200, 429 if are_one else 200]


def test_a_rate_that_somebody_wrote_into_the_table_has_a_name() -> None:
    assert str(Rate(5, 60)) == "5/minute"
    assert str(Rate(5, 90)) == "5/90 seconds"


async def test_keys_are_added_listed_and_revoked_on_a_terminal(
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


async def test_the_description_tells_of_keys(gateway: Serve) -> None:
    wanted: dict[Literal["off", "optional", "required"], Any] = {
        "off": None,
        "optional": [{"key": []}, {}],
        "required": [{"key": []}],
    }
    for mode, security in wanted.items():
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
async def test_other_hosts_are_refused(gateway: Serve, host: str, status: int) -> None:
    allowed = "api.example.org,*.example.net,127.0.0.1,[::1]"
    async with gateway(allowed_hosts=allowed) as client:
        # nor do backend endpoints, unless they ask for a token
        for path in ("/results", "/read-results"):
            answer = await client.get(path, headers={"host": host})
            assert answer.status_code == status
            if status == 400:
                assert answer.headers["content-type"] == "application/problem+json"
        open_to = 400 if host_of(host) is None else 200
        for path in ("/health/live", "/metrics"):
            assert (await client.get(path, headers={"host": host})).status_code == open_to


async def test_a_host_that_is_none_is_refused_in_any_case(client: Gateway) -> None:
    for host in ("", "a:x", "a b", "a/b", "[::1", "a@b"):
        assert (await client.get("/results", headers={"host": host})).status_code == 400
    twice = [("host", "a"), ("host", "b")]
    assert (await client.get("/results", headers=twice)).status_code == 400


def test_a_host_is_read_or_is_none() -> None:
    assert host_of("[::ffff:1.2.3.4]:5") == host_of("[::ffff:102:304]")
    assert host_of("[:::]") is None
    assert host_of(".example.net") is None


# Headers for browsers


async def test_every_answer_tells_browsers_to_keep_out(gateway: Serve) -> None:
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
                for name, value in HEADERS:
                    assert headers[name.decode()] == value.decode()
                assert headers["content-security-policy"].startswith("default-src 'none'; frame")
                assert headers["cross-origin-resource-policy"] == "same-origin"
    async with gateway(cors_origins="*") as client:
        headers = (await client.get("/results")).headers
        assert headers["cross-origin-resource-policy"] == "cross-origin"


async def test_the_page_runs_its_own_scripts_and_no_others(client: Gateway) -> None:
    from base64 import b64encode  # noqa: PLC0415
    from hashlib import sha256  # noqa: PLC0415

    page = await client.get("/schema", headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]

    [script] = re.findall(r"<script(?![^>]+src=)[^>]*>(.*?)</script>", page.text, re.DOTALL)
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert not re.search(r"\son\w+=", page.text.split("<script type")[0])


# The door


async def test_bodies_from_anybody_are_small(client: Gateway) -> None:
    for path, status in (("/queries", 413), ("/write-results", 400)):
        json = {"content-type": "application/json"}
        answer = await client.post(path, content=b" " * 2**17, headers=json)
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "127.9.9.9", "127.1")),
        *((host, True) for host in ("::1", "::ffff:127.0.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "0")),  # noqa: S104
        ("169.254.1.1", False),
    ],
)
def test_an_open_backend_is_for_this_machine_alone(host: str, *, is_loopback: bool) -> None:
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
def test_what_is_no_host_is_not_said_to_be_reachable(host: str) -> None:
    Settings(host=host, backend_token="x" * 16).check_exposure()
    Settings(host=host, backend_token_also="x" * 16).check_exposure()
    with pytest.raises(ConfigurationError, match="is not a host to listen on"):
        Settings(host=host).check_exposure()


# Secrets

SECRET = "correct-horse-battery-staple"  # noqa: S105
PLANTED = {
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
def test_no_log_and_no_answer_has_a_secret(
    settings: Settle,
    db: psycopg.Connection,
    *,
    database_is_there: bool,
) -> None:
    key = api_keys.new()
    db.execute(
        "insert into api_keys (name, digest, beginning, quota, seconds) values ('a', %s, '', 9, 9)",
        [api_keys.digest(key)],
    )
    urls = {}
    if database_is_there:
        made = settings()
        urls = {
            "ARXIV_DATABASE_URL": f"{made.database_url} password={SECRET}",
            "ARXIV_DATABASE_RO_URL": f"{made.database_ro_url} password={SECRET}",
        }
    answers = []
    with service(PLANTED | urls) as running:
        asked = [
            ("/health/ready", ""),
            ("/results", api_keys.new()),
            ("/get-sequence", f"{SECRET}x"),
            ("/write-queries", SECRET),
        ]
        if database_is_there:  # without it, what is found is kept until it comes
            asked += [
                ("/arxiv?title=x", key),
                ("/arxiv-api?title=x", SECRET),
                ("/results?x=1", key),
            ]
        for path, token in asked:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = httpx.get(running.url() + path, headers=headers, timeout=30)
            answers.append(f"{answer.headers} {answer.text}")
        httpx.post(
            f"{running.url()}/write-queries",
            content=b"{",
            headers={"authorization": f"Bearer {SECRET}"},
        )
        running.end(15)
    told = "\n".join([*answers, running.output])

    assert "GET /health/ready " in told
    assert SECRET not in told
    assert key not in told


@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"]])
def test_no_command_tells_a_secret_when_it_fails(command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service", *command],
        env=PLANTED | {"PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode in {1, 2}
    assert ended.stdout + ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
