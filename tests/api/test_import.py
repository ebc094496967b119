"""The import of snapshots: formats, interruptions, unreadable lines, wrong files."""

# ruff: noqa: ASYNC240, S311 - tests may read files; the numbers are not for security

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from service.context import create_pools
from service.db.mirror import MirrorStore
from service.errors import DatabaseTimeout, DatabaseUnavailable, ImportFailed, InvalidParameter
from service.mirror import snapshot_blocks, snapshot_file
from service.mirror.rejected_lines import RejectedLines
from service.mirror.snapshot_file import open_snapshot
from service.mirror.snapshot_import import ImportProgress, SnapshotImport
from service.settings import Settings
from tests.support.mirror_data import SNAPSHOTS, needs_data
from tests.support.process import ROOT, run_command

Settle = Callable[..., Settings]


def create_line(number: int, **changes: Any) -> bytes:
    """A line of a snapshot."""
    fields = {
        "id": f"2101.{number:05}",
        "submitter": "Ada Example",
        "authors": "Ada Example and Bo Sample",
        "title": f"Paper {number}",
        "comments": "9 pages",
        "journal-ref": None,
        "doi": None,
        "report-no": f"R-{number}",
        "categories": "cs.SE cs.LO",
        "license": None,
        "abstract": f"  We test number {number}.\n",
        "versions": [{"version": "v1", "created": "Fri, 1 Jan 2021 10:00:00 GMT"}],
        "update_date": "2021-02-03",
        "authors_parsed": [["Example", "Ada", ""], ["Sample", "Bo", ""]],
    }
    return json.dumps(fields | changes).encode()


