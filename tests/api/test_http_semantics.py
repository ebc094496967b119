"""HTTP itself: methods, tags, content codings, broken streams, and who may read from a web page."""

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
from tests.conftest import Gateway, Serve, running, undelayed

ROW = b'{"title": "Invariants of any differential expressions"}\n'
TEXT = ROW * 40
DECODED: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}


class Streams:
    """A path that streams: a row, and once the test lets it, another, then an end or a fault."""

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
            raise ConnectionError("the database went away")
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
    del arxiv  # a clean one
    return create_app(settings())


@asynccontextmanager
async def client_of(app: Litestar) -> AsyncIterator[Gateway]:
    """A client of the application, without the network."""
    wire = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
    async with running(app), httpx.AsyncClient(transport=wire, base_url="http://gateway") as client:
        yield client


@asynccontextmanager
async def served(
    app: Litestar, http: Literal["h11", "httptools"] = "httptools"
) -> AsyncIterator[str]:
    """The application behind uvicorn, in the loop of the test; its address."""
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


async def sent(client: Gateway, path: str, coding: str, known: str = "") -> httpx.Response:
    """An answer to somebody who takes this coding; `read` gives its bytes as they were sent."""
    headers = {"accept-encoding": coding} | ({"if-none-match": known} if known else {})
    request = client.build_request("GET", path, headers=headers)
    return await client.send(request, stream=True)


async def read(answer: httpx.Response) -> bytes:
    return b"".join([piece async for piece in answer.aiter_raw()])


# Methods


PATHS = [
    *("/arxiv?title=testing", "/arxiv?titel=testing", "/queries", "/results", "/results?page=-1"),
    *("/read-results", "/write-queries", "/health/live", "/no-such-path"),
    *("/schema", "/schema-assets/swagger-ui.css"),
]


