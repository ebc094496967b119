"""The commands of docs/operations.md, as they stand there: nothing is lost, nobody is refused."""

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service import embedded_postgres
from service.db import migrations
from service.settings import Settings
from tests.conftest import Gateway, Serve, served
from tests.db.test_records import answer, stored
from tests.support.process import ROOT

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
Told = dict[str, Any]


def blocks(heading: str, language: str = "sh") -> list[str]:
    """The commands under a heading."""
    [section] = re.findall(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return found


@pytest.fixture(scope="module")
def data(quick_path: Path) -> Iterator[Path]:
    """A folder of the embedded PostgreSQL with a few searches."""
    folder = quick_path / "operations" / "data"
    with embedded_postgres.server(folder) as url:
        migrations.apply(url)
        fill(url)
    yield folder
    shutil.rmtree(folder.parent)


def fill(url: str) -> None:
    async def record() -> None:
        async with stored(url) as store:
            for number in range(1, 6):
                await store.insert(answer(number))

    asyncio.run(record())


@pytest.fixture
def work(quick_path: Path) -> Iterator[Path]:
    """A folder for backups and what becomes of them."""
    with TemporaryDirectory(dir=quick_path) as folder:
        yield Path(folder)


@pytest.fixture
def run(data: Path, work: Path) -> Callable[..., str]:
    """Runs commands of the document; its paths are those of this test."""
    here = {
        ".venv/bin/python": sys.executable,
        "/var/backups/": f"{work}/",
        "./data-restored": f"{work}/restored",
        "./data": str(data),
    }

    def run(script: str, changes: dict[str, str] | None = None, **environment: str) -> str:
        for old, new in {**(changes or {}), **here}.items():
            script = script.replace(old, new)
        ran = subprocess.run(
            ["sh", "-euc", script],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATA_DIR": str(data)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def told(url: str) -> Told:
    """All that must survive: rows, numbers, roles and what they may do."""
    with psycopg.connect(url, autocommit=True) as conn:
        names = [name for (name,) in conn.execute(TABLES)]
        assert {"queries", "results", "papers", "gate", "harvests", "migrations"} <= set(names)
        rows = {
            name: conn.execute(f"select t::text from {name} as t order by 1").fetchall()
            for name in names
        }
        return rows | {
            what: conn.execute(statement).fetchall() for what, statement in ASKED.items()
        }


TABLES = (
    "select relname::text from pg_class"
    " where relkind = 'r' and relnamespace = 'public'::regnamespace"
)
ASKED = {
    "sequence": "select last_value, is_called from arxiv_sequence",
    "roles": "select rolname, rolconfig from pg_roles where rolname like 'arxiv%' order by 1",
    "database": (
        "select acl::text from pg_database, unnest(datacl) as acl"
        " where datname = current_database() order by 1"
    ),
    "rights": (
        "select relname, acl::text from pg_class, unnest(relacl) as acl"
        " where relname in ('queries', 'results', 'gate', 'arxiv_sequence')"
        " and acl::text not like 'postgres=%' order by 1, 2"
    ),
    "indexes": "select indexdef from pg_indexes where schemaname = 'public' order by 1",
}


@pytest.fixture
def whole(arxiv_server: tuple[StandIn, str]) -> Callable[..., None]:
    """Checks that a database is the one of `data`, and that the service works on it."""

    def check(url: str, original: Told) -> None:
        assert told(url) == original
        settings = Settings(
            database_url=f"{url} user=arxiv_rw",
            database_ro_url=f"{url} user=arxiv_ro",
            api_url=arxiv_server[1],
            interval=0.0,
        )
        with served(settings) as address, httpx.Client(base_url=address) as client:
            assert client.get("/health/ready").status_code == 200
            before = client.get("/queries").json()
            assert len(before) == 5
            assert len(client.get("/results?items_per_page=100").json()) == 15
            found = client.get("/arxiv?title=testing").json()
            assert found["query_id"] > max(query["query_id"] for query in before)
            assert len(client.get(f"/queries/{found['query_id']}").json()["results"]) == 10

    return check


@pytest.fixture(scope="module")
def original(data: Path) -> Told:
    with embedded_postgres.server(data) as url:
        return told(url)


def test_a_dump_is_restored_whole(
    run: Callable[..., str], whole: Callable[..., None], original: Told, data: Path, work: Path
) -> None:
    dump, restore = blocks("A dump")
    with embedded_postgres.server(data):  # as while a service runs
        run(dump)
    run(restore)

    with embedded_postgres.server(work / "restored") as url:
        whole(url, original)


def test_a_base_backup_is_restored_whole(
    run: Callable[..., str], whole: Callable[..., None], original: Told, data: Path, work: Path
) -> None:
    backup, restore = blocks("A base backup")
    with embedded_postgres.server(data):
        run(backup)
        run(restore)

    with embedded_postgres.server(work / "restored") as url:
        whole(url, original)


def test_a_copy_of_the_folder_is_the_folder(
    run: Callable[..., str], whole: Callable[..., None], original: Told, work: Path
) -> None:
    [copy] = blocks("A copy of the folder")
    run(copy)

    with embedded_postgres.server(work / "arxiv-data") as url:
        whole(url, original)


def programs() -> str:
    """The PATH with the programs of the embedded PostgreSQL first."""
    return f"{Path(str(embedded_postgres.program('psql'))).parent}:{os.environ['PATH']}"


def restored_elsewhere(run: Callable[..., str], source: str, target: str) -> None:
    """Dump one server and restore it into another, both by their addresses."""
    dump, restore = blocks("A dump")
    run(dump, ARXIV_DATABASE_URL=source, PATH=programs())
    other = {"export ARXIV_DATA_DIR=./data-restored": f"export ARXIV_DATABASE_URL='{target}'"}
    run(restore, other, PATH=programs())


def test_a_server_of_ones_own_is_dumped_and_restored_whole(
    server: str, template: str, run: Callable[..., str], whole: Callable[..., None], work: Path
) -> None:
    source = make_conninfo(server, dbname="arxiv")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database arxiv template {template}")
        admin.execute("revoke all on database arxiv from public")
        admin.execute("grant connect on database arxiv to arxiv_rw, arxiv_ro, arxiv_sequence")
        try:
            fill(source)
            before = told(source)
            with embedded_postgres.server(work / "other") as target:
                restored_elsewhere(run, source, target)
                whole(make_conninfo(target, dbname="arxiv"), before)
        finally:
            admin.execute("drop database arxiv with (force)")


# Another major version


def older() -> Path:
    """The programs of an older PostgreSQL, as Debian installs them; the test skips without."""
    found = sorted(
        path
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name < embedded_postgres.VERSION and (path / "initdb").exists()
    )
    if not found or os.geteuid() != 0:
        pytest.skip("no older PostgreSQL is installed, or we are not root")
    return found[-1]


@contextmanager
def old_server(programs: Path, folder: Path) -> Iterator[str]:
    """A cluster that an older release made."""
    user = pwd.getpwnam(embedded_postgres.STAND_IN)
    whose: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": "/"}
    folder.mkdir(parents=True)
    shutil.chown(folder, embedded_postgres.STAND_IN)
    for each in folder.parents:
        each.chmod(each.stat().st_mode | 0o001)
    subprocess.run(
        [programs / "initdb", "-D", folder, "-U", "postgres", "--auth=trust", "--locale=C.UTF-8"],
        check=True,
        **quiet,
        **whose,
    )
    options = f"-c listen_addresses= -c port=5432 -c unix_socket_directories={folder} -c fsync=off"
    control: list[str | Path] = [programs / "pg_ctl", "-D", folder, "-w", "-s"]
    subprocess.run([*control, "-o", options, "start"], check=True, **quiet, **whose)
    try:
        yield f"host={folder} port=5432 user=postgres dbname=postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, **quiet, **whose)


def test_data_of_an_older_postgresql_is_refused_and_comes_over_by_a_dump(
    run: Callable[..., str], whole: Callable[..., None], work: Path
) -> None:
    programs = older()
    with old_server(programs, work / "old" / "postgres") as source:
        migrations.apply(source)
        fill(source)
        before = told(source)
        refused = subprocess.run(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATA_DIR": str(work / "old")},
            capture_output=True,
            text=True,
            check=False,
        )
        with embedded_postgres.server(work / "newer") as target:
            restored_elsewhere(run, source, target)
            with psycopg.connect(target, autocommit=True) as conn:
                for statement in blocks("A new major version", "sql"):
                    conn.execute(statement.encode())
            before["roles"] = told(target)["roles"]
            assert str(before["roles"]).count("transaction_timeout=9s") == 2
            whole(target, before)

    version = programs.parent.name
    assert refused.returncode == 2
    assert (
        f"was made by PostgreSQL {version}, this is {embedded_postgres.VERSION}" in refused.stderr
    )
    assert "docs/operations.md" in refused.stderr


# Programs


def test_a_program_ends_as_it_ended(run: Callable[..., str], data: Path) -> None:
    asked = ".venv/bin/python -m service database"
    with embedded_postgres.server(data):
        assert run(f"{asked} psql -XAtc 'select count(*) from queries'") == "5\n"
        assert run(f"{asked} sh -c 'exit 3' || echo $?") == "3\n"
        assert "no program" in run(f"{asked} no-such-program 2>&1 || true")


# Rotation


OLD, NEW = "the old one", "the new one"


async def test_the_token_changes_without_a_refusal(gateway: Serve) -> None:
    old, new = f"{OLD}, of 16", f"{NEW}, of 16"

    async def accepted(**tokens: str) -> tuple[bool, bool]:
        async with gateway(**tokens) as client:
            answers = [await sending(client, token) for token in (old, new)]
            assert await sending(client, "another one, which is wrong") == 401
        return answers[0] == 200, answers[1] == 200

    async def sending(client: Gateway, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return (await client.get("/read-results", headers=headers)).status_code

    assert await accepted(backend_token=old) == (True, False)
    assert await accepted(backend_token=old, backend_token_also=new) == (True, True)
    assert await accepted(backend_token=new, backend_token_also=old) == (True, True)
    assert await accepted(backend_token=new) == (False, True)
    assert await accepted(backend_token_also=new) == (False, True)


async def test_a_password_changes_without_a_refusal(
    gateway: Serve, quick_path: Path, arxiv: StandIn
) -> None:
    folder = quick_path / "passwords"
    with embedded_postgres.server(folder) as url:
        migrations.apply(url)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("alter role arxiv_rw password 'the old one'")
            hba = folder / "postgres" / "pg_hba.conf"
            hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            admin.execute("select pg_reload_conf()")
            old = {"database_url": make_conninfo(url, user="arxiv_rw", password=OLD)}
            new = {"database_url": make_conninfo(url, user="arxiv_rw_2", password=NEW)}
            create, close = blocks("Passwords", "sql")
            async with gateway(**old, database_ro_url=None) as before:
                assert await searched(before, "before") == 200
                admin.execute(create.encode())
                assert await searched(before, "meanwhile") == 200
                async with gateway(**new, database_ro_url=None) as after:
                    assert await searched(after, "meanwhile too") == 200
                    assert await searched(before, "still") == 200
            admin.execute(close.encode())
            async with gateway(**new, database_ro_url=None) as after:
                assert (await after.get("/health/ready")).status_code == 200
                assert await searched(after, "after") == 200
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(old["database_url"])
            settings = admin.execute(
                "select rolname, rolconfig from pg_roles where rolname ~ '^arxiv_rw' order by 1"
            ).fetchall()
    shutil.rmtree(folder)

    assert len(arxiv.requests) == 5
    assert sorted(settings[0][1]) == sorted(settings[1][1])


async def searched(client: Gateway, word: str) -> int:
    return (await client.get("/arxiv", params={"any": f"testing {word}"})).status_code


async def test_a_pause_that_arxiv_has_ended_is_ended(
    gateway: Serve, db: psycopg.Connection
) -> None:
    db.execute("update gate set closed_until = clock_timestamp() + '1 hour', refusals = 5")
    [statement] = blocks("ArxivGatewayArxivClosed", "sql")
    async with gateway() as client:
        assert await searched(client, "before") == 503
        db.execute(statement.encode())
        assert await searched(client, "after") == 200