def create_lines(count: int) -> list[bytes]:
    return [create_line(number) for number in range(1, count + 1)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Factory of files."""

    def make(lines: list[bytes], name: str = "snapshot.json", *, end: bytes = b"\n") -> Path:
        path = tmp_path / name
        path.write_bytes(b"\n".join(lines) + end)
        return path

    return make


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few lines, so that small files have several."""
    monkeypatch.setattr(snapshot_file, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(snapshot_file, "_PIECE_BYTES", 1000)


@asynccontextmanager
async def opened_import(
    settings: Settings, path: Path, *, restart: bool = False, rejected: str = "rejected"
) -> AsyncIterator[SnapshotImport]:
    """An import that has been started."""
    rejected_path = Path(f"{path}.{rejected}")
    with open_snapshot(str(path)) as file, RejectedLines(rejected_path) as lines:
        async with create_pools(settings) as pools:
            importing = SnapshotImport(MirrorStore(pools), file, lines)
            await importing.start(restart=restart)
            yield importing


async def import_file(settings: Settings, path: Path, *, restart: bool = False) -> ImportProgress:
    """Import a file in this process; the progress at the end."""
    async with opened_import(settings, path, restart=restart) as importing:
        return [progress async for progress in importing.run()][-1]


def read_tables(db: psycopg.Connection) -> list[Any]:
    """All rows of papers and their details."""
    papers = "select to_jsonb(papers) - 'first_timestamp' - 'changed' from papers order by 1"
    details = "select to_jsonb(paper_details) from paper_details order by 1"
    return [db.execute(statement).fetchall() for statement in (papers, details)]


def clear_tables(db: psycopg.Connection) -> None:
    db.execute("truncate papers, paper_details, mirror_imports")


def count_papers(db: psycopg.Connection) -> int:
    [(number,)] = db.execute("select count(*) from papers").fetchall()
    return int(number)


def pack_zip(path: Path, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    packed = path.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.write(path, path.name)
    return packed


def pack_gzip(path: Path) -> Path:
    packed = Path(f"{path}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


@needs_data
@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
async def test_real_snapshot_is_stored_completely(
    settings: Settle, db: psycopg.Connection, path: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(path, tmp_path / "snapshot.json"))
    lines = copy.read_bytes().splitlines()
    done = await import_file(settings(), copy)

    assert (done.state.lines, done.state.rejected) == (len(lines), 0)
    assert done.papers == count_papers(db) == len({json.loads(line)["id"] for line in lines})
    stored: dict[str, Any] = dict(
        db.execute("select arxiv_id, versions from paper_details").fetchall()
    )
    for line in lines:
        data = json.loads(line)
        assert len(stored[data["id"]]) == len(data["versions"])
    assert not Path(f"{copy}.rejected").exists()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda path: path, id="plain"),
        pytest.param(pack_gzip, id="gzip"),
        pytest.param(pack_zip, id="zip"),
        pytest.param(lambda path: pack_zip(path, compression=zipfile.ZIP_STORED), id="stored zip"),
    ],
)
async def test_every_format_results_in_the_same_rows(
    settings: Settle, db: psycopg.Connection, write: Any, pack: Callable[[Path], Path]
) -> None:
    path = write(create_lines(60))
    await import_file(settings(), path)
    expected = read_tables(db)
    clear_tables(db)
    done = await import_file(settings(), pack(path))

    assert done.papers == 60
    assert read_tables(db) == expected


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("pack", [lambda path: path, pack_gzip, pack_zip])
async def test_stopped_import_resumes_where_it_stopped(
    settings: Settle, db: psycopg.Connection, write: Any, pack: Callable[[Path], Path]
) -> None:
    lines = create_lines(60)
    lines[10] = lines[50] = b"{broken"
    path = pack(write(lines))
    await import_file(settings(), path)
    expected = read_tables(db), Path(f"{path}.rejected").read_bytes()
    clear_tables(db)

    stops = 0
    for _ in range(100):
        async with opened_import(settings(), path) as importing:
            async for progress in importing.run():
                if progress.state.finished:
                    break
                stops += 1
                break
        if progress.state.finished:
            break
    assert stops > 3
    assert progress.state.rejected == 2
    assert (read_tables(db), Path(f"{path}.rejected").read_bytes()) == expected


@pytest.mark.usefixtures("small_blocks")
async def test_file_that_was_replaced_meanwhile_is_imported_from_its_beginning(
    settings: Settle,
    db: psycopg.Connection,
    write: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_file, "_HEAD_BYTES", 80)
    path = write([*create_lines(9), b"junk", *create_lines(60)[9:]])
    async with opened_import(settings(), path) as importing:
        async for progress in importing.run():
            if progress.state.lines > 20:
                break
    newer = [create_line(n, title=f"Other {n}", update_date="2021-02-04") for n in range(1, 61)]
    write([newer[0], b"junk", *newer[1:]], path.name)
    async with opened_import(settings(), path) as importing:
        steps = [progress async for progress in importing.run()]

    assert steps[0].state.lines == 0
    assert (steps[-1].state.lines, steps[-1].state.rejected) == (61, 1)
    assert db.execute("select count(*) from papers where title ~ 'Other'").fetchone() == (60,)
    assert Path(f"{path}.rejected").read_bytes().startswith(b"# line 2: ")


class Pipe(BytesIO):
    """Content that can be read once."""

    def fileno(self) -> int:
        return os.pipe()[0]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("changed", [b"", b"Paper 35", b"Paper 3"])
def test_standard_input_resumes_only_the_same_file(
    monkeypatch: pytest.MonkeyPatch, changed: bytes
) -> None:
    monkeypatch.setattr(snapshot_file, "_HEAD_BYTES", 500)
    content = b"\n".join(create_lines(60))
    stop = list(read_pipe(content, 0, ""))[9]
    assert b"Paper 35" in content[: stop.end]
    other = content.replace(changed, changed.replace(b"Paper", b"Other")) if changed else content

    blocks = read_pipe(other, stop.end, stop.tail_digest)

    if changed:
        with pytest.raises(ImportFailed, match=r"has changed .* use --restart"):
            next(blocks)
    else:
        assert b"".join(block.data for block in blocks) == content[stop.end :]


def read_pipe(content: bytes, position: int, tail_digest: str) -> Iterator[snapshot_file.Block]:
    stream: Any = Pipe(content)
    return snapshot_file.SnapshotFile(stream, "-").read_blocks(position, tail_digest)


async def test_second_import_changes_nothing(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    path = write(create_lines(50))
    await import_file(settings(), path)
    before = db.execute("select array_agg((ctid, xmin) order by arxiv_id) from papers").fetchall()
    done = await import_file(settings(), path)

    assert (done.state.lines, done.papers) == (50, 0)
    assert done.state.finished
    after = db.execute("select array_agg((ctid, xmin) order by arxiv_id) from papers").fetchall()
    assert after == before


async def test_newer_data_is_kept_and_older_data_is_replaced(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    await import_file(settings(), write(create_lines(3), "old"))
    newer = create_line(2, title="Newer", update_date="2022-01-01")
    done = await import_file(settings(), write([newer], "new"))
    assert done.papers == 1
    done = await import_file(settings(), write([create_line(2, title="Older")], "older"))
    assert done.papers == 0
    titles = db.execute("select title from papers order by arxiv_id").fetchall()
    assert titles == [("Paper 1",), ("Newer",), ("Paper 3",)]


async def test_paper_in_several_lines_gets_its_newest_state(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    newer = create_line(1, title="Newer", update_date="2022-01-01")
    done = await import_file(settings(), write([create_line(1), newer, create_line(1)]))

    assert done.papers == 1
    assert db.execute("select title from papers").fetchall() == [("Newer",)]


UNREADABLE = {
    "no JSON": b"<html>",
    "truncated JSON": create_line(7)[:-30],
    "invalid UTF-8": create_line(7).replace(b"Paper", b"\xff\xfe"),
    "no id": create_line(7).replace(b'"id"', b'"name"'),
    "empty id": create_line(7, id=""),
    "impossible date": create_line(7, update_date="2021-02-30"),
    "no versions": create_line(7, versions=[]),
    "wrong type": create_line(7, title=["x"]),
    "array": b"[1, 2]",
    "NUL": create_line(7, title="a\0b"),
    "too long": b'{"id": "' + b"x" * (snapshot_file.MAX_LINE_BYTES + 2**20) + b'"}',
    "with a carriage return": b"junk\r",
}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
async def test_unreadable_line_is_reported_and_skipped(
    settings: Settle, db: psycopg.Connection, write: Any, bad: bytes
) -> None:
    lines = create_lines(20)
    lines[6] = bad
    path = write(lines)
    async with opened_import(settings(), path) as importing:
        found = [line async for progress in importing.run() for line in progress.rejected]

    assert [line.number for line in found] == [7]
    assert count_papers(db) == 19
    note, kept = Path(f"{path}.rejected").read_bytes().removesuffix(b"\n").split(b"\n", 1)
    assert note == f"# line 7: {found[0].reason}".encode()
    assert kept == bad or (len(kept) > snapshot_file.MAX_LINE_BYTES and bad.startswith(kept))


async def test_corrected_file_of_rejected_lines_can_be_imported(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    lines = create_lines(9)
    lines[3] = lines[3].replace(b"2021-02-03", b"2021-02-33")
    path = write([*lines, b"", b"  "])
    await import_file(settings(), path)
    rejected = Path(f"{path}.rejected")
    rejected.write_bytes(rejected.read_bytes().replace(b"2021-02-33", b"2021-02-03"))
    done = await import_file(settings(), rejected)

    assert (done.state.lines, done.state.rejected, done.papers) == (2, 0, 1)
    assert count_papers(db) == 9


async def test_record_that_postgresql_rejects_is_found_among_others(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    db.execute("alter table papers add check (title <> 'Paper 13' and title <> 'Paper 31')")
    path = write(create_lines(40))
    done = await import_file(settings(), path)

    assert (done.state.lines, done.state.rejected, done.papers) == (40, 2, 38)
    notes = Path(f"{path}.rejected").read_bytes().splitlines()[::2]
    assert [note.partition(b":")[0] for note in notes] == [b"# line 13", b"# line 31"]
    assert b"check constraint" in notes[0]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("pack", [pack_gzip, pack_zip])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
async def test_truncated_archive_is_stored_up_to_its_end(
    settings: Settle,
    db: psycopg.Connection,
    write: Any,
    pack: Callable[[Path], Path],
    part: float,
) -> None:
    # texts that can hardly be compressed
    texts = [Random(number).randbytes(300).hex() for number in range(60)]
    path = pack(write([create_line(n, abstract=text) for n, text in enumerate(texts)]))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(ImportFailed, match="truncated"):
        await import_file(settings(), path)

    assert abs(count_papers(db) - 60 * part) < 6
    assert db.execute("select finished, rejected from mirror_imports").fetchall() == [(None, 0)]


async def test_truncated_plain_file_is_stored_without_its_last_line(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    path = write(create_lines(9))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImportFailed, match="truncated: line 9 is incomplete"):
        await import_file(settings(), path)
    assert count_papers(db) == 8
    assert db.execute("select finished, rejected from mirror_imports").fetchall() == [(None, 0)]


async def test_last_line_needs_no_line_end(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    done = await import_file(settings(), write(create_lines(9), end=b""))
    assert (done.state.lines, count_papers(db)) == (9, 9)


async def test_damaged_gzip_file_is_reported(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    path = pack_gzip(write(create_lines(500)))
    data = bytearray(path.read_bytes())
    data[-6] ^= 255  # the checksum
    path.write_bytes(data)
    with pytest.raises(ImportFailed, match="damaged"):
        await import_file(settings(), path)
    assert count_papers(db) == 500


def zip_of(**members: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


WRONG_FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n \n", "contains no papers"),
    "html": (b"<!doctype html>\n<p>Sign in</p>\n" * 100, "is not a snapshot"),
    "short html": (b"<!doctype html>\n<p>Sign in</p>\n", "contains no papers"),
    "csv": (b"id,title\n1,x\n" * 200, "is not a snapshot"),
    "other JSON": (b'{"a": 1}\n' * 200, "is not a snapshot"),
    "indented JSON": (json.dumps([{"id": 1}] * 100, indent=1).encode(), "is not a snapshot"),
    "one long line": (b"x" * 70 * 2**20, "a line of over 64 MiB"),
    "binary": (bytes(range(256)) * 1000, "is not a snapshot"),
    "bzip2": (b"BZh91AY", "packed by bzip2"),
    "xz": (b"\xfd7zXZ\0\0", "packed by xz"),
    "zip of others": (zip_of(a=b"x", b=b"y"), "contains 2 files"),
    "zip of several": (zip_of(**{"a.json": b"x", "b.json": b"y"}), "2 of them .json"),
    "zip of another": (zip_of(**{"a.json": b"x\n" * 200}), "is not a snapshot"),
    "empty zip": (zip_of(), "contains 0 files"),
    "half a zip": (zip_of(**{"a.json": b"x"})[:20], "truncated"),
    "gzip of html": (gzip.compress(b"<p>x</p>\n" * 200), "is not a snapshot"),
    "no gzip": (b"\x1f\x8b" + b"x" * 100, "damaged"),
    "UTF-16": (b"\xff\xfe" + ("x\n" * 200).encode("utf-16-le"), "is not a snapshot"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
async def test_wrong_file_is_recognized(
    settings: Settle, db: psycopg.Connection, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(content)
    with pytest.raises(ImportFailed, match=message):
        await import_file(settings(), path)
    assert count_papers(db) == 0
    assert db.execute("select from mirror_imports where finished is not null").fetchall() == []


def test_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for name in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidParameter, match=str(name)), open_snapshot(str(name)):
            pass


def test_file_with_other_content_is_not_overwritten_by_rejected_lines(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(InvalidParameter, match="other content"):
        RejectedLines(path)
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("small_blocks")
async def test_second_process_with_the_same_file_is_told(
    settings: Settle, db: psycopg.Connection, write: Any
) -> None:
    path = write(create_lines(60))
    async with opened_import(settings(), path) as first:
        progress = [await anext(first.run())]
        with pytest.raises(InvalidParameter, match="another import writes"):
            await import_file(settings(), path)
        async with opened_import(settings(), path, rejected="elsewhere") as second:
            await anext(second.run())
            with pytest.raises(ImportFailed, match="another process"):
                progress += [each async for each in first.run()]
            done = [each async for each in second.run()]
    assert done[-1].state.finished
    assert count_papers(db) == 60


@pytest.fixture
def environment(database: str) -> dict[str, str]:
    return os.environ | {"ARXIV_DATABASE_URL": database, "COLUMNS": "160"}


def start_command(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "service", "import", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_command_prints_a_summary(environment: dict[str, str], write: Any) -> None:
    finished = run_command(environment, "import", str(write(create_lines(30))))

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout.startswith("30 lines; 30 papers new or changed, 0 lines rejected; ")
    assert " lines/s\n" in finished.stdout


def test_next_sync_continues_from_a_snapshot_but_not_from_a_part(
    environment: dict[str, str], write: Any
) -> None:
    path = str(write(create_lines(3)))
    finished = run_command(environment, "import", path, "--part")
    assert "the next sync does not continue from this part" in finished.stdout

    finished = run_command(environment, "import", path)
    assert "\nthe next sync continues with the changes of 2021-02-03\n" in finished.stdout
    assert "arXiv has more papers than this file" in finished.stdout
    assert "--part" in finished.stdout


def test_command_shows_the_first_rejected_lines(environment: dict[str, str], write: Any) -> None:
    path = write([create_line(1), *[b"junk \x1b[31m"] * 30])
    finished = run_command(environment, "import", str(path))

    assert finished.returncode == 1
    assert "31 lines; 1 papers new or changed, 30 lines rejected; " in finished.stdout
    lines = finished.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines[:20]] == [f"line {n}" for n in range(2, 22)]
    assert lines[20] == "further rejected lines are not shown"
    assert lines[21] == f"the rejected lines are in {path}.rejected"
    assert "\x1b" not in finished.stderr


def test_rejected_lines_are_written_to_another_path(
    environment: dict[str, str], write: Any, tmp_path: Path
) -> None:
    path, rejected = write([create_line(1), b"junk"]), tmp_path / "elsewhere"
    finished = run_command(environment, "import", str(path), "--rejected", str(rejected))

    assert finished.returncode == 1
    assert rejected.read_bytes().splitlines()[1:] == [b"junk"]
    finished = run_command(environment, "import", str(path), "--rejected", str(path))
    assert finished.returncode == 2
    assert "--rejected: this is the file to import" in finished.stderr


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_imported(
    environment: dict[str, str],
    db: psycopg.Connection,
    tmp_path: Path,
    pack: Callable[[bytes], bytes],
) -> None:
    process = start_command(environment, "-", "--rejected", str(tmp_path / "rejected"))
    output, errors = process.communicate(pack(b"\n".join(create_lines(40))))

    assert process.returncode == 0, errors
    assert output.startswith(b"40 lines;")
    assert count_papers(db) == 40


def test_zip_in_standard_input_is_explained(environment: dict[str, str], tmp_path: Path) -> None:
    process = start_command(environment, "-", "--rejected", str(tmp_path / "rejected"))
    _, errors = process.communicate(zip_of(**{"a.json": create_line(1)}))

    assert process.returncode == 1
    assert b"unzip -p FILE | arxiv-gateway import -" in errors


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "No such file"), (".", "Is a directory")]
)
def test_missing_file_is_an_invalid_argument(
    environment: dict[str, str], tmp_path: Path, name: str, message: str
) -> None:
    finished = run_command(environment, "import", str(tmp_path / name))
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def write_large_file(path: Path, count: int) -> None:
    rng = Random(1)
    with path.open("wb") as file:
        for number in range(count):
            text = " ".join(rng.choices(["lattice", "spin", "quantum", "proof", "graph"], k=150))
            bad = number % 3000 == 77
            line = create_line(number, abstract=text, id=f"{1501 + number // 40000}.{number:05}")
            file.write((line[:-20] if bad else line) + b"\n")


@pytest.mark.thorough
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_import_that_is_killed_at_any_time_resumes(
    environment: dict[str, str], db: psycopg.Connection, tmp_path: Path, *, compressed: bool
) -> None:
    path = tmp_path / "snapshot.json"
    write_large_file(path, 10_000)
    if compressed:
        path = pack_gzip(path)
    assert start_and_wait(environment, path) == 1
    expected = read_tables(db), Path(f"{path}.rejected").read_bytes()
    clear_tables(db)

    rng, resumed = Random(2), False
    for _ in range(5):
        process = start_command(environment, str(path))
        before = count_lines(db)
        while process.poll() is None and count_lines(db) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGINT]))
        _, errors = process.communicate()
        resumed = resumed or b"resuming at line " in errors
        assert b"Traceback" not in errors
    assert start_and_wait(environment, path) == 1
    assert resumed
    assert (read_tables(db), Path(f"{path}.rejected").read_bytes()) == expected


def count_lines(db: psycopg.Connection) -> int:
    """The lines of unfinished imports that are stored."""
    [(number,)] = db.execute(
        "select coalesce(sum(lines), 0) from mirror_imports where finished is null"
    ).fetchall()
    return int(number)


def start_and_wait(environment: dict[str, str], path: Path) -> int:
    return run_command(environment, "import", str(path)).returncode


@pytest.mark.usefixtures("small_blocks")
async def test_lost_connections_are_retried(
    settings: Settle, db: psycopg.Connection, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.backoff.Backoff.next_pause", lambda _: 0.01)
    path = write(create_lines(60))
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname ="
    end += " current_database() and pid <> pg_backend_pid()"
    async with opened_import(settings(), path) as importing:
        async for progress in importing.run():  # noqa: B007
            db.execute(end.encode())
    assert progress.state.finished
    assert (progress.papers, count_papers(db)) == (60, 60)


@pytest.mark.usefixtures("small_blocks")
async def test_commit_whose_confirmation_is_lost_is_not_an_error(
    settings: Settle, db: psycopg.Connection, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, failures = MirrorStore.save_rows, [True, False, True]

    async def save_and_fail(*arguments: Any) -> int:
        papers = await save(*arguments)
        if failures and failures.pop():
            raise DatabaseUnavailable("gone") from psycopg.OperationalError("gone")
        return papers

    monkeypatch.setattr(MirrorStore, "save_rows", save_and_fail)
    done = await import_file(settings(), write(create_lines(60)))
    assert not failures
    assert (done.papers, count_papers(db)) == (60, 60)


async def test_full_disk_is_reported_at_once(
    settings: Settle, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> int:
        raise DatabaseUnavailable("the disk is full") from psycopg.errors.DiskFull()

    monkeypatch.setattr(MirrorStore, "save_rows", fail)
    with pytest.raises(DatabaseUnavailable, match="full"):
        await import_file(settings(), write(create_lines(3)))


async def test_batch_that_takes_too_long_is_divided(
    settings: Settle, db: psycopg.Connection, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = MirrorStore.save_rows

    async def save_slowly(store: MirrorStore, rows: Any, *arguments: Any) -> int:
        if len(rows) > 7:
            raise DatabaseTimeout("too slow") from psycopg.errors.QueryCanceled()
        return await save(store, rows, *arguments)

    monkeypatch.setattr(MirrorStore, "save_rows", save_slowly)
    done = await import_file(settings(), write(create_lines(30)))
    assert (done.state.rejected, done.papers, count_papers(db)) == (0, 30, 30)


async def test_killed_worker_process_is_reported(
    settings: Settle, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_blocks, "__name__", "service.missing")
    with pytest.raises(ImportFailed, match="has ended"):
        await import_file(settings(), write(create_lines(3)))
