"""HTTP: methods, ETags, content codings, truncated streams, CORS."""

import asyncio
import gzip
import logging
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Response, get, post
from litestar.response import Stream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from demo.arxiv import StandIn
from service.app import add_outer_middleware, create_app
from service.middleware.compression import ENCODINGS, choose_encoding
from service.settings import Settings
from tests.conftest import Gateway, IndexedTransport, Serve, running, undelayed

ROW = b'{"title": "Invariants of any differential expressions"}\n'
TEXT = ROW * 40
DECODED: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}


class Streams:
    """An endpoint that streams a row and, when the test lets it, another row or an error."""

    def __init__(self, *, broken: bool = False, headers: dict[str, str] | None = None) -> None:
        self.go_on = asyncio.Event()
        self.begun = False
        self.broken = broken
        self.headers = headers or {}

    async def rows(self) -> AsyncIterator[bytes]:
        self.begun = True
        yield ROW
        await self.go_on.wait()
        if self.broken:
            raise ConnectionError("the connection to the database was lost")
        yield ROW

    def handler(self) -> Any:
        @get("/stream")
        async def stream() -> Stream:
            return Stream(self.rows(), media_type="application/x-ndjson", headers=self.headers)

        return stream


def text_path(headers: dict[str, str] | None = None, content: bytes = TEXT) -> Any:
    @get("/text", sync_to_thread=False)
    def text() -> Response[bytes]:
        return Response(content, media_type="text/plain", headers=headers)

    return text


@pytest.fixture
def app(settings: Callable[..., Settings], arxiv: StandIn) -> Litestar:
    del arxiv  # the fixture resets the simulated arXiv
    return create_app(settings())


@asynccontextmanager
async def client_of(app: Litestar, indexed: Settings | None = None) -> AsyncIterator[Gateway]:
    """Create a client of the application without a network.

    Its requests for papers wait until the index of these settings has all of them.
    """
    wire: httpx.AsyncBaseTransport = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
    if indexed:
        wire = IndexedTransport(wire, indexed)
    async with running(app), httpx.AsyncClient(transport=wire, base_url="http://gateway") as client:
        yield client


@asynccontextmanager
async def served(
    app: Litestar, http: Literal["h11", "httptools"] = "httptools"
) -> AsyncIterator[str]:
    """Serve the application with uvicorn, in the event loop of the test; yield its URL."""
    listener = undelayed()
    wrapped: Any = add_outer_middleware(app)
    config = uvicorn.Config(wrapped, http=http, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def request_encoded(
    client: Gateway, path: str, coding: str, etag: str = ""
) -> httpx.Response:
    """Request a path with an Accept-Encoding; `read` returns the body as it was sent."""
    headers = {"accept-encoding": coding} | ({"if-none-match": etag} if etag else {})
    request = client.build_request("GET", path, headers=headers)
    return await client.send(request, stream=True)


async def read(response: httpx.Response) -> bytes:
    return b"".join([piece async for piece in response.aiter_raw()])


# Methods


PATHS = [
    *("/arxiv?title=testing", "/arxiv?titel=testing", "/queries", "/results", "/results?page=-1"),
    *("/read-results", "/write-queries", "/health/live", "/no-such-path"),
    *("/schema", "/schema-assets/swagger-ui.css"),
]


async def test_lines_of_a_header_are_joined(client: Gateway) -> None:
    """RFC 9110, 5.2. The first or the last line alone would get 406."""
    for path in ("/results", "/papers", "/schema"):
        for accepted in (["image/png", "text/html, application/json"], ["*/*;q=0.1", "image/png"]):
            response = await client.get(path, headers=[("accept", text) for text in accepted])
            assert response.status_code == 200, (path, accepted)
    etag = (await client.get("/results")).headers["etag"]
    known = [("if-none-match", '"x"'), ("if-none-match", etag)]
    assert (await client.get("/results", headers=known)).status_code == 304
    codings = [("accept-encoding", "x"), ("accept-encoding", "gzip, identity;q=0")]
    assert (await client.get("/results", headers=codings)).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("method", "name", "value", "status"),
    [
        ("POST", "content-type", "application/json", 415),
        ("GET", "request-timeout", "5", 400),
        ("GET", "host", "gateway", 400),
        ("GET", "authorization", f"Bearer {'x' * 16}", 401),
    ],
)
async def test_header_that_may_be_sent_once_is_rejected_if_it_is_repeated(
    gateway: Serve, method: str, name: str, value: str, status: int
) -> None:
    path = "/read-queries" if method == "GET" else "/queries"
    fields = {"content-type": "application/json", "authorization": f"Bearer {'x' * 16}"}
    async with gateway(backend_token="x" * 16) as client:
        once = await client.request(method, path, headers=fields | {name: value}, content=b"{}")
        others = [field for field in fields.items() if field[0] != name]
        twice = await client.request(
            method, path, headers=[*others, (name, value), (name, value)], content=b"{}"
        )

    assert (once.status_code, twice.status_code) == (200, status)