async def test_head_answers_what_get_would_without_content(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    for path in PATHS:
        got, head = await client.get(path), await client.head(path)

        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers.keys() == got.headers.keys()
        for name in head.headers.keys() - {"x-request-id", "age", "cache-status", "cache-control"}:
            assert head.headers[name] == got.headers[name], path


async def test_metrics_and_health_are_never_kept(client: Gateway) -> None:
    for path in ("/metrics", "/health/live", "/health/ready", "/get-sequence"):
        for answer in (await client.get(path), await client.head(path)):
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store"
            assert "etag" not in answer.headers


async def test_allow_names_every_method_of_a_path(client: Gateway) -> None:
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


async def test_an_unknown_path_has_no_options(client: Gateway) -> None:
    assert (await client.options("/no-such-path")).status_code == 404


async def test_the_log_says_head(client: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("NOTICE")
    await client.head("/results")

    assert "HEAD /results 200 in" in caplog.text


# Tags


async def test_a_tag_lasts_as_long_as_the_content(client: Gateway) -> None:
    first, second = await client.get("/queries"), await client.get("/queries")
    await client.get("/arxiv?title=testing")
    third = await client.get("/queries")

    assert first.headers["etag"] == second.headers["etag"] != third.headers["etag"]
    assert first.headers["etag"].startswith('"')
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_it_already_is_told_so(client: Gateway, method: str) -> None:
    path = "/arxiv?title=testing"
    tag = (await client.get(path)).headers["etag"]
    for form in ("{}", "W/{}", '"other", {}', '"a,b" ,W/"c",{}', "*", " * "):
        known = {"if-none-match": form.format(tag)}
        answer = await client.request(method, path, headers=known)

        assert (answer.status_code, answer.content) == (304, b""), form
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-status"].startswith("arxiv-gateway; hit")
        assert {"age", "cache-control", "vary", "x-request-id"} <= answer.headers.keys()
        assert not {"content-length", "content-type"} & answer.headers.keys()


async def test_another_tag_is_answered_in_full(client: Gateway) -> None:
    opaque = (await client.get("/results")).headers["etag"].strip('"')
    for known in ('"other"', opaque, f'"{opaque}', f'"{opaque}-gzip"', 'W/"*"', '"*"', ""):
        answer = await client.get("/results", headers={"if-none-match": known})

        assert (answer.status_code, answer.content) == (200, b"[\n]\n"), known


async def test_what_is_no_answer_to_keep_has_no_tag(client: Gateway) -> None:
    known = {"if-none-match": "*"}
    for path, status in (("/results?page=-1", 400), ("/nope", 404), ("/write-queries", 405)):
        answer = await client.get(path, headers=known)
        assert answer.status_code == status
        assert "etag" not in answer.headers
    posted = await client.post("/queries", json={}, headers=known)
    assert posted.status_code == 200
    assert not {"etag", "cache-control"} & posted.headers.keys()


async def test_each_coding_has_its_own_tag_and_bytes_that_last(app: Litestar) -> None:
    app.register(text_path())
    tags = {}
    async with client_of(app) as client:
        for coding, decode in DECODED.items():
            answers = [await sent(client, "/text", coding) for _ in range(2)]
            first, second = [await read(answer) for answer in answers]
            assert first == second
            assert decode(first) == TEXT
            assert answers[0].headers["content-length"] == str(len(first))
            tags[coding] = answers[0].headers["etag"]
        assert len(set(tags.values())) == 3
        for coding in tags:
            for had, tag in tags.items():
                again = await sent(client, "/text", coding, known=tag)
                assert again.status_code == (304 if had == coding else 200)


async def test_a_tag_of_the_handler_is_kept_and_honoured(app: Litestar) -> None:
    app.register(text_path({"etag": '"mine"'}))
    async with client_of(app) as client:
        plain = await sent(client, "/text", "identity")
        coded = await sent(client, "/text", "gzip")
        known = await sent(client, "/text", "gzip", known=coded.headers["etag"])

    assert plain.headers["etag"] == '"mine"'
    assert coded.headers["etag"].startswith('"mine-gzip')
    assert known.status_code == 304


async def test_the_page_of_the_api_is_known_again(client: Gateway) -> None:
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
def test_the_coding_is_the_one_the_client_likes_best(
    accepted: str | None, coding: str | None
) -> None:
    found = choose_encoding(accepted or "").encoding
    assert (found.name if found else None) == coding


@given(st.text(st.sampled_from("gzipstd*,;= q01.\x00\xff"), max_size=40))
def test_no_header_is_too_odd(accepted: str) -> None:
    assert choose_encoding(accepted).encoding in {None, *ENCODINGS}


async def test_small_answers_stay_as_they_are_unless_that_is_refused(client: Gateway) -> None:
    plain = await sent(client, "/results", "gzip")
    coded = await sent(client, "/results", "identity;q=0, gzip")
    nothing_will_do = await sent(client, "/results", "*;q=0")

    assert "content-encoding" not in plain.headers
    assert gzip.decompress(await read(coded)) == b"[\n]\n"
    assert await read(nothing_will_do) == b"[\n]\n"
    assert {answer.headers["vary"] for answer in (plain, coded, nothing_will_do)} == {
        "Accept, Accept-Encoding"
    }


async def test_posts_and_problems_are_coded_too(app: Litestar) -> None:
    @post("/text", sync_to_thread=False)
    def text() -> Response[bytes]:
        return Response(TEXT, media_type="text/plain")

    app.register(text)
    async with client_of(app) as client:
        posted = await client.post("/text", json={})
        problem = await client.get("/arxiv", params={"x" * 300: "y"})

    for answer, status in ((posted, 201), (problem, 400)):
        assert answer.status_code == status
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
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
async def test_vary_grows_and_what_must_not_be_coded_is_not(
    app: Litestar, headers: dict[str, str], vary: str | None, coding: str | None
) -> None:
    app.register(text_path(headers))
    async with client_of(app) as client:
        answer = await sent(client, "/text", "gzip")

    assert answer.headers.get("vary") == vary
    assert answer.headers.get("content-encoding") == coding


async def test_the_page_of_the_api_varies_by_what_is_asked_for(client: Gateway) -> None:
    page = await client.get("/schema", headers={"accept": "text/html"})

    assert page.headers["vary"] == "Accept, Accept-Encoding"


# Streams

DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": zstd.ZstdDecompressor,
}


@pytest.mark.parametrize("coding", DECODED)
async def test_a_stream_leaves_piece_by_piece(app: Litestar, coding: str) -> None:
    streams = Streams()
    app.register(streams.handler())
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await sent(client, "/stream", coding)
        decoder = DECODERS[coding]() if coding in DECODERS else None
        pieces = answer.aiter_raw()

        async def row() -> bytes:
            piece = await anext(pieces)
            return cast("bytes", decoder.decompress(piece)) if decoder else piece

        assert await asyncio.wait_for(row(), 5) == ROW
        streams.go_on.set()
        assert await row() == ROW
        async for piece in pieces:
            assert decoder
            assert decoder.decompress(piece) == b""
        assert decoder is None or decoder.eof

    assert "etag" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_head_does_not_begin_a_stream(
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
async def test_a_stream_with_a_tag_does_not_begin_for_who_has_it(
    app: Litestar, method: str
) -> None:
    streams = Streams(headers={"etag": 'W/"5"'})
    app.register(streams.handler())
    headers = {"if-none-match": '"5"', "accept-encoding": "identity"}
    async with client_of(app) as client:
        answer = await client.request(method, "/stream", headers=headers)

    assert answer.status_code == 304
    assert answer.headers["etag"] == 'W/"5"'
    assert not streams.begun


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("coding", DECODED)
async def test_a_stream_that_fails_is_seen_to_be_broken(
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
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                await client.get("/stream", headers={"accept-encoding": coding})

    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert not answer.endswith(b"0\r\n\r\n")
    size, _, piece = content.partition(b"\r\n")
    piece = piece[: int(size, 16)]
    if coding in DECODERS:
        decoder = DECODERS[coding]()
        piece = decoder.decompress(piece)
        assert not decoder.eof
    assert piece == ROW


# Who may read from a web page

OURS, OTHERS = "https://pages.example.org", "https://evil.example.org"


def readable(answer: httpx.Response) -> bool:
    """Whether a browser is told anything of pages elsewhere."""
    return any(name.startswith("access-control") for name in answer.headers)


async def test_without_the_setting_no_page_may_read(client: Gateway) -> None:
    answer = await client.get("/results", headers={"origin": OURS})

    assert not readable(answer)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


async def test_pages_of_the_origins_named_may_read_errors_too(gateway: Serve) -> None:
    async with gateway(cors_origins=f"{OURS}, http://localhost:3000") as client:
        for path in ("/results", "/results?page=-1", "/no-such-path", "/schema"):
            answer = await client.get(path, headers={"origin": OURS})
            assert answer.headers["access-control-allow-origin"] == OURS
            exposed = answer.headers["access-control-expose-headers"]
            assert {"Link", "ETag", "X-Request-ID", "Retry-After"} <= set(exposed.split(", "))
            assert "Accept-Encoding, Origin" in answer.headers["vary"]
        tag = (await client.get("/results", headers={"origin": OURS})).headers["etag"]
        known = await client.get("/results", headers={"origin": OURS, "if-none-match": tag})
        assert known.status_code == 304
        assert known.headers["access-control-allow-origin"] == OURS


async def test_other_pages_may_not_and_caches_know_it(gateway: Serve) -> None:
    async with gateway(cors_origins=OURS) as client:
        for headers in ({"origin": OTHERS}, {"origin": f"{OURS}.evil.org"}, {"origin": "null"}, {}):
            answer = await client.get("/results", headers=headers)
            asked = await client.options("/queries", headers=headers | ASKS)

            for each in (answer, asked):
                assert not readable(each)
                assert "Origin" in each.headers["vary"]


ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
}


async def test_a_page_that_asks_first_may_post(gateway: Serve) -> None:
    async with gateway(cors_origins=OURS) as client:
        asked = await client.options("/queries", headers={"origin": OURS} | ASKS)
        posted = await client.post("/queries", json={}, headers={"origin": OURS})

    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == OURS
    assert "POST" in asked.headers["access-control-allow-methods"]
    allowed = asked.headers["access-control-allow-headers"].lower()
    assert "content-type" in allowed
    assert "authorization" not in allowed
    assert "access-control-allow-credentials" not in asked.headers
    assert posted.headers["access-control-allow-origin"] == OURS


async def test_any_page_may_read_where_any_is_said(gateway: Serve) -> None:
    async with gateway(cors_origins="*") as client:
        for headers in ({"origin": OTHERS}, {"origin": "null"}, {}):
            answer = await client.get("/results", headers=headers)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["vary"] == "Accept, Accept-Encoding"


async def test_no_page_reads_or_writes_what_is_for_operators(gateway: Serve) -> None:
    async with gateway(cors_origins="*") as client:
        for path in (
            "/write-queries",
            "http://gateway//write-queries",
            "/read-results",
            "/metrics",
        ):
            assert not readable(await client.get(path, headers={"origin": OURS}))
            assert not readable(await client.options(path, headers={"origin": OURS} | ASKS))
