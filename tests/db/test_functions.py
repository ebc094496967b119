"""The SQL functions: names, inlining, comparison of texts, and stored data after they change."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service.db import migrations

TEXT = "Zürich: AdS/CFT <x>, T. Œ"
CALLS = [
    ("fold", "unaccent_text", "%(text)s::text"),
    ("bare", "normalize_text", "%(text)s::text"),
    ("holds", "contains_normalized", "%(text)s::text, 'zurich'"),
    ("holds", "contains_normalized", "%(text)s::text, 'Basel'"),
    ("holds", "contains_normalized", "null::text, 'x'"),
    ("listed", "join_names", "array[%(text)s::text, 'B']"),
]


@pytest.mark.parametrize(("former", "name", "arguments"), CALLS)
def test_former_name_of_a_function_gives_the_same(
    db: psycopg.Connection, former: str, name: str, arguments: str
) -> None:
    statement = f"select {former}({arguments}) is not distinct from {name}({arguments})"
    cursor = psycopg.ClientCursor(db)

    assert cursor.execute(statement.encode(), {"text": TEXT}).fetchone() == (True,)


@pytest.mark.parametrize(
    ("condition", "function"),
    [
        ("holds(listed(authors), 'x')", "holds"),
        ("holds(listed(authors), 'x')", "listed"),
        ("fold(title) = 'x'", "fold"),
        ("bare(title) = 'x'", "bare"),
        ("unaccent_text(title) = 'x'", "unaccent_text"),
        ("unaccent_text(title) = 'x'", "strip_tex"),
        ("normalize_text(title) = 'x'", "normalize_text"),
        ("contains_normalized(title, 'x')", "contains_normalized"),
        ("first_timestamp <= visible_until(60)", "visible_until"),
        ("announced_type(title, source, categories, array['cs.AI']) = 'new'", "announced_type"),
    ],
)
def test_planner_inlines_the_function(
    db: psycopg.Connection, condition: str, function: str
) -> None:
    rows = db.execute(f"explain select from papers where {condition}".encode()).fetchall()

    assert f"{function}(" not in " ".join(row[0] for row in rows)


@pytest.mark.parametrize(
    ("read_delay", "expected"),
    [
        ("0", "9223372036854775807"),
        ("null", "9223372036854775807"),
        ("60", "floor(extract(epoch from now()) - 60)::bigint"),
        ("0.5", "floor(extract(epoch from now()) - 0.5)::bigint"),
    ],
)
def test_rows_are_visible_until_the_read_delay(
    db: psycopg.Connection, read_delay: str, expected: str
) -> None:
    row = db.execute(f"select visible_until({read_delay}) = {expected}".encode()).fetchone()

    assert row == (True,)


@pytest.mark.parametrize(
    ("text", "part", "expected"),
    [
        (r"On K{\"a}hler metrics", "kähler metrics", True),
        (r"On K{\"a}hler metrics", r"K\"ahler", True),
        (r"On K{\"a}hler metrics", "Köhler", False),
        (r"of Wei{\ss} and Weiß", "weiss and weiss", True),
        (r"the \emph{weak} limit", "the weak limit", True),
        ("soft\u00adhyphen", "softhyphen", True),
        ("soft hyphen", "soft\u200bhyphen", False),
        (None, "x", None),
    ],
)
def test_texts_are_compared_without_tex_and_invisible_characters(
    db: psycopg.Connection, text: str | None, part: str, *, expected: bool | None
) -> None:
    row = db.execute("select contains_normalized(%s::text, %s)", [text, part]).fetchone()

    assert row == (expected,)


FOUND = """
select count(*) from results
where result_words(title, author, journal) @@ to_tsquery('arxiv', 'kahler & softhyphen')
"""
STORED = 'K{\\"a}hler and soft\u00adhyphen'


@pytest.fixture
def previous(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database before migration 0015, with 2,500 results and papers; its connection string."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(Identifier("previous")))
        url = make_conninfo(server, dbname="previous")
        files = [path for path in migrations.list_files() if path.name < "0014"]
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "list_files", lambda: files)
            migrations.apply(url)
        with psycopg.connect(url) as conn:
            conn.execute(
                "insert into results (query_id, timestamp, result_number, author, title)"
                " select 1, 1, n, '', %s from generate_series(1, 2500) as n",
                [STORED],
            )
            conn.execute(
                "insert into papers (arxiv_id, version, timestamp, title, authors)"
                " select 'x' || n, 1, 1, %s, '{}' from generate_series(1, 2500) as n",
                [STORED],
            )
        yield url
        admin.execute("drop database previous with (force)")


def count_found(url: str) -> int:
    """The results that are found by their index."""
    with psycopg.connect(url) as conn:
        conn.execute("set enable_seqscan = off")
        [count] = conn.execute(FOUND).fetchone() or [0]
        return int(count)


def test_stored_rows_are_found_after_the_migration(previous: str) -> None:
    assert count_found(previous) == 0

    migrations.apply(previous)

    assert count_found(previous) == 2500


def test_interrupted_migration_is_completed(previous: str, tmp_path: Path) -> None:
    [path] = [path for path in migrations.list_files() if path.name.startswith("0015")]
    beginning, separator, _ = path.read_text().partition("    -- what an interrupted attempt")
    assert separator
    (tmp_path / path.name).write_text(f"{beginning}\\endif\n\\quit\n")
    files = [file for file in migrations.list_files() if file.name < "0015"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "list_files", lambda: [*files, tmp_path / path.name])
        migrations.apply(previous)
    with psycopg.connect(previous) as conn:
        conn.execute(
            "update pg_index set indisvalid = false where indexrelid = 'results_words'::regclass"
        )
        conn.execute("alter index results_words rename to results_words_ccnew")
        conn.execute(
            "create index results_words on results using gin (result_words(title, author, journal))"
        )

    assert path.stem in migrations.apply(previous)

    assert count_found(previous) == 2500
    with psycopg.connect(previous) as conn:
        left = conn.execute("select from pg_class where relname like 'results_words_cc%'")
        assert left.fetchall() == []
