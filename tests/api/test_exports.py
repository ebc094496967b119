"""Exports over a real server: streaming, bounded memory, detectable truncation."""

import asyncio
import gzip
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service.app import create_app
from service.db import pool
from service.settings import Settings
from tests.api.test_http_semantics import served
from tests.conftest import Gateway, Serve
from tests.support.process import service
from tests.support.proxy import proxied

ROWS = 30_000
PLAIN = {"accept-encoding": "identity"}
EXPORT = "/results?format=ndjson"
READERS = "select pid from pg_stat_activity where application_name = 'arxiv-gateway'"


@pytest.fixture(scope="module")
def filled(server: str, template: str) -> Iterator[str]:
    """Name of a database with ROWS results and searches of incompressible text."""
    name = f"filled_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        new = Identifier(name)
        admin.execute(SQL("create database {} template {}").format(new, Identifier(template)))
        with psycopg.connect(make_conninfo(server, dbname=name)) as conn:
            text = "(select string_agg(md5((n * m)::text), '') from generate_series(1, 12) as m)"
            conn.execute(
                "insert into results (query_id, timestamp, result_number, author, title)"
                f" select n, 1000000 + n, 0, 'A', {text} from generate_series(1, %s) as n",
                (ROWS,),
            )
            conn.execute(
                "insert into queries"
                " (query_id, timestamp, status, num_results, num_entries, query)"
                f" select n, 1000000 + n, 200, 1, 1, {text} from generate_series(1, %s) as n",
                (ROWS,),
            )
        yield name
        admin.execute(SQL("drop database {} with (force)").format(new))


@pytest.fixture
def large(server: str, filled: str, settings: Callable[..., Settings]) -> Settings:
    """Settings for the filled database."""
    return settings(
        database_url=make_conninfo(server, dbname=filled, user="arxiv_rw"), database_ro_url=None
    )


