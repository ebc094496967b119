"""Each role has exactly the privileges listed here."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

TABLES = {
    "queries": {"arxiv_rw": "select insert", "arxiv_ro": "select"},
    "results": {"arxiv_rw": "select insert", "arxiv_ro": "select"},
    "papers": {"arxiv_rw": "select insert update", "arxiv_ro": "select"},
    "harvests": {"arxiv_rw": "select insert update", "arxiv_ro": "select"},
    "harvest_gaps": {"arxiv_rw": "select insert delete", "arxiv_ro": "select"},
    **{
        name: {"arxiv_rw": "select insert update", "arxiv_ro": "select"}
        for name in (
            "paper_details",
            "mirror_syncs",
            "mirror_imports",
            "announcements",
            "announcement_feeds",
            "search_statistics",
        )
    },
    "gate": {"arxiv_rw": "select update"},
    "gate_queue": {"arxiv_rw": "select insert update delete"},
    "migrations": dict.fromkeys(("arxiv_rw", "arxiv_ro", "arxiv_sequence"), "select"),
    "api_keys": {"arxiv_rw": "insert"},  # on some columns, see below
    "signing_keys": {},  # on one column, see below
}
ROLES = ("arxiv_rw", "arxiv_ro", "arxiv_sequence")
ON_TABLES = {
    "select": "select * from {} limit 0",
    "insert": "insert into {} ({}) select null where false",
    "update": "update {} set {} = default where false",
    "delete": "delete from {} where false",
    "truncate": "truncate {}",
    "drop": "drop table {}",
    "alter": "alter table {} add column mine int",
    "index": "create index on {} ((1))",
    "trigger": (
        "create trigger mine before update on {} for each row"
        " execute function suppress_redundant_updates_trigger()"
    ),
}
OTHERS = {
    "select nextval('arxiv_sequence')": {"arxiv_rw", "arxiv_sequence"},
    "select setval('arxiv_sequence', 1)": set(),
    "select nextval('gate_queue_place_seq')": {"arxiv_rw"},
    "select setval('gate_queue_place_seq', 1)": set(),
    "alter sequence arxiv_sequence restart": set(),
    "select * from find_api_keys(array[''::bytea])": {"arxiv_rw", "arxiv_ro"},
    "select name, beginning, revoked from api_keys": {"arxiv_rw"},
    "select digest from api_keys": set(),
    "select key from signing_keys": {"arxiv_rw", "arxiv_ro"},
    "select id from signing_keys": set(),
    "update signing_keys set key = ''": set(),
    "update api_keys set revoked = 1 where name = ''": {"arxiv_rw"},
    "insert into api_keys (revoked) select null where false": set(),
    "update api_keys set digest = ''": set(),
    "update api_keys set quota = 1": set(),
    "select 1 from api_keys where digest = ''": set(),
    "create table mine (x int)": set(),
    "create temporary table mine (x int)": set(),
    "create schema mine": set(),
    "create function mine() returns int language sql return 1": set(),
    "create language mine handler plpgsql_call_handler": set(),
    "create database mine": set(),
    "create role mine": set(),
    "alter role arxiv_rw superuser": set(),
    "set role postgres": set(),
    "select rolpassword from pg_authid": set(),
    "select pg_read_file('/etc/passwd')": set(),
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'": set(),
    "copy migrations to program 'true'": set(),
    "copy migrations to '/tmp/x'": set(),
    "alter system set fsync = off": set(),
    "checkpoint": set(),
}


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def role_conn(database: str, db: psycopg.Connection, role: str) -> Iterator[psycopg.Connection]:
    """A connection of the role; privileges on a database are not copied from its template."""
    name = Identifier(db.info.dbname)
    db.execute(SQL("revoke all on database {} from public").format(name))
    db.execute(SQL("grant connect on database {} to {}").format(name, Identifier(role)))
    with psycopg.connect(make_conninfo(database, user=role), autocommit=True) as conn:
        yield conn


def is_allowed(conn: psycopg.Connection, statement: str) -> bool:
    try:
        conn.execute(statement.encode())
    except (errors.InsufficientPrivilege, errors.FeatureNotSupported):
        return False
    return True


def test_privileges_are_listed_for_every_table(db: psycopg.Connection) -> None:
    found = db.execute(
        "select relname from pg_class where relkind in ('r', 'v', 'm', 'p', 'f')"
        " and relnamespace = 'public'::regnamespace"
    ).fetchall()

    assert {name for (name,) in found} == set(TABLES)


def test_role_has_the_listed_privileges_on_tables(
    role_conn: psycopg.Connection, db: psycopg.Connection, role: str
) -> None:
    for table, privileges in TABLES.items():
        first = db.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and attidentity = '' and attgenerated = '' order by attnum limit 1",
            [table],
        ).fetchone()
        assert first
        listed = set(privileges.get(role, "").split())
        for action, statement in ON_TABLES.items():
            allowed = is_allowed(
                role_conn, statement.replace("{}", table, 1).replace("{}", first[0])
            )
            assert allowed is (action in listed), (table, action)


@pytest.mark.parametrize("statement", OTHERS)
def test_role_has_no_other_privileges(
    role_conn: psycopg.Connection, role: str, statement: str
) -> None:
    assert is_allowed(role_conn, statement) is (role in OTHERS[statement])


def test_only_find_api_keys_runs_as_its_owner(
    db: psycopg.Connection,
) -> None:
    found = db.execute(
        "select proname, has_function_privilege('public', oid, 'execute'), proconfig"
        " from pg_proc where pronamespace = 'public'::regnamespace and prosecdef"
    ).fetchall()

    assert found == [("find_api_keys", False, ["search_path=public, pg_temp"])]
