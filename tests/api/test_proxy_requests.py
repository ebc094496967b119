"""Clients that use the service as their proxy, and HTTP Basic, over real connections."""

import asyncio
import json
import shutil
import socket
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.error import HTTPError

import httpx
import psycopg
import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from litestar import Litestar, Request, get

from demo.arxiv import StandIn
from service import api_keys
from service.api_keys import ApiKey, ApiKeyCache, Rate
from service.http_limits import LimitedHttpProtocol
from service.logging import NOTICE
from service.metrics import REJECTED
from service.middleware.allowed_hosts import AllowedHostsMiddleware
from service.middleware.api_keys import ApiKeyMiddleware
from service.middleware.repeated_headers import RepeatedHeadersMiddleware
from service.request_target import NOT_A_PROXY
from service.server import create_config
from service.settings import Settings
from tests.api.test_http_limits import LimitedServer
from tests.conftest import make_app
from tests.support.process import service

OWN_HOSTS = frozenset({"gateway.example", "*.gateway.example"})
LOOPBACK = frozenset({"127.0.0.1"})
KEY = "ag_" + "k" * 43
ARXIV = "http://export.arxiv.org/api/query?search_query=all:a"
BASE_URL = "http://gateway:8000/api/query"


@get(["/api/query", "/api/query/more", "/other"], sync_to_thread=False)
def echo(request: Request[Any, Any, Any]) -> dict[str, str]:
    host = request.headers.get("host", "")
    return {"host": host, "target": request.url.path + "?" + request.url.query}


async def find_keys(digests: list[bytes]) -> dict[bytes, ApiKey]:
    key = ApiKey("team-a", Rate(10**6, 1))
    return {digest: key for digest in digests if digest == api_keys.hash_key(KEY)}


def create_server(own_hosts: frozenset[str], *, requires_key: bool = False) -> LimitedServer:
    """A server with allowed hosts whose response shows what the application has received."""
    app: Any = Litestar([echo], logging_config=None, openapi_config=None)
    if requires_key:
        app = ApiKeyMiddleware(ApiKeyCache(find_keys), None)(app)
    app = AllowedHostsMiddleware(own_hosts, exempt_backend=False)(app)
    http: Any = partial(LimitedHttpProtocol, own_hosts=own_hosts)
    app = RepeatedHeadersMiddleware()(app)
    config = uvicorn.Config(app, port=0, http=http, ws="none", log_config=None, lifespan="off")
    return LimitedServer(config)


@pytest.fixture
async def proxy() -> AsyncIterator[LimitedServer]:
    server = create_server(OWN_HOSTS)
    async with server.running():
        yield server


@pytest.fixture
async def guarded() -> AsyncIterator[LimitedServer]:
    """A server that requires KEY."""
    server = create_server(OWN_HOSTS | LOOPBACK, requires_key=True)
    async with server.running():
        yield server


class Canary:
    """A server on loopback that must not be contacted, and a record of the names looked up."""

    def __init__(self) -> None:
        self.connections = 0
        self.names: list[Any] = []
        self.port = 0

    async def handle(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    def look_up(self, host: Any, *_: Any, **__: Any) -> Any:
        self.names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "the test allows no look-up")


@asynccontextmanager
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canary]:
    canary = Canary()
    server = await asyncio.start_server(canary.handle, "127.0.0.1", 0)
    canary.port = server.sockets[0].getsockname()[1]
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", canary.look_up)
        yield canary
    server.close()