@pytest.fixture
def large_db(server: str, filled: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(make_conninfo(server, dbname=filled), autocommit=True) as conn:
        yield conn


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncIterator[Gateway]:
    async with (
        served(create_app(settings)) as url,
        httpx.AsyncClient(base_url=url, headers=PLAIN, timeout=60) as client,
    ):
        yield client


def active(db: psycopg.Connection) -> list[int]:
    """Return the active backends of the service, from a new snapshot of the statistics."""
    db.execute("select pg_stat_clear_snapshot()")
    return [pid for (pid,) in db.execute(f"{READERS} and state = 'active'")]


async def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = monotonic() + seconds
    while not (found := what()):
        assert monotonic() < end
        await asyncio.sleep(0.01)
    return found


def filter_errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/results", "/read-results", "/queries", "/read-queries"])
async def test_export_is_streamed_in_bounded_memory(large: Settings, path: str) -> None:
    async with client_of(large) as client:
        await client.get(f"{path}?format=ndjson&items_per_page=1000")  # fills caches
        tracemalloc.start()
        try:
            async with client.stream("GET", f"{path}?format=ndjson") as response:
                size = lines = 0
                async for piece in response.aiter_raw():
                    size += len(piece)
                    lines += piece.count(b"\n")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert lines == ROWS
    assert size > 12 * 2**20
    assert peak < 8 * 2**20


async def test_slow_client_holds_no_database_connection(
    large: Settings, large_db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three exports are stalled, and the pool has one connection."""
    monkeypatch.setattr(pool, "POOL_SIZE", 1)
    async with client_of(large) as client:
        for path in (EXPORT, "/queries", "/results?format=csv"):
            request = client.build_request("GET", path)
            response = await client.send(request, stream=True)
            await anext(response.aiter_raw(1))
        await until(lambda: active(large_db) == [])
        in_transaction = f"{READERS} and state like '%%in transaction%%'"
        await until(lambda: large_db.execute(in_transaction).fetchall() == [])
        page = await client.get("/results?page=0")
        whole = await client.get(f"{EXPORT}&fields=query_id")

    assert page.status_code == 200
    assert whole.text.splitlines() == [f'{{"query_id":{n}}}' for n in range(1, ROWS + 1)]


@pytest.mark.parametrize("path", [EXPORT, "/queries", "/queries?format=bibtex"])
async def test_disconnect_ends_the_export(
    large: Settings, large_db: psycopg.Connection, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level("NOTICE")
    async with client_of(large) as client:
        await client.get("/results?page=0")
        before = len(asyncio.all_tasks())
        for _ in range(3):
            async with client.stream("GET", path) as response:
                await anext(response.aiter_raw())
        name = path.partition("?")[0]
        await until(lambda: caplog.text.count(f"GET {name} 499 in") >= 3)
        await until(lambda: len(asyncio.all_tasks()) <= before)
        await until(lambda: active(large_db) == [])
        assert (await client.get("/results?page=0")).status_code == 200

    assert all(record.levelno <= logging.INFO + 5 for record in caplog.records), caplog.text


async def test_rows_inserted_during_an_export_appear_once(
    gateway: Serve, database: str, db: psycopg.Connection, settings: Callable[..., Settings]
) -> None:
    del gateway, database
    insert = (
        "insert into results (query_id, timestamp, result_number, author, title)"
        " select n, %s + n, 0, 'A', (select string_agg(md5((n * m)::text), '')"
        " from generate_series(1, 60) as m) from generate_series(%s::int, %s::int) as n"
    )
    db.execute(insert, (1000, 1, 10_000))
    async with client_of(settings()) as client, client.stream("GET", EXPORT) as response:
        pieces = response.aiter_raw()
        content = await anext(pieces)
        await asyncio.sleep(0.2)
        db.execute(insert, (1000, 20_001, 20_010))
        db.execute(insert, (-50_000, 30_001, 30_010))  # sorted before all others
        async for piece in pieces:
            content += piece

    found = [int(row.split(b'"query_id":')[1].split(b",")[0]) for row in content.splitlines()]
    assert found == [*range(1, 10_001), *range(20_001, 20_011)]


# Failures of the database


@asynccontextmanager
async def stuck(db: psycopg.Connection) -> AsyncIterator[Callable[[], list[int]]]:
    """Block readers by a lock; yields a function that lists them."""
    await until(lambda: active(db) == [])
    db.execute("set lock_timeout = '60s'")
    with db.transaction():
        db.execute("lock table results in access exclusive mode")
        db.execute("lock table queries in access exclusive mode")
        yield lambda: active(db)


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_export_that_loses_its_database_is_detectably_truncated(
    large: Settings, large_db: psycopg.Connection, caplog: pytest.LogCaptureFixture, coding: str
) -> None:
    caplog.set_level("NOTICE")
    for path in (EXPORT, "/queries", "/results?format=csv", "/queries?format=atom"):
        caplog.clear()
        async with client_of(large) as client:
            request = client.build_request("GET", path, headers={"accept-encoding": coding})
            response = await client.send(request, stream=True)
            pieces = response.aiter_raw()
            await anext(pieces)
            async with stuck(large_db) as waiting:
                reading = asyncio.create_task(_read(pieces))
                [pid] = await until(waiting)
                large_db.execute("select pg_terminate_backend(%s)", (pid,))
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                    await asyncio.wait_for(reading, 60)
            assert (await client.get("/results?page=0")).status_code == 200

        export_lines = [
            record
            for record in filter_errors(caplog)
            if record.name == "service.middleware.request_log"
        ]
        [line] = [record.getMessage() for record in export_lines]
        assert line.startswith(
            f"response to GET {path.partition('?')[0]} is truncated: the database is unavailable"
        )
        assert all(not record.exc_info for record in filter_errors(caplog))


async def _read(pieces: AsyncIterator[bytes]) -> int:
    size = 0
    async for piece in pieces:
        size += len(piece)
    return size


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_lost_postgres_server_truncates_the_export(
    large: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(pool, "CALL_TIMEOUT", 4.0)  # of the call that loses its server
    assert large.database_url
    async with proxied(large.database_url) as (proxy, url):
        settings = Settings(database_url=url, api_url=large.api_url, interval=0.0)
        async with client_of(settings) as client:
            async with client.stream("GET", EXPORT) as response:
                assert response.status_code == 200
                pieces = response.aiter_raw()
                await anext(pieces)
                if how == "cut":
                    proxy.cut_before_answer = True
                else:
                    proxy.open.clear()
                # only now, since a working database may take longer on a busy machine
                with monkeypatch.context() as patch:
                    patch.setattr(pool, "CALL_TIMEOUT", 1.0)
                    patch.setattr(pool, "CHECKOUT_TIMEOUT", 0.5)
                    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                        await asyncio.wait_for(_read(pieces), 60)
            proxy.cut_before_answer = False
            proxy.open.set()
            assert (await client.get("/results?page=0")).status_code == 200


async def test_export_without_a_database_responds_with_503(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECKOUT_TIMEOUT", 0.05)
    unreachable = settings(database_url="host=127.0.0.1 port=9", database_ro_url=None)
    async with client_of(unreachable) as client:
        for path in ("/results", "/read-results", "/queries", "/read-queries"):
            for name in ("json", "ndjson", "csv", "bibtex", "ris", "atom"):
                for method in ("GET", "HEAD"):
                    response = await client.request(method, f"{path}?format={name}")
                    assert response.status_code == 503
                    assert response.headers["content-type"] == "application/problem+json"
                    assert "content-disposition" not in response.headers
        posted = await client.post("/queries", json={})
        assert posted.status_code == 503
        assert posted.json()["retry_after"] == 5


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_truncated_export_has_no_final_chunk_and_one_log_line(
    large: Settings, large_db: psycopg.Connection, coding: str
) -> None:
    environment = {
        "ARXIV_DATABASE_URL": large.database_url or "",
        "ARXIV_API_URL": large.api_url,
        "ARXIV_INTERVAL": "0",
    }
    with service(environment) as process:
        port = httpx.URL(process.url()).port
        with closing(socket.socket()) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.settimeout(60)
            wire.connect(("127.0.0.1", port))
            wire.sendall(
                f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\nX-Request-ID: cut-7\r\n"
                f"Accept-Encoding: {coding}\r\n\r\n".encode()
            )
            response = wire.recv(1000)
            large_db.execute("set lock_timeout = '60s'")
            with large_db.transaction():
                large_db.execute("lock table results in access exclusive mode")
                while True:
                    response += wire.recv(2**20)
                    if pids := active(large_db):
                        break
                    sleep(0.001)
                large_db.execute("select pg_terminate_backend(%s)", (pids[0],))
                while piece := wire.recv(2**20):
                    response += piece
        end = monotonic() + 60
        while "response to GET" not in process.output:
            assert monotonic() < end
            sleep(0.05)
        output = process.output

    head, _, content = response.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert not response.endswith(b"0\r\n\r\n")
    if coding == "gzip":
        assert b"content-encoding: gzip" in head.lower()
        with pytest.raises((EOFError, OSError)):
            gzip.decompress(_unchunked(content))
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert len(errors) == 1, output
    assert "[cut-7] response to GET /results is truncated: the database is unavailable" in errors[0]
    assert "Traceback" not in output


def _unchunked(content: bytes) -> bytes:
    pieces = []
    while content:
        size, _, content = content.partition(b"\r\n")
        pieces.append(content[: int(size, 16)])
        content = content[int(size, 16) + 2 :]
    return b"".join(pieces)


async def test_head_of_an_export_reads_one_batch(
    large: Settings, large_db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("NOTICE")
    async with client_of(large) as client:
        for path in ("/results", "/read-results", "/queries", "/read-queries"):
            for name in ("json", "ndjson", "csv", "bibtex", "ris", "atom"):
                url = f"{path}?format={name}"
                head = await client.head(url)
                async with client.stream("GET", url) as got:
                    await anext(got.aiter_raw())
                assert (head.status_code, head.content) == (200, b"")
                for header in got.headers.keys() - {"x-request-id", "date"}:
                    if header != "transfer-encoding":
                        assert head.headers[header] == got.headers[header], (url, header)
        await until(lambda: active(large_db) == [])

    assert filter_errors(caplog) == []