async def test_repeated_request_id_is_replaced(client: Gateway) -> None:
    twice = [("x-request-id", "a"), ("x-request-id", "b")]
    response = await client.get("/results", headers=twice)

    assert len(response.headers["x-request-id"]) == 32


async def test_head_has_the_headers_of_get_without_a_body(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    for path in PATHS:
        got, head = await client.get(path), await client.head(path)

        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers.keys() == got.headers.keys()
        for name in head.headers.keys() - {"x-request-id", "age", "cache-status", "cache-control"}:
            assert head.headers[name] == got.headers[name], path


async def test_metrics_and_health_are_not_stored_by_caches(client: Gateway) -> None:
    for path in ("/metrics", "/health/live", "/health/ready", "/get-sequence"):
        for response in (await client.get(path), await client.head(path)):
            assert response.status_code == 200
            assert response.headers["cache-control"] == "no-store"
            assert "etag" not in response.headers


async def test_allow_lists_every_method_of_a_path(client: Gateway) -> None:
    for path, allowed in (
        ("/queries", "GET, HEAD, OPTIONS, POST"),
        ("/results", "GET, HEAD, OPTIONS"),
        ("/write-results", "OPTIONS, POST"),
        ("/schema", "GET, HEAD, OPTIONS"),
    ):
        options, refused = await client.options(path), await client.delete(path)

        assert (options.status_code, options.content) == (204, b"")
        assert refused.status_code == 405
        assert options.headers["allow"] == refused.headers["allow"] == allowed


async def test_options_of_an_unknown_path_is_404(client: Gateway) -> None:
    assert (await client.options("/no-such-path")).status_code == 404


async def test_log_line_has_the_method_head(
    client: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("NOTICE")
    await client.head("/results")

    assert "HEAD /results 200 in" in caplog.text


# ETags


async def test_etag_changes_with_the_content(client: Gateway) -> None:
    first, second = await client.get("/queries"), await client.get("/queries")
    await client.get("/arxiv?title=testing")
    third = await client.get("/queries")

    assert first.headers["etag"] == second.headers["etag"] != third.headers["etag"]
    assert first.headers["etag"].startswith('"')
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_matching_if_none_match_gets_304(client: Gateway, method: str) -> None:
    path = "/arxiv?title=testing"
    tag = (await client.get(path)).headers["etag"]
    for form in ("{}", "W/{}", '"other", {}', '"a,b" ,W/"c",{}', "*", " * "):
        known = {"if-none-match": form.format(tag)}
        response = await client.request(method, path, headers=known)

        assert (response.status_code, response.content) == (304, b""), form
        assert response.headers["etag"] == tag
        assert response.headers["cache-status"].startswith("arxiv-gateway; hit")
        assert {"age", "cache-control", "vary", "x-request-id"} <= response.headers.keys()
        assert not {"content-length", "content-type"} & response.headers.keys()


async def test_other_etags_get_the_full_response(client: Gateway) -> None:
    opaque = (await client.get("/results")).headers["etag"].strip('"')
    for known in ('"other"', opaque, f'"{opaque}', f'"{opaque}-gzip"', 'W/"*"', '"*"', ""):
        response = await client.get("/results", headers={"if-none-match": known})

        assert (response.status_code, response.content) == (200, b"[\n]\n"), known


async def test_errors_and_posts_have_no_etag(client: Gateway) -> None:
    known = {"if-none-match": "*"}
    for path, status in (("/results?page=-1", 400), ("/nope", 404), ("/write-queries", 405)):
        response = await client.get(path, headers=known)
        assert response.status_code == status
        assert "etag" not in response.headers
    posted = await client.post("/queries", json={}, headers=known)
    assert posted.status_code == 200
    assert not {"etag", "cache-control"} & posted.headers.keys()


async def test_each_coding_has_its_own_etag_and_stable_bytes(app: Litestar) -> None:
    app.register(text_path())
    tags = {}
    async with client_of(app) as client:
        for coding, decode in DECODED.items():
            responses = [await request_encoded(client, "/text", coding) for _ in range(2)]
            first, second = [await read(response) for response in responses]
            assert first == second
            assert decode(first) == TEXT
            assert responses[0].headers["content-length"] == str(len(first))
            tags[coding] = responses[0].headers["etag"]
        assert len(set(tags.values())) == 3
        for coding in tags:
            for had, tag in tags.items():
                again = await request_encoded(client, "/text", coding, etag=tag)
                assert again.status_code == (304 if had == coding else 200)


async def test_etag_of_the_handler_is_used(app: Litestar) -> None:
    app.register(text_path({"etag": '"mine"'}))
    async with client_of(app) as client:
        plain = await request_encoded(client, "/text", "identity")
        coded = await request_encoded(client, "/text", "gzip")
        known = await request_encoded(client, "/text", "gzip", etag=coded.headers["etag"])

    assert plain.headers["etag"] == '"mine"'
    assert coded.headers["etag"].startswith('"mine-gzip')
    assert known.status_code == 304


@pytest.mark.parametrize("path", ["/", "/schema"])
async def test_304_has_the_content_security_policy_of_its_page(client: Gateway, path: str) -> None:
    page = await client.get(path)
    known = await client.get(path, headers={"if-none-match": page.headers["etag"]})
    assert known.status_code == 304
    policies = [each.headers["content-security-policy"] for each in (page, known)]
    assert policies == policies[:1] * 2
    assert "script-src" in policies[0]


async def test_assets_of_the_schema_page_get_304(client: Gateway) -> None:
    path = "/schema-assets/swagger-ui.css"
    tag = (await client.get(path)).headers["etag"]

    assert (await client.get(path, headers={"if-none-match": tag})).status_code == 304


# Content codings


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip ; q=0.3 , zstd; Q=0.300", "zstd"),
        ("*", "zstd"),
        ("*;q=0.1", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("gzip;q=0.000", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip", "gzip"),
        ("*;q=0, gzip;q=0.1", "gzip"),
        ("br, deflate", None),
        ("gzipped", None),
        ("gzip;q=2", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=", None),
        ("gzip;level=9", None),
        (", ,gzip,", "gzip"),
        ("gzip zstd", None),
    ],
)
def test_coding_with_the_highest_weight_is_chosen(accepted: str | None, coding: str | None) -> None:
    encoding = choose_encoding(accepted or "")[0]
    assert (encoding.name if encoding else None) == coding


@given(st.text(st.sampled_from("gzipstd*,;= q01.\x00\xff"), max_size=40))
def test_any_accept_encoding_can_be_parsed(accepted: str) -> None:
    assert choose_encoding(accepted)[0] in {None, *ENCODINGS}


async def test_small_responses_are_compressed_only_if_required(client: Gateway) -> None:
    plain = await request_encoded(client, "/results", "gzip")
    coded = await request_encoded(client, "/results", "identity;q=0, gzip")
    nothing_will_do = await request_encoded(client, "/results", "*;q=0")

    assert "content-encoding" not in plain.headers
    assert gzip.decompress(await read(coded)) == b"[\n]\n"
    assert await read(nothing_will_do) == b"[\n]\n"
    assert {response.headers["vary"] for response in (plain, coded, nothing_will_do)} == {
        "Accept, Accept-Encoding"
    }


async def test_responses_to_posts_and_problems_are_compressed(app: Litestar) -> None:
    @post("/text", sync_to_thread=False)
    def text() -> Response[bytes]:
        return Response(TEXT, media_type="text/plain")

    app.register(text)
    async with client_of(app) as client:
        posted = await client.post("/text", json={})
        problem = await client.get(
            "/arxiv", params={"x" * 300: "y"}, headers={"x-request-id": "x" * 64}
        )

    for response, status in ((posted, 201), (problem, 400)):
        assert response.status_code == status
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["vary"] == "Accept-Encoding"
    assert posted.content == TEXT
    assert problem.json()["status"] == 400


@pytest.mark.parametrize(
    ("headers", "vary", "coding"),
    [
        ({"vary": "Accept"}, "Accept, Accept-Encoding", "gzip"),
        ({"cache-control": "no-transform"}, None, None),
        ({"content-encoding": "br"}, None, "br"),
        ({"content-type": "image/png"}, None, None),
    ],
)
async def test_vary_is_extended_and_some_responses_are_not_compressed(
    app: Litestar, headers: dict[str, str], vary: str | None, coding: str | None
) -> None:
    app.register(text_path(headers))
    async with client_of(app) as client:
        response = await request_encoded(client, "/text", "gzip")

    assert response.headers.get("vary") == vary
    assert response.headers.get("content-encoding") == coding


async def test_schema_page_varies_by_accept(client: Gateway) -> None:
    page = await client.get("/schema", headers={"accept": "text/html"})

    assert page.headers["vary"] == "Accept, Accept-Encoding"


# Streams

DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": zstd.ZstdDecompressor,
}


@pytest.mark.parametrize("coding", DECODED)
async def test_stream_is_sent_chunk_by_chunk(app: Litestar, coding: str) -> None:
    streams = Streams()
    app.register(streams.handler())
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        response = await request_encoded(client, "/stream", coding)
        decoder = DECODERS[coding]() if coding in DECODERS else None
        pieces = response.aiter_raw()

        async def row() -> bytes:
            piece = await anext(pieces)
            return cast("bytes", decoder.decompress(piece)) if decoder else piece

        assert await asyncio.wait_for(row(), 60) == ROW
        streams.go_on.set()
        assert await row() == ROW
        async for piece in pieces:
            assert decoder
            assert decoder.decompress(piece) == b""
        assert decoder is None or decoder.eof

    assert "etag" not in response.headers
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_head_does_not_start_a_stream(
    app: Litestar, http: Literal["h11", "httptools"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("NOTICE")
    streams = Streams()
    app.register(streams.handler())
    async with served(app, http) as url, httpx.AsyncClient(base_url=url) as client:
        head = await client.head("/stream", headers={"accept-encoding": "gzip"})
        assert (await client.get("/results")).status_code == 200  # on the same connection

    assert head.status_code == 200
    assert head.headers["content-type"] == "application/x-ndjson"
    assert head.headers["content-encoding"] == "gzip"
    assert not streams.begun
    assert "HEAD /stream 200 in" in caplog.text
    assert all(record.levelno <= logging.INFO + 5 for record in caplog.records)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_stream_is_not_started_for_a_304(app: Litestar, method: str) -> None:
    streams = Streams(headers={"etag": 'W/"5"'})
    app.register(streams.handler())
    headers = {"if-none-match": '"5"', "accept-encoding": "identity"}
    async with client_of(app) as client:
        response = await client.request(method, "/stream", headers=headers)

    assert response.status_code == 304
    assert response.headers["etag"] == 'W/"5"'
    assert not streams.begun


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("coding", DECODED)
async def test_failed_stream_is_detectably_truncated(
    app: Litestar, http: Literal["h11", "httptools"], coding: str
) -> None:
    streams = Streams(broken=True)
    streams.go_on.set()
    app.register(streams.handler())
    async with served(app, http) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(
            f"GET /stream HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n".encode()
        )
        response = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                await client.get("/stream", headers={"accept-encoding": coding})

    head, _, content = response.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert not response.endswith(b"0\r\n\r\n")
    size, _, piece = content.partition(b"\r\n")
    piece = piece[: int(size, 16)]
    if coding in DECODERS:
        decoder = DECODERS[coding]()
        piece = decoder.decompress(piece)
        assert not decoder.eof
    assert piece == ROW


# CORS

OURS, OTHERS = "https://pages.example.org", "https://evil.example.org"


def readable(response: httpx.Response) -> bool:
    """Return whether the response has CORS headers."""
    return any(name.startswith("access-control") for name in response.headers)


async def test_no_cors_headers_without_the_setting(client: Gateway) -> None:
    response = await client.get("/results", headers={"origin": OURS})

    assert not readable(response)
    assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_allowed_origins_can_read_responses_and_errors(gateway: Serve) -> None:
    async with gateway(cors_origins=f"{OURS}, http://localhost:3000") as client:
        for path in ("/results", "/results?page=-1", "/no-such-path", "/schema"):
            response = await client.get(path, headers={"origin": OURS})
            assert response.headers["access-control-allow-origin"] == OURS
            exposed = response.headers["access-control-expose-headers"]
            assert {"Link", "ETag", "X-Request-ID", "Retry-After"} <= set(exposed.split(", "))
            assert "Accept-Encoding, Origin" in response.headers["vary"]
        tag = (await client.get("/results", headers={"origin": OURS})).headers["etag"]
        known = await client.get("/results", headers={"origin": OURS, "if-none-match": tag})
        assert known.status_code == 304
        assert known.headers["access-control-allow-origin"] == OURS


async def test_other_origins_get_no_cors_headers_but_vary(gateway: Serve) -> None:
    async with gateway(cors_origins=OURS) as client:
        for headers in ({"origin": OTHERS}, {"origin": f"{OURS}.evil.org"}, {"origin": "null"}, {}):
            response = await client.get("/results", headers=headers)
            preflight = await client.options("/queries", headers=headers | ASKS)

            for each in (response, preflight):
                assert not readable(each)
                assert "Origin" in each.headers["vary"]


ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
}


async def test_preflight_allows_post(gateway: Serve) -> None:
    async with gateway(cors_origins=OURS) as client:
        preflight = await client.options("/queries", headers={"origin": OURS} | ASKS)
        posted = await client.post("/queries", json={}, headers={"origin": OURS})

    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == OURS
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert "content-type" in allowed
    assert "authorization" not in allowed
    assert "access-control-allow-credentials" not in preflight.headers
    assert posted.headers["access-control-allow-origin"] == OURS


async def test_wildcard_allows_every_origin(gateway: Serve) -> None:
    async with gateway(cors_origins="*") as client:
        for headers in ({"origin": OTHERS}, {"origin": "null"}, {}):
            response = await client.get("/results", headers=headers)
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_operator_paths_have_no_cors_headers(gateway: Serve) -> None:
    async with gateway(cors_origins="*") as client:
        for path in (
            "/write-queries",
            "http://gateway//write-queries",
            "/read-results",
            "/metrics",
        ):
            assert not readable(await client.get(path, headers={"origin": OURS}))
            assert not readable(await client.options(path, headers={"origin": OURS} | ASKS))
