"""The SQL functions of migration 0013: new names, former names for one more version, inlining."""

import psycopg
import pytest

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
        ("normalize_text(title) = 'x'", "normalize_text"),
        ("contains_normalized(title, 'x')", "contains_normalized"),
        ("first_timestamp <= visible_until(60)", "visible_until"),
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
