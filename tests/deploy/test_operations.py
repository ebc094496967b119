"""The commands of docs/operations.md: backups, upgrades, and changes of tokens and passwords."""

import asyncio
import os
import pwd
import re
import shlex
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
Contents = dict[str, Any]


def blocks(heading: str, language: str = "sh") -> list[str]:
    """Return the code blocks under a heading."""
    [section] = re.findall(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    code: list[str] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return code


@pytest.fixture(scope="module")
def data(quick_path: Path) -> Iterator[Path]:
    """A directory of the embedded PostgreSQL with a few searches."""
    folder = quick_path / "operations" / "data"
    with embedded_postgres.run_server(folder) as url:
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
    """A directory for backups and for restored data."""
    with TemporaryDirectory(dir=quick_path) as folder:
        yield Path(folder)


@pytest.fixture
def run(data: Path, work: Path) -> Callable[..., str]:
    """Runs commands of the document with the paths of this test."""
    paths = {
        ".venv/bin/python": shlex.quote(sys.executable),
        "/var/backups/": shlex.quote(f"{work}/"),
        "./data-restored": shlex.quote(f"{work}/restored"),
        "./data": shlex.quote(str(data)),
    }

    def run(script: str, changes: dict[str, str] | None = None, **environment: str) -> str:
        for old, new in {**(changes or {}), **paths}.items():
            script = script.replace(old, new)
        finished = subprocess.run(
            ["sh", "-euc", script],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATA_DIR": str(data)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run


def read_contents(url: str) -> Contents:
    """Everything that a backup must preserve: rows, numbers, roles and their rights."""
    with psycopg.connect(url, autocommit=True) as conn:
        names = [name for (name,) in conn.execute(TABLES)]
        assert {"queries", "results", "papers", "gate", "harvests", "migrations"} <= set(names)
        rows = {
            name: conn.execute(f"select t::text from {name} as t order by 1").fetchall()
            for name in names
        }
        return rows | {
            name: conn.execute(statement).fetchall() for name, statement in STATEMENTS.items()
        }


TABLES = (
    "select relname::text from pg_class"
    " where relkind = 'r' and relnamespace = 'public'::regnamespace"
)
STATEMENTS = {
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
def check_restored(arxiv_server: tuple[StandIn, str]) -> Callable[..., None]:
    """Checks that a database has the original contents, and that the service works on it."""

    def check(url: str, original: Contents) -> None:
        assert read_contents(url) == original
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
            summary = client.get("/arxiv?title=testing").json()
            assert summary["query_id"] > max(query["query_id"] for query in before)
            assert len(client.get(f"/queries/{summary['query_id']}").json()["results"]) == 10

    return check


@pytest.fixture(scope="module")
def original(data: Path) -> Contents:
    with embedded_postgres.run_server(data) as url:
        return read_contents(url)


def test_dump_is_restored_completely(
    run: Callable[..., str],
    check_restored: Callable[..., None],
    original: Contents,
    data: Path,
    work: Path,
) -> None:
    dump, restore = blocks("A dump")
    with embedded_postgres.run_server(data):  # as a running service would
        run(dump)
    run(restore)

    with embedded_postgres.run_server(work / "restored") as url:
        check_restored(url, original)


def test_base_backup_is_restored_completely(
    run: Callable[..., str],
    check_restored: Callable[..., None],
    original: Contents,
    data: Path,
    work: Path,
) -> None:
    backup, restore = blocks("A base backup")
    with embedded_postgres.run_server(data):
        run(backup)
        run(restore)

    with embedded_postgres.run_server(work / "restored") as url:
        check_restored(url, original)


def test_copy_of_data_directory_is_complete(
    run: Callable[..., str], check_restored: Callable[..., None], original: Contents, work: Path
) -> None:
    [copy] = blocks("A copy of the folder")
    run(copy)

    with embedded_postgres.run_server(work / "arxiv-data") as url:
        check_restored(url, original)


def path_with_programs() -> str:
    """Return the PATH with the programs of the embedded PostgreSQL first."""
    return f"{Path(str(embedded_postgres.find_program('psql'))).parent}:{os.environ['PATH']}"


def restore_to_other_server(run: Callable[..., str], source: str, target: str) -> None:
    """Dump one server and restore it into another, both named by their URLs."""
    dump, restore = blocks("A dump")
    run(dump, ARXIV_DATABASE_URL=source, PATH=path_with_programs())
    other = {"export ARXIV_DATA_DIR=./data-restored": f"export ARXIV_DATABASE_URL='{target}'"}
    run(restore, other, PATH=path_with_programs())


def test_dump_of_another_server_is_restored_completely(
    server: str,
    template: str,
    run: Callable[..., str],
    check_restored: Callable[..., None],
    work: Path,
) -> None:
    source = make_conninfo(server, dbname="arxiv")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database arxiv template {template}")
        admin.execute("revoke all on database arxiv from public")
        admin.execute("grant connect on database arxiv to arxiv_rw, arxiv_ro, arxiv_sequence")
        try:
            fill(source)
            before = read_contents(source)
            with embedded_postgres.run_server(work / "other") as target:
                restore_to_other_server(run, source, target)
                check_restored(make_conninfo(target, dbname="arxiv"), before)
        finally:
            admin.execute("drop database arxiv with (force)")


# Another major version


def find_older_programs() -> Path:
    """Return the programs of an older PostgreSQL from Debian, or skip the test."""
    directories = sorted(
        path
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name < embedded_postgres.VERSION and (path / "initdb").exists()
    )
    if not directories or os.geteuid() != 0:
        pytest.skip("needs an older PostgreSQL and root")
    return directories[-1]


@contextmanager
def run_older_server(programs: Path, folder: Path) -> Iterator[str]:
    """A server on a cluster that an older version created."""
    user = pwd.getpwnam(embedded_postgres.SYSTEM_USER)
    identity: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": "/"}
    folder.mkdir(parents=True)
    shutil.chown(folder, embedded_postgres.SYSTEM_USER)
    for each in folder.parents:
        each.chmod(each.stat().st_mode | 0o001)
    subprocess.run(
        [programs / "initdb", "-D", folder, "-U", "postgres", "--auth=trust", "--locale=C.UTF-8"],
        check=True,
        **quiet,
        **identity,
    )
    options = f"-c listen_addresses= -c port=5432 -c unix_socket_directories={folder} -c fsync=off"
    control: list[str | Path] = [programs / "pg_ctl", "-D", folder, "-w", "-s"]
    subprocess.run([*control, "-o", options, "start"], check=True, **quiet, **identity)
    try:
        yield f"host={folder} port=5432 user=postgres dbname=postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, **quiet, **identity)


@pytest.mark.thorough
def test_data_of_older_postgresql_is_rejected_and_migrated_with_a_dump(
    run: Callable[..., str], check_restored: Callable[..., None], work: Path
) -> None:
    programs = find_older_programs()
    with run_older_server(programs, work / "old" / "postgres") as source:
        migrations.apply(source)
        fill(source)
        before = read_contents(source)
        rejected = subprocess.run(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATA_DIR": str(work / "old")},
            capture_output=True,
            text=True,
            check=False,
        )
        with embedded_postgres.run_server(work / "newer") as target:
            restore_to_other_server(run, source, target)
            with psycopg.connect(target, autocommit=True) as conn:
                for statement in blocks("A new major version", "sql"):
                    conn.execute(statement.encode())
            before["roles"] = read_contents(target)["roles"]
            assert str(before["roles"]).count("transaction_timeout=9s") == 2
            check_restored(target, before)

    version = programs.parent.name
    assert rejected.returncode == 2
    assert (
        f"was created by PostgreSQL {version}, this is {embedded_postgres.VERSION}"
        in rejected.stderr
    )
    assert "docs/operations.md" in rejected.stderr


# Programs


def test_database_command_exits_with_status_of_the_program(
    run: Callable[..., str], data: Path
) -> None:
    command = ".venv/bin/python -m service database"
    with embedded_postgres.run_server(data):
        assert run(f"{command} psql -XAtc 'select count(*) from queries'") == "5\n"
        assert run(f"{command} sh -c 'exit 3' || echo $?") == "3\n"
        assert "cannot find the program" in run(f"{command} no-such-program 2>&1 || true")


# Replacing tokens and passwords


OLD, NEW = "the old one", "the new one"


async def test_token_is_replaced_without_rejected_requests(gateway: Serve) -> None:
    old, new = f"{OLD}, of 16", f"{NEW}, of 16"

    async def accepts(**tokens: str) -> tuple[bool, bool]:
        async with gateway(**tokens) as client:
            statuses = [await send(client, token) for token in (old, new)]
            assert await send(client, "another one, which is wrong") == 401
        return statuses[0] == 200, statuses[1] == 200

    async def send(client: Gateway, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return (await client.get("/read-results", headers=headers)).status_code

    assert await accepts(backend_token=old) == (True, False)
    assert await accepts(backend_token=old, backend_token_also=new) == (True, True)
    assert await accepts(backend_token=new, backend_token_also=old) == (True, True)
    assert await accepts(backend_token=new) == (False, True)
    assert await accepts(backend_token_also=new) == (False, True)


async def test_password_is_replaced_without_rejected_requests(
    gateway: Serve, quick_path: Path, arxiv: StandIn
) -> None:
    folder = quick_path / "passwords"
    with embedded_postgres.run_server(folder) as url:
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
                assert await search_status(before, "before") == 200
                admin.execute(create.encode())
                assert await search_status(before, "meanwhile") == 200
                async with gateway(**new, database_ro_url=None) as after:
                    assert await search_status(after, "meanwhile too") == 200
                    assert await search_status(before, "still") == 200
            admin.execute(close.encode())
            async with gateway(**new, database_ro_url=None) as after:
                assert (await after.get("/health/ready")).status_code == 200
                assert await search_status(after, "after") == 200
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(old["database_url"])
            settings = admin.execute(
                "select rolname, rolconfig from pg_roles where rolname ~ '^arxiv_rw' order by 1"
            ).fetchall()
    shutil.rmtree(folder)

    assert len(arxiv.requests) == 5
    assert sorted(settings[0][1]) == sorted(settings[1][1])


async def search_status(client: Gateway, word: str) -> int:
    return (await client.get("/arxiv", params={"any": f"testing {word}"})).status_code


async def test_operator_can_end_the_cooldown(gateway: Serve, db: psycopg.Connection) -> None:
    db.execute("update gate set closed_until = clock_timestamp() + '1 hour', refusals = 5")
    [statement] = blocks("ArxivGatewayArxivClosed", "sql")
    async with gateway() as client:
        assert await search_status(client, "before") == 503
        db.execute(statement.encode())
        assert await search_status(client, "after") == 200
