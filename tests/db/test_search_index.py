"""The search index of a machine equals the table `papers`, whatever happens to either."""

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from signal import SIGKILL
from time import monotonic, sleep, time

import psycopg
import pytest
import tantivy
from msgspec import structs
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service import embedded_postgres
from service.cli.index import DIFFERS, run_index
from service.db import migrations
from service.db.pool import DatabasePools
from service.search_index import indexer as indexer_module
from service.search_index import state, synced_index
from service.search_index.indexer import Indexer
from service.search_index.schema import open_index
from service.settings import Settings
from tests.support.haproxy import pgbouncer
from tests.support.indexing import is_indexed, papers_are_indexed, wait_until_indexed
from tests.support.process import ROOT, run_command, service
from tests.support.replica import Replica, copy_of, run

INSERT = (
    "insert into papers (arxiv_id, version, timestamp, first_timestamp, title, authors)"
    " values (%s, %s, 1, %s, %s, '{Emmy Noether}')"
)
MANY = (
    "insert into papers (arxiv_id, version, timestamp, first_timestamp, title, authors)"
    " select '2101.' || n, 1, 1, 1, 'Paper ' || n, '{}' from generate_series(%s::int, %s) as n"
)
SEARCHABLE_WITHIN = 2.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@asynccontextmanager
async def index(url: str, folder: Path, read_delay: float = 0) -> AsyncIterator[Indexer]:
    """Run an indexer that reads as the role of readers."""
    async with (
        DatabasePools(make_conninfo(url, user="arxiv_ro")) as pools,
        Indexer(pools, folder, read_delay) as indexer,
    ):
        yield indexer


def add(db: psycopg.Connection, arxiv_id: str, title: str = "A title", version: int = 1) -> None:
    db.execute(INSERT, [arxiv_id, version, 1, title])


def find(folder: Path, word: str) -> set[tuple[str, int]]:
    """The ids and versions of indexed papers with this word in their title."""
    current = state.read_state(folder)
    if current is None:
        return set()
    opened = open_index(folder / current.directory)
    searcher = opened.searcher()
    hits = searcher.search(tantivy.Query.term_query(opened.schema, "title", word), 100).hits
    documents = [searcher.doc(address) for _, address in hits]
    return {(each["arxiv_id"][0], each["version"][0]) for each in documents}


async def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.02)