# Absolute targets


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://export.arxiv.org/api/query?a=1&b=%2B+c", "export.arxiv.org"),
        ("http://arxiv.org/api/query?a=1&b=%2B+c", "arxiv.org"),
        ("http://www.arxiv.org/api/query?a=1&b=%2B+c", "www.arxiv.org"),
        ("https://export.arxiv.org/api/query?a=1&b=%2B+c", "export.arxiv.org"),  # axios 0.21
        ("https://export.arxiv.org:443/api/query?a=1&b=%2B+c", "export.arxiv.org:443"),
        ("http://export.arxiv.org:80/api/query?a=1&b=%2B+c", "export.arxiv.org:80"),
        ("http://export.arxiv.org./api/query?a=1&b=%2B+c", "export.arxiv.org."),
        ("HTTP://Export.ArXiv.Org.:80/api/query?a=1&b=%2B+c", "Export.ArXiv.Org.:80"),
    ],
)
@pytest.mark.parametrize("fields", ["host: export.arxiv.org\r\n", "host: other.example\r\n"])
async def test_absolute_target_of_arxivs_api_is_answered_here(
    proxy: LimitedServer, target: str, host: str, fields: str
) -> None:
    async with proxy.client() as client:
        await client.send(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
        status, _, body = await client.read_response()

    assert status == 200
    assert json.loads(body) == {"host": host, "target": "/api/query?a=1&b=%2B+c"}


async def test_absolute_target_of_http_1_0_needs_no_host_header(proxy: LimitedServer) -> None:
    async with proxy.client() as client:
        await client.send(f"GET {ARXIV} HTTP/1.0\r\n\r\n".encode())
        assert (await client.read_response())[0] == 200


@pytest.mark.parametrize(
    "target",
    [
        "http://gateway.example/other",
        "https://Gateway.Example.:8000/other?a",
        "http://a.gateway.example/api/query",
    ],
)
async def test_absolute_target_with_an_allowed_host_is_answered(
    proxy: LimitedServer, target: str
) -> None:
    async with proxy.client() as client:
        await client.send(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await client.read_response())[0] == 200


OTHER_HOSTS = [
    *("evil.example", "127.0.0.1", "127.0.0.1:{port}", "localhost:{port}", "[::1]", "[::1]:{port}"),
    *("169.254.169.254", "rss.arxiv.org", "evil.arxiv.org", "evilarxiv.org", "arxiv.org.evil"),
    *("export.arxiv.org..", ".arxiv.org", "export.arxiv.org.evil.example", "exportxarxiv.org"),
    *("export.arxiv.org:8080", "export.arxiv.org:443", "export.arxiv.org:", "export.arxiv.org:080"),
    *("export.arxiv.org@127.0.0.1:{port}", "export.arxiv.org:80@127.0.0.1:{port}", "a@b@arxiv.org"),
    *("user@export.arxiv.org", "user:pass@export.arxiv.org", "@export.arxiv.org"),
    *("export.arxiv.org%2eevil", "export%2earxiv.org", "127.0.0.1:{port}%40export.arxiv.org"),
    *("127.0.0.1:{port}#@export.arxiv.org", "127.0.0.1:{port}?@export.arxiv.org", ""),
    *("127.0.0.1:{port}\\@export.arxiv.org", "export.arxiv.org\\.evil", "export.arxiv.org\t"),
    *("export.arxiv.org,127.0.0.1:{port}", "[export.arxiv.org]", "export.arxiv.org:80:80"),
    *("xgateway.example", "gateway.example@127.0.0.1:{port}", "a@gateway.example"),
]
OTHER_TARGETS = [
    *(f"http://{host}/api/query?a=1" for host in OTHER_HOSTS),
    *(
        f"http://export.arxiv.org{path}"
        for path in ("", "/", "/abs/1", "/api/query/", "//api/query")
    ),
    *(
        f"http://export.arxiv.org/api/{name}"
        for name in ("query/more", "quer%79", "Query", "query;a")
    ),
    *(f"http://export.arxiv.org{path}" for path in ("/other", "/x/../api/query", "?/api/query")),
    *("http://export.arxiv.org/api/query#a", "http://export.arxiv.org/api/query?a#b"),
    *("https://export.arxiv.org:80/api/query", "ftp://export.arxiv.org/api/query"),
    *("ws://export.arxiv.org/api/query", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_a"),
    *("http:///api/query", "http://", "http:/api/query", "http:export.arxiv.org/api/query"),
    *("export.arxiv.org/api/query", "export.arxiv.org:80", "127.0.0.1:{port}", "h2c://arxiv.org/"),
    *("http:\\\\export.arxiv.org\\api\\query", "ftp://gateway.example/other"),
]


@pytest.mark.parametrize("target", OTHER_TARGETS)
async def test_other_absolute_targets_are_rejected_and_nothing_is_contacted(
    proxy: LimitedServer,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(NOTICE)
    rejected = REJECTED.labels(403)._value.get()  # noqa: SLF001
    async with watching(monkeypatch) as canary, proxy.client() as client:
        line = f"GET {target.format(port=canary.port)} HTTP/1.1\r\n"
        await client.send(line.encode() + b"host: gateway.example\r\n\r\n")
        assert await client.read_rejection() == 403

    assert (canary.connections, canary.names) == (0, [])
    assert [record.getMessage() for record in caplog.records] == [
        f"rejected with 403: {NOT_A_PROXY}"
    ]
    assert REJECTED.labels(403)._value.get() == rejected + 1  # noqa: SLF001
    assert BASE_URL in NOT_A_PROXY


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("rest", ["\r\n", "content-length: 3\r\n\r\nabc", "upgrade: h2c\r\n\r\n"])
@pytest.mark.parametrize(
    "target",
    [
        *("export.arxiv.org:443", "127.0.0.1:{port}", "localhost:{port}", "gateway.example:443"),
        *("[::1]:{port}", "a@127.0.0.1:{port}", "/api/query", "*", "127.0.0.1\\:{port}"),
        *("http://export.arxiv.org/api/query", "127.0.0.1"),
    ],
)
async def test_connect_is_rejected_and_nothing_is_contacted(
    proxy: LimitedServer, monkeypatch: pytest.MonkeyPatch, target: str, rest: str, version: str
) -> None:
    async with watching(monkeypatch) as canary, proxy.client() as client:
        line = f"CONNECT {target.format(port=canary.port)} HTTP/{version}\r\n"
        await client.send(f"{line}host: gateway.example\r\n{rest}".encode())
        assert await client.read_rejection() == 403

    assert (canary.connections, canary.names) == (0, [])


PIECES = st.sampled_from(
    [
        *("http", "https", "HTTP", "ftp", ":", "//", "/", "@", "#", "?", ".", "%2e", "\\", "\t"),
        *("export.arxiv.org", "arxiv.org", "www.", "127.0.0.1", "localhost", "[::1]", "evil", "80"),
        *("443", "/api/query", "api", "query", "gateway.example", "user", "=", "*", "PORT"),
    ]
)
AUTHORITIES = st.lists(PIECES, max_size=4).map("".join)
TARGETS = st.one_of(
    st.lists(PIECES, min_size=1, max_size=8).map("".join),
    st.tuples(st.sampled_from(["http://", "https://"]), AUTHORITIES).map("".join),
    st.builds("http://{}{}{}/api/query".format, AUTHORITIES, PIECES, AUTHORITIES),
)
ANSWERED = {"export.arxiv.org", "arxiv.org", "www.arxiv.org"}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=TARGETS, method=st.sampled_from(["GET", "POST", "OPTIONS", "CONNECT"]))
@example("http://arxiv.org@PORT/api/query", "GET")
async def test_no_target_makes_the_service_contact_another_host(
    proxy: LimitedServer, monkeypatch: pytest.MonkeyPatch, target: str, method: str
) -> None:
    async with watching(monkeypatch) as canary, proxy.client() as client:
        sent = target.replace("PORT", f"127.0.0.1:{canary.port}")
        await client.send(f"{method} {sent} HTTP/1.1\r\nhost: gateway.example\r\n\r\n".encode())
        status, _, body = await client.read_response()

    assert (canary.connections, canary.names) == (0, [])
    if status in {200, 204, 404, 405}:
        answered = httpx.URL(sent) if sent[0] not in "/*" else httpx.URL("http://gateway.example/")
        own = answered.host.rstrip(".").endswith("gateway.example")
        assert own or (answered.host.rstrip(".") in ANSWERED and answered.path == "/api/query")
        assert not answered.userinfo
    else:
        assert status in {400, 403}
        assert BASE_URL in str(body) or status == 400
        assert status == 403 or sent[0] in "/*\t#?\\%=.:@[" or "\t" in sent


@pytest.mark.parametrize("target", ["*", "/"])
async def test_options_and_paths_are_no_requests_to_a_proxy(
    proxy: LimitedServer, target: str
) -> None:
    async with proxy.client() as client:
        for host, status in (("gateway.example", 404), ("export.arxiv.org", 400)):
            await client.send(f"OPTIONS {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert (await client.read_response())[0] == status


@pytest.mark.parametrize("pause", [True, False])
async def test_requests_after_a_proxied_one_do_not_inherit_its_target(
    proxy: LimitedServer, *, pause: bool
) -> None:
    proxied = f"GET {ARXIV} HTTP/1.1\r\nhost: export.arxiv.org\r\n\r\n"
    direct = "GET /other HTTP/1.1\r\nhost: export.arxiv.org\r\n\r\n"
    own = "GET /other HTTP/1.1\r\nhost: gateway.example\r\n\r\n"
    statuses = []
    async with proxy.client() as client:
        requests = [proxied, direct, own, proxied, direct]
        for part in requests if pause else ["".join(requests)]:
            await client.send(part.encode())
            count = 1 if pause else len(requests)
            statuses += [(await client.read_response())[0] for _ in range(count)]

    assert statuses == [200, 400, 200, 200, 400]


@pytest.fixture
async def whole(settings: Callable[..., Settings]) -> AsyncIterator[LimitedServer]:
    """The service as `serve` runs it, with allowed hosts."""
    made = settings(port=0, allowed_hosts="gateway.example", cors_origins="*")
    server = LimitedServer(create_config(make_app(made), made))
    async with server.running():
        yield server


async def test_whole_service_answers_arxivs_api_as_its_own_path(
    whole: LimitedServer,
    arxiv: StandIn,  # noqa: ARG001 - resets it
) -> None:
    async def request(line: str, host: str) -> tuple[int, bytes]:
        async with whole.client() as client:
            await client.send(f"{line} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            status, _, body = await client.read_response()
        return status, body

    own = await request("GET /api/query?search_query=all:a", "gateway.example")
    assert own[0] == 200
    assert b"<feed" in own[1]
    assert (await request(f"GET {ARXIV}", "export.arxiv.org"))[0] == 200
    for line, host, status in (
        ("GET /api/query?search_query=all:a", "export.arxiv.org", 400),
        ("GET http://export.arxiv.org/results", "export.arxiv.org", 403),
        ("GET http://gateway.example/results", "gateway.example", 200),
    ):
        assert (await request(line, host))[0] == status


async def test_preflight_of_a_page_to_another_host_is_rejected(whole: LimitedServer) -> None:
    async with whole.client() as client:
        await client.send(b"OPTIONS http://evil.example/results HTTP/1.1\r\nhost: evil.example\r\n")
        await client.send(b"origin: http://a.b\r\naccess-control-request-method: GET\r\n\r\n")
        assert await client.read_rejection() == 403


# Real clients


def curl(*arguments: str) -> tuple[int, str]:
    """The exit status of curl and its output, which is followed by the HTTP status."""
    command = ["curl", "-s", "--max-time", "20", "-w", "\n%{http_code}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout


def wget(*arguments: str) -> tuple[int, str]:
    if not shutil.which("wget"):
        pytest.skip("wget is not installed")
    command = ["wget", "-q", "-O", "-", "-T", "20", "-t", "1", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout


def open_with_urllib(url: str, *handlers: urllib.request.BaseHandler) -> str:
    with urllib.request.build_opener(*handlers).open(url, timeout=20) as response:
        text: str = response.read().decode()
    return text


@pytest.mark.parametrize("target", [ARXIV, ARXIV.replace("export.", "")])
async def test_real_clients_reach_arxivs_api_through_the_service(
    proxy: LimitedServer, target: str
) -> None:
    url = f"http://127.0.0.1:{proxy.port}"
    handler = urllib.request.ProxyHandler({"http": url})
    texts = [
        (await asyncio.to_thread(curl, "-x", url, target))[1],
        (await asyncio.to_thread(wget, "-e", f"http_proxy={url}", target))[1],
        await asyncio.to_thread(open_with_urllib, target, handler),
    ]
    async with httpx.AsyncClient(proxy=url) as client:
        texts.append((await client.get(target)).text)

    for text in texts:
        assert '"target":"/api/query?search_query=all:a"' in text


async def test_real_clients_get_403_for_everything_else(proxy: LimitedServer) -> None:
    url = f"http://127.0.0.1:{proxy.port}"
    secure = await asyncio.to_thread(curl, "-x", url, ARXIV.replace("http:", "https:"), "-i")
    plain = await asyncio.to_thread(curl, "-x", url, "http://evil.example/")
    handler = urllib.request.ProxyHandler({"http": url})
    with pytest.raises(HTTPError) as caught:
        await asyncio.to_thread(open_with_urllib, "http://evil.example/", handler)
    caught.value.close()

    assert secure[0] == 56
    assert "403 Forbidden" in secure[1]
    assert plain[1].endswith("403")
    assert NOT_A_PROXY in plain[1]
    assert caught.value.code == 403


# API keys


def encode(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize("target", ["/other", ARXIV, "http://gateway.example/other"])
@pytest.mark.parametrize(
    ("fields", "is_valid"),
    [
        ([f"authorization: Basic {encode(f'any:{KEY}')}"], True),
        ([f"proxy-authorization: Basic {encode(f'any:{KEY}')}"], True),
        ([f"proxy-authorization: bearer {KEY}"], True),
        ([f"authorization: Bearer {KEY}", "proxy-authorization: Basic x"], True),
        ([f"authorization: Bearer x{KEY}", f"proxy-authorization: Bearer {KEY}"], False),
        ([f"authorization: Digest a={KEY}", f"proxy-authorization: Bearer {KEY}"], False),
        ([f"authorization: Basic {encode(f'any:{KEY}x')}"], False),
        ([f"proxy-authorization: Basic {encode(f'any:{KEY}')}"] * 2, False),
        ([], False),
    ],
)
async def test_request_without_a_valid_key_gets_a_challenge(
    guarded: LimitedServer, target: str, fields: list[str], *, is_valid: bool
) -> None:
    async with guarded.client() as client:
        head = [f"GET {target} HTTP/1.1", "host: gateway.example", *fields, "", ""]
        await client.send("\r\n".join(head).encode())
        status, answered, body = await client.read_response()

    challenge = 'Basic realm="arxiv-gateway", charset="UTF-8"'
    name = "proxy-authenticate" if target.startswith("http") else "www-authenticate"
    if is_valid:
        assert status == 200
    else:
        assert status == (407 if target.startswith("http") else 401)
        assert answered[name].endswith(challenge)
        assert len({"proxy-authenticate", "www-authenticate"} & answered.keys()) == 1
        assert json.loads(body)["status"] == status
    assert KEY not in str(body) + str(answered)


async def test_real_clients_send_keys_with_basic(guarded: LimitedServer) -> None:
    host = f"127.0.0.1:{guarded.port}"
    url, with_key = f"http://{host}/other", f"http://any:{KEY}@{host}/other"
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, "", KEY)
    handler = urllib.request.HTTPBasicAuthHandler(passwords)
    texts = [
        (await asyncio.to_thread(curl, "-u", f"any:{KEY}", url))[1],
        (await asyncio.to_thread(curl, "-u", f":{KEY}", "--anyauth", url))[1],
        (await asyncio.to_thread(curl, with_key))[1],
        (await asyncio.to_thread(wget, "--user=any", f"--password={KEY}", url))[1],
        (await asyncio.to_thread(wget, with_key))[1],
        await asyncio.to_thread(open_with_urllib, url, handler),
    ]
    async with httpx.AsyncClient() as client:
        texts.append((await client.get(with_key)).text)
        texts.append((await client.get(url, auth=("", KEY))).text)

    for text in texts:
        assert '"target":"/other?"' in text, texts


async def test_real_clients_send_keys_in_the_url_of_the_proxy(guarded: LimitedServer) -> None:
    host = f"127.0.0.1:{guarded.port}"
    url = f"http://any:{KEY}@{host}"
    handler = urllib.request.ProxyHandler({"http": url})
    texts = [
        (await asyncio.to_thread(curl, "-x", url, ARXIV))[1],
        (
            await asyncio.to_thread(
                curl, "-x", f"http://{host}", "--proxy-anyauth", "-U", f"a:{KEY}", ARXIV
            )
        )[1],
        (await asyncio.to_thread(wget, "-e", f"http_proxy={url}", ARXIV))[1],
        await asyncio.to_thread(open_with_urllib, ARXIV, handler),
    ]
    async with httpx.AsyncClient(proxy=url) as client:
        texts.append((await client.get(ARXIV)).text)

    for text in texts:
        assert '"target":"/api/query?search_query=all:a"' in text, texts


def test_keys_are_in_no_log_line_no_metric_and_no_response(
    settings: Callable[..., Settings], db: psycopg.Connection
) -> None:
    token = "t" * 30 + "oken"
    valid, revoked = api_keys.generate_key(), api_keys.generate_key()
    db.execute(
        "insert into api_keys (name, digest, beginning, quota, seconds)"
        " values ('a', %s, '', 9, 60)",
        [api_keys.hash_key(valid)],
    )
    made = settings()
    environment = {
        "ARXIV_DATABASE_URL": str(made.database_url),
        "ARXIV_DATABASE_RO_URL": str(made.database_ro_url),
        "ARXIV_API_URL": made.api_url,
        "ARXIV_INTERVAL": "0",
        "ARXIV_API_KEYS": "required",
        "ARXIV_BACKEND_TOKEN": token,
        "ARXIV_LOG_LEVEL": "DEBUG",
    }
    secrets = [valid, revoked, token]
    values = [
        value
        for secret in secrets
        for value in (
            *(f"Bearer {secret}", f"Basic {encode(f'a:{secret}')}", f"Basic {encode(secret)}"),
            *(f"Basic {secret}", f"Basic {encode(secret.encode() + bytes([0, 255]))}"),
            *(f"Digest {secret}", secret, f"Basic {encode(f'{secret}:')}"),
        )
    ]
    targets = ["/results", "/get-sequence", ARXIV, "http://evil.example/", "/none", "/a\x01"]
    responses = []
    with service(environment) as running:
        address = ("127.0.0.1", int(running.url().rpartition(":")[2]))
        for target in targets:
            for value in values:
                for name in ("authorization", "proxy-authorization"):
                    with socket.create_connection(address, timeout=20) as client:
                        head = f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                        client.sendall(f"{head}{name}: {value}\r\n\r\n".encode())
                        responses.append(client.makefile("rb").read().decode())
        userinfo = f"GET http://a:{valid}@export.arxiv.org/api/query HTTP/1.1\r\nhost: x\r\n\r\n"
        for request in (userinfo, f"CONNECT a:{valid}@x:1 HTTP/1.1\r\nhost: x\r\n\r\n"):
            with socket.create_connection(address, timeout=20) as client:
                client.sendall(request.encode())
                responses.append(client.makefile("rb").read().decode())
        responses.append(running.get("/metrics").text)
        running.end(15)
    text = "\n".join([*responses, running.output])

    statuses = {response.split()[1] for response in responses[:-1]}
    assert {"200", "400", "401", "403", "404", "407", "429"} <= statuses
    assert "500" not in statuses
    for secret in secrets:
        for form in (secret, encode(f"a:{secret}"), encode(secret)):
            assert form not in text
