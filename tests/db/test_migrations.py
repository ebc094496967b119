"""Migrations are applied once and in order, and roles have only the privileges they need."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service import embedded_postgres
from service.db import migrations
from service.db.conninfo import libpq_environment
from service.errors import ConfigurationError

NAMES = [path.stem for path in migrations.list_files()]


@contextmanager
def create_database(server: str) -> Iterator[str]:
    """An empty database; the superuser's connection string."""
    name = Identifier(f"empty_{uuid4().hex}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(name))
        yield make_conninfo(server, dbname=name.as_string().strip('"'))
        admin.execute(SQL("drop database {} with (force)").format(name))


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    with create_database(server) as url:
        yield url


@pytest.fixture(scope="module")
def migrated(server: str) -> Iterator[str]:
    """A database of this module, since a copy does not have the privileges on its template."""
    with create_database(server) as url:
        migrations.apply(url)
        yield url


def read_applied(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [name for (name,) in conn.execute("select name from migrations order by name")]


def dump_schema(url: str) -> str:
    dump = subprocess.run(
        [str(embedded_postgres.find_program("pg_dump")), "--schema-only", "--restrict-key=x"],
        env=os.environ | libpq_environment(url),
        capture_output=True,
        text=True,
        check=True,
    )
    return dump.stdout


def test_second_application_changes_nothing(empty: str) -> None:
    assert migrations.apply(empty) == NAMES
    before = dump_schema(empty)

    assert migrations.apply(empty) == []
    assert dump_schema(empty) == before
    assert read_applied(empty) == NAMES


def test_psql_alone_has_the_same_effect(empty: str, database: str) -> None:
    for _ in range(2):
        for path in migrations.list_files():
            subprocess.run(
                [
                    str(embedded_postgres.find_program("psql")),
                    "-X",
                    "-q",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-f",
                    path,
                ],
                env=os.environ | libpq_environment(empty),
                capture_output=True,
                check=True,
            )

    assert read_applied(empty) == NAMES
    assert dump_schema(empty) == dump_schema(database)


def test_concurrent_applications_do_not_interfere(empty: str) -> None:
    with ThreadPoolExecutor() as both:
        applied = list(both.map(migrations.apply, [empty] * 4))

    assert sorted(name for names in applied for name in names) == NAMES


def test_failed_migration_is_rolled_back(empty: str) -> None:
    with psycopg.connect(empty) as conn:
        conn.execute("create table results (in_the_way text)")

    with pytest.raises(ConfigurationError, match="already exists"):
        migrations.apply(empty)

    assert read_applied(empty) == [name for name in NAMES if name < "0005"]
    with psycopg.connect(empty) as conn:
        conn.execute("drop table results")
    assert migrations.apply(empty) == [name for name in NAMES if name >= "0005"]


def test_unavailable_server_is_reported() -> None:
    with pytest.raises(ConfigurationError, match="psql could not migrate"):
        migrations.apply("host=127.0.0.1 port=9 user=x dbname=x")


def test_passwords_are_read_from_the_environment(
    empty: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = 'it\'s $a "secret" \\ %s'
    with psycopg.connect(server) as admin:
        before = admin.execute("select rolpassword from pg_authid where rolname = 'arxiv_ro'")
        assert before.fetchone() == (None,)
    monkeypatch.setenv("DB_RO_PASSWORD", special)
    try:
        migrations.apply(empty)
        with psycopg.connect(server) as admin:
            hashed = admin.execute("select rolpassword from pg_authid where rolname = 'arxiv_ro'")
            [stored] = hashed.fetchone() or [""]
            assert stored.startswith("SCRAM-SHA-256$")
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("alter role arxiv_ro password null")


NEW_QUERY = (
    "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
    " values (1, 1, 200, 0, 0, '')"
)
NEW_RESULT = (
    "insert into results (query_id, timestamp, result_number, author, title)"
    " values (1, 1, 0, '', '')"
)
ALLOWED = {
    "arxiv_rw": {
        NEW_QUERY,
        NEW_RESULT,
        "select * from queries",
        "select * from results",
        "select nextval('arxiv_sequence')",
    },
    "arxiv_ro": {"select * from queries", "select * from results"},
    "arxiv_sequence": {"select nextval('arxiv_sequence')"},
}
ATTEMPTS = sorted(
    ALLOWED["arxiv_rw"]
    | {
        "update queries set status = 0",
        "update results set title = ''",
        "delete from queries",
        "delete from results",
        "truncate results",
        "drop table queries",
        "select setval('arxiv_sequence', 1)",
        "create table mine (x int)",
        "create temporary table mine (x int)",
        "create schema mine",
        "insert into migrations values ('x')",
        "alter role arxiv_rw superuser",
        "select * from pg_authid",
        "copy queries to program 'true'",
    }
)


@pytest.mark.parametrize("role", ALLOWED)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_role_has_only_the_privileges_it_needs(migrated: str, role: str, attempt: str) -> None:
    with psycopg.connect(make_conninfo(migrated, user=role)) as conn:
        if attempt in ALLOWED[role]:
            conn.execute(attempt)
        else:
            with pytest.raises(errors.InsufficientPrivilege):
                conn.execute(attempt)
        conn.rollback()


def test_other_roles_cannot_connect(empty: str) -> None:
    migrations.apply(empty)
    with psycopg.connect(empty, autocommit=True) as admin:
        admin.execute("create role stranger login")
        try:
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(make_conninfo(empty, user="stranger"))
        finally:
            admin.execute("drop role stranger")