async def test_new_and_changed_papers_are_searchable_within_two_seconds(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    times = []
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        for number in range(5):
            add(db, "2101.00001", f"number{number}", version=number + 1)
            added = monotonic()
            await wait_for(partial(find, folder, f"number{number}"))
            times.append(monotonic() - added)
        db.execute("update papers set title = 'Changed' where version = 3")
        await wait_for(partial(find, folder, "changed"))

    assert min(times) < SEARCHABLE_WITHIN
    assert find(folder, "number2") == set()
    assert is_indexed(database, folder)


async def test_an_index_built_from_papers_of_the_previous_release_is_complete(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    db.execute("alter table papers disable trigger papers_changed")
    db.execute(MANY, [10_000, 14_999])
    add(db, "2101.10000", version=7)
    db.execute("alter table papers enable always trigger papers_changed")

    async with index(database, folder):
        await papers_are_indexed(database, folder)
        db.execute("update papers set title = 'Later' where arxiv_id = '2101.12345'")
        await wait_for(lambda: find(folder, "later") == {("2101.12345", 1)})

    assert is_indexed(database, folder)


async def test_transactions_that_commit_in_another_order_are_not_missed(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    async with index(database, folder):
        with psycopg.connect(database) as first, psycopg.connect(database) as second:
            add(first, "2101.00001", "first")
            add(second, "2101.00002", "second")
            second.commit()
            add(db, "2101.00003", "third")
            await wait_for(lambda: bool(find(folder, "third") and find(folder, "second")))
            first.commit()
            await wait_for(partial(find, folder, "first"))
        await papers_are_indexed(database, folder)


async def test_an_open_transaction_delays_nothing_and_repeats_nothing(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        with psycopg.connect(database) as other:
            other.execute("insert into migrations values ('unfinished')")
            for number in range(3):
                add(db, f"2101.0000{number}", f"word{number}")
                await wait_for(partial(find, folder, f"word{number}"))
            for _ in range(2):  # the first may have begun before
                now = time()
                await wait_for(lambda now=now: (state.read_sync_time(folder) or 0) > now)  # type: ignore[misc]
            generation = state.read_generation(folder)
            await asyncio.sleep(5 * indexer_module.SYNC_INTERVAL)
            assert state.read_generation(folder) == generation
            other.rollback()


async def test_more_changes_than_one_read_returns_are_all_indexed(
    database: str,
    db: psycopg.Connection,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synced_index, "BATCH", 50)
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        db.execute(MANY, [10_000, 10_499])
        db.execute("update papers set version = 2 where arxiv_id < '2101.10300'")
        await papers_are_indexed(database, folder)


async def test_versions_of_one_paper_are_kept_together_in_a_build(
    database: str, db: psycopg.Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_module, "BATCH", 10)
    for paper in range(10):
        for version in range(1, 8):
            add(db, f"2101.0000{paper}", version=version)
    async with index(database, folder):
        await papers_are_indexed(database, folder)

    current = state.read_state(folder)
    assert current
    opened = open_index(folder / current.directory)
    query = tantivy.Query.term_query(opened.schema, "superseded", 1)
    assert opened.searcher().search(query, 1).count == 60  # type: ignore[attr-defined]


async def test_inserts_with_a_value_of_another_server_are_not_missed(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        db.execute(
            "insert into papers (arxiv_id, version, timestamp, title, authors, changed)"
            " values ('2101.00001', 1, 1, 'Earlier', '{}', '3'),"
            " ('2101.00002', 1, 1, 'Later', '{}', '30000000')"
        )
        await papers_are_indexed(database, folder)
        assert find(folder, "earlier")
        assert find(folder, "later")


@pytest.mark.parametrize("is_built_later", [False, True])
async def test_papers_appear_after_the_read_delay(
    database: str,
    db: psycopg.Connection,
    folder: Path,
    is_built_later: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def insert() -> None:
        add(db, "2101.00001", "old")
        db.execute(INSERT, ["2101.00001", 2, int(time()), "new"])
        db.execute(INSERT, ["2101.00002", 1, int(time()) + 100_000_000, "future"])

    if is_built_later:
        db.execute("alter table papers disable trigger papers_changed")
        await insert()
    async with index(database, folder, 4):
        await wait_for(lambda: state.read_state(folder) is not None)
        if not is_built_later:
            await insert()
        await wait_for(lambda: find(folder, "old") == {("2101.00001", 1)})
        assert not find(folder, "new")
    async with index(database, folder, 4):  # after a restart
        await wait_for(partial(find, folder, "new"))
        assert find(folder, "old")
        assert not find(folder, "future")
    # without a delay
    async with index(database, folder):
        await papers_are_indexed(database, folder)


async def test_papers_of_a_dump_restored_in_a_new_server_are_followed(
    database: str, db: psycopg.Connection, folder: Path, quick_path: Path
) -> None:
    """The transaction ids of the new server are lower than those in the dump."""
    db.execute(MANY, [10_000, 10_099])
    db.execute("alter table papers disable trigger papers_changed")
    db.execute("update papers set changed = (5000000 + right(arxiv_id, 2)::int)::text::xid8")
    db.execute("alter table papers enable always trigger papers_changed")
    async with index(database, folder):
        await wait_for(lambda: state.read_status(folder).papers == 100)
    dump = folder.parent / "dump"
    run(database, "pg_dump", "--format=custom", "--file", dump)
    with embedded_postgres.run_server(quick_path / "restored") as server:
        migrations.apply(server)  # creates the roles
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("create database restored")
        url = make_conninfo(server, dbname="restored")
        run(url, "pg_restore", "--dbname=restored", dump)
        async with index(url, folder):
            await papers_are_indexed(url, folder)
            with psycopg.connect(url, autocommit=True) as restored:
                restored.execute("update papers set title = 'X1' where arxiv_id = '2101.10007'")
                await wait_for(partial(find, folder, "x1"))
                # as if the server had reached the numbers in the dump
                restored.execute("alter table papers disable trigger papers_changed")
                restored.execute(
                    "update papers set changed = (pg_current_xact_id()::text::bigint"
                    " + right(arxiv_id, 2)::int % 10)::text::xid8"
                )
                restored.execute("alter table papers enable always trigger papers_changed")
                for number in range(20):
                    restored.execute(
                        "update papers set title = %s where arxiv_id = '2101.10008'", [f"y{number}"]
                    )
                await wait_for(partial(find, folder, "y19"))
            await papers_are_indexed(url, folder)


@pytest.fixture(scope="module")
def primary(server: str, template: str, quick_path: Path) -> Iterator[Replica]:
    """A server of this module, whose standbys can be promoted."""
    with copy_of(server, quick_path / "index-primary") as copied:
        name = Identifier(template)
        copied.run(SQL("create database papers template {}").format(name).as_string())
        copied.url = make_conninfo(copied.url, dbname="papers")
        yield copied


def execute(server: Replica, statement: str, *values: object) -> None:
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute(statement.encode(), values)


async def is_replayed(standby: Replica, title: str) -> None:
    """Wait until a standby has a paper, which takes long on a busy machine."""
    await asyncio.to_thread(standby.wait_for, f"select from papers where title = '{title}'")


async def test_an_index_that_is_read_from_a_standby_follows_the_primary(
    primary: Replica, quick_path: Path, folder: Path
) -> None:
    with copy_of(primary.url, quick_path / "index-standby", "-R") as standby:
        async with index(standby.url, folder):
            await wait_for(lambda: state.read_state(folder) is not None)
            with psycopg.connect(primary.url) as open_transaction:
                open_transaction.execute(INSERT, ["2201.00001", 1, 1, "open"])
                execute(primary, INSERT, "2201.00002", 1, 1, "committed")
                await is_replayed(standby, "committed")
                await wait_for(partial(find, folder, "committed"))
                open_transaction.commit()
            await is_replayed(standby, "open")
            await wait_for(partial(find, folder, "open"))
        # from the primary, which is ahead of the standby
        standby.run("select pg_wal_replay_pause()")
        execute(primary, INSERT, "2201.00003", 1, 1, "ahead")
        async with index(primary.url, folder):
            await papers_are_indexed(primary.url, folder)
        async with index(standby.url, folder):
            await asyncio.sleep(1)
            assert find(folder, "ahead")
            execute(primary, INSERT, "2201.00004", 1, 1, "later")
            standby.run("select pg_wal_replay_resume()")
            await is_replayed(standby, "later")
            await wait_for(partial(find, folder, "later"))
        assert find(folder, "ahead")


async def test_an_index_is_repaired_after_a_failover_that_lost_papers(
    primary: Replica, quick_path: Path, folder: Path
) -> None:
    execute(primary, "delete from papers")
    execute(primary, MANY, 20_000, 20_099)
    with copy_of(primary.url, quick_path / "index-next", "-R") as standby:
        standby.wait_for("select from papers where arxiv_id = '2101.20099'")
        standby.run("alter system set primary_conninfo = ''")
        standby.run("select pg_reload_conf()")
        primary.wait_for("select where not exists (select from pg_stat_replication)")
        execute(primary, INSERT, "2201.00001", 1, 1, "lost")
        execute(primary, "update papers set title = 'lost' where arxiv_id = '2101.20001'")
        async with index(primary.url, folder):
            await papers_are_indexed(primary.url, folder)
        directory = read_directory(folder)

        standby.promote()
        standby.wait_for("select where not pg_is_in_recovery()")
        for number in range(10):
            execute(standby, "update papers set title = %s where arxiv_id = '2101.20002'", number)
        async with index(standby.url, folder):
            await papers_are_indexed(standby.url, folder)

        assert find(folder, "lost") == set()
        assert read_directory(folder) == directory  # which served meanwhile


async def test_an_index_ahead_of_a_restored_backup_is_repaired(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    db.execute(MANY, [10_000, 10_099])
    async with index(database, folder):
        await papers_are_indexed(database, folder)
    current = state.read_state(folder)
    assert current
    db.execute("delete from papers where arxiv_id < '2101.10010'")  # which no reader can see
    state.write_state(folder, structs.replace(current, position=current.position + 1_000_000))

    async with index(database, folder):
        await papers_are_indexed(database, folder)

    assert read_directory(folder) == current.directory


def read_directory(folder: Path) -> str:
    current = state.read_state(folder)
    assert current
    return current.directory


async def test_an_index_of_another_database_is_built_again(
    database: str, db: psycopg.Connection, server: str, template: str, folder: Path
) -> None:
    from tests.conftest import copied  # noqa: PLC0415

    add(db, "2101.00001", "one")
    async with index(database, folder):
        await papers_are_indexed(database, folder)
    before = read_directory(folder)
    with copied(server, template) as other:
        async with index(other, folder):
            await papers_are_indexed(other, folder)

    assert find(folder, "one") == set()
    assert not (folder / before).exists()


async def test_an_index_of_another_format_is_not_used_and_built_again(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    add(db, "2101.00001", "one")
    async with index(database, folder):
        await papers_are_indexed(database, folder)
    content = json.loads((folder / state.STATE).read_text())
    (folder / state.STATE).write_text(json.dumps(content | {"format": content["format"] + 1}))

    assert not state.read_status(folder).is_usable
    async with index(database, folder):
        await papers_are_indexed(database, folder)
    assert read_directory(folder) != content["directory"]


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scramble(path: Path) -> None:
    path.write_bytes(b'{"x": "\xff')


def damage_one(folder: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    damage(next(folder.glob(pattern)))


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        *(("*/meta.json", damage) for damage in (delete, truncate, scramble)),
        *(("state.json", damage) for damage in (delete, truncate, scramble)),
        *((f"*/*.{kind}", delete) for kind in ("term", "idx", "store", "fast", "fieldnorm")),
        *((f"*/*.{kind}", truncate) for kind in ("term", "idx", "pos", "store", "fast")),
        ("*/.managed.json", scramble),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_damaged_index_is_built_again(
    database: str,
    db: psycopg.Connection,
    folder: Path,
    pattern: str,
    damage: Callable[[Path], None],
) -> None:
    db.execute(MANY, [10_000, 10_099])
    async with index(database, folder):
        await papers_are_indexed(database, folder)
    before = read_directory(folder)
    damage_one(folder, pattern, damage)

    async with index(database, folder):
        await wait_for(lambda: state.read_state(folder) and read_directory(folder) != before)
        await papers_are_indexed(database, folder)

    assert not (folder / before).exists()


async def test_damage_that_a_reader_reports_is_repaired(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    add(db, "2101.00001")
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        before = read_directory(folder)
        state.discard_state(folder, "another directory")
        assert read_directory(folder) == before
        state.discard_state(folder, before)
        await papers_are_indexed(database, folder)
        assert read_directory(folder) != before


async def test_the_old_index_serves_and_is_updated_while_a_new_one_is_built(
    database: str, db: psycopg.Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_module, "BATCH", 20)
    monkeypatch.setattr(indexer_module, "PROGRESS_INTERVAL", 0)
    db.execute(MANY, [10_000, 10_999])
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        before = read_directory(folder)
        state.request_rebuild(folder)
        await wait_for(lambda: state.read_progress(folder) is not None)
        add(db, "2101.00001", "meanwhile")
        is_old = set()
        while read_directory(folder) == before or state.read_progress(folder):
            if find(folder, "meanwhile"):
                is_old.add(read_directory(folder) == before)
            await asyncio.sleep(0.001)
        assert is_old >= {True}
        await papers_are_indexed(database, folder)


def create_environment(database: str, folder: Path) -> dict[str, str]:
    return os.environ | {
        "ARXIV_DATABASE_URL": make_conninfo(database, user="arxiv_rw"),
        "ARXIV_INDEX_DIR": str(folder),
        "ARXIV_LOG_LEVEL": "NOTICE",
    }


def test_one_of_two_services_indexes_and_the_other_takes_over(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    add(db, "2101.00001")
    environment = create_environment(database, folder)
    with service(environment) as first:
        first.url()
        wait_until_indexed(database, folder)
        with service(environment) as second:
            second.url()
            sleep(1)
            assert "building" in first.output
            first.end(SIGKILL)
            add(db, "2101.00002")
            wait_until_indexed(database, folder)
            assert "building" not in second.output


@pytest.mark.thorough
def test_kills_at_any_moment_leave_an_index_that_is_completed(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    db.execute(MANY, [10_000, 39_999])
    moments = random.Random(7)  # noqa: S311 - the same in every run
    environment = create_environment(database, folder)
    command = [sys.executable, "-m", "service", "index"]
    for attempt in range(8):
        db.execute("update papers set title = title || 'x' where arxiv_id < '2101.13'")
        process = subprocess.Popen(
            [*command, "--rebuild"] if attempt > 4 else command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + 60
        while monotonic() < deadline and not (folder / state.LOCK).exists():
            sleep(0.01)
        sleep(moments.uniform(0, 1.2) + 0.6 * (attempt > 0))
        process.kill()
        process.wait()

    done = run_command(environment, "index", "--verify")

    assert (done.returncode, done.stderr) == (0, "")
    assert is_indexed(database, folder)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [read_directory(folder)]


def test_an_error_of_the_disk_is_explained_and_repaired_later(
    database: str, db: psycopg.Connection, folder: Path
) -> None:
    db.execute(MANY, [10_000, 10_999])
    environment = create_environment(database, folder)

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = subprocess.run(
        [sys.executable, "-m", "service", "index"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_files,
    )

    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert "File too large" in done.stderr
    assert "raise the limit" in done.stderr
    assert run_command(environment, "index", "--verify").returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little space."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))


async def test_a_full_disk_is_reported_and_affects_only_the_index(
    database: str, db: psycopg.Connection, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_disk / "index"
    add(db, "2101.00001", "one")
    async with index(database, folder) as indexer:
        await papers_are_indexed(database, folder)
        fill(small_disk)
        add(db, "2101.00002", "two")
        await wait_for(lambda: indexer.status.state == "failed")
        assert "No space left on device" in str(indexer.status.reason)
        assert "free space" in str(indexer.status.reason)
        assert str(folder) in str(indexer.status.reason)
        assert indexer.status.is_usable
        assert find(folder, "one")
        await asyncio.sleep(2)
        assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
        (small_disk / "filler").unlink()
        await papers_are_indexed(database, folder)
        await wait_for(lambda: indexer.status.state == "ready")


async def test_a_read_only_directory_is_reported(
    database: str, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remount(small_disk, "ro")
    folder = small_disk / "index"
    async with index(database, folder) as indexer:
        await wait_for(lambda: indexer.status.state == "failed")
        assert "Read-only file system" in str(indexer.status.reason)
        assert not indexer.status.is_usable
        remount(small_disk, "rw")
        await papers_are_indexed(database, folder)
        await wait_for(lambda: indexer.status.state == "ready")
    assert [each.levelname for each in caplog.records if each.levelname == "ERROR"] == ["ERROR"]


async def test_a_file_in_place_of_the_directory_is_reported(database: str) -> None:
    folder = Path(__file__)
    async with index(database, folder) as indexer:
        await wait_for(lambda: indexer.status.state == "failed")
        assert "ARXIV_INDEX_DIR" in str(indexer.status.reason)


async def test_an_unavailable_database_is_reported_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with index("host=127.0.0.1 port=9 dbname=x", folder) as indexer:
        await asyncio.sleep(8)
        assert indexer.status.state == "building"
    waits = [each.message for each in caplog.records if "search index waits" in each.message]
    assert len(waits) == 1


async def test_an_index_is_built_and_updated_through_pgbouncer(
    database: str, db: psycopg.Connection, folder: Path, tmp_path: Path
) -> None:
    db.execute(MANY, [10_000, 10_099])
    with pgbouncer(tmp_path, database) as url:
        async with index(make_conninfo(url, dbname="arxiv_ro"), folder):
            await papers_are_indexed(database, folder)
            add(db, "2101.00001", "new")
            await papers_are_indexed(database, folder)


async def test_verification_lists_differences_and_a_rebuild_repairs_them(
    database: str,
    db: psycopg.Connection,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_module("service.cli.index"), "GRACE_SECONDS", 0)
    settings = Settings(
        database_url=make_conninfo(database, user="arxiv_rw"), index_dir=str(folder)
    )
    db.execute(MANY, [10_000, 10_099])
    await run_index(settings, rebuild=False, verify=True)
    assert "agrees" in capsys.readouterr().out
    # unlike all changes that services make
    db.execute("alter table papers disable trigger papers_changed")
    db.execute("delete from papers where arxiv_id = '2101.10003'")
    db.execute("update papers set changed = '3' where arxiv_id = '2101.10005'")
    db.execute(
        "insert into papers (arxiv_id, version, timestamp, title, authors)"
        " select '2101.2', n, 1, 'x', '{}' from generate_series(1, 30) as n"
    )

    with pytest.raises(SystemExit) as error:
        await run_index(settings, rebuild=False, verify=True)

    assert error.value.code == DIFFERS
    lines = capsys.readouterr().out.splitlines()
    assert "32 versions of papers differ; use --rebuild" in lines
    assert "  2101.10003v1 is not in PostgreSQL" in lines
    assert "  2101.10005v1 has another state in the index" in lines
    assert "  2101.2v1 is not in the index" in lines
    assert "  and 12 more" in lines
    await run_index(settings, rebuild=True, verify=True)
    assert "agrees" in capsys.readouterr().out


async def test_the_command_makes_a_running_service_rebuild_the_index(
    database: str, db: psycopg.Connection, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db.execute(MANY, [10_000, 10_099])
    settings = Settings(
        database_url=make_conninfo(database, user="arxiv_rw"), index_dir=str(folder)
    )
    async with index(database, folder):
        await papers_are_indexed(database, folder)
        before = read_directory(folder)
        await run_index(settings, rebuild=False, verify=False)
        assert read_directory(folder) == before
        await run_index(settings, rebuild=True, verify=False)
        assert read_directory(folder) != before
    output = capsys.readouterr().out
    assert f"directory  {folder}" in output
    assert "papers     100," in output
    assert "complete" in output


@pytest.fixture
def previous(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database before migration 0018, with 1,000 papers; its connection string."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("create database before_index")
        url = make_conninfo(server, dbname="before_index")
        files = [path for path in migrations.list_files() if path.name < "0018"]
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "list_files", lambda: files)
            migrations.apply(url)
        with psycopg.connect(url) as conn:
            conn.execute(MANY, [10_000, 10_999])
        yield url
        admin.execute("drop database before_index with (force)")


def test_the_migration_waits_without_blocking_readers_and_writers(
    previous: str,
) -> None:
    with (
        psycopg.connect(previous) as reader,
        psycopg.connect(previous, autocommit=True) as other,
        ThreadPoolExecutor() as pool,
    ):
        reader.execute("select count(*) from papers")  # keeps a lock
        other.execute("set statement_timeout = '20s'")
        migrating = pool.submit(migrations.apply, previous)
        longest, end = 0.0, monotonic() + 4
        while monotonic() < end:
            started = monotonic()
            other.execute("select count(*) from papers where arxiv_id = '2101.10500'")
            other.execute("update papers set title = 'x' where arxiv_id = '2101.10500'")
            longest = max(longest, monotonic() - started)
        assert not migrating.done()
        assert longest < 5
        reader.commit()
        assert "0018_search_index" in migrating.result(120)


def test_the_migration_rewrites_no_row(previous: str) -> None:
    places = "select arxiv_id, ctid::text from papers order by 1"
    with psycopg.connect(previous) as conn:
        before = conn.execute(places).fetchall()
    migrations.apply(previous)
    with psycopg.connect(previous) as conn:
        assert conn.execute(places).fetchall() == before
        assert conn.execute("select from papers where changed is not null").fetchall() == []


def test_an_interrupted_migration_is_completed(previous: str, tmp_path: Path) -> None:
    [path] = [path for path in migrations.list_files() if path.name.startswith("0018")]
    beginning, separator, _ = path.read_text().partition("    insert into migrations")
    assert separator
    (tmp_path / path.name).write_text(f"{beginning}\\endif\n\\quit\n")
    with pytest.MonkeyPatch.context() as patch:
        files = [file for file in migrations.list_files() if file.name < "0018"]
        patch.setattr(migrations, "list_files", lambda: [*files, tmp_path / path.name])
        migrations.apply(previous)
    with psycopg.connect(previous) as conn:
        conn.execute(
            "update pg_index set indisvalid = false where indexrelid = 'papers_changed'::regclass"
        )

    assert path.stem in migrations.apply(previous)

    with psycopg.connect(previous) as conn:
        valid = conn.execute(
            "select indisvalid from pg_index where indexrelid = 'papers_changed'::regclass"
        )
        assert valid.fetchall() == [(True,)]
