"""PostgreSQL accepts every statement as it is written, and no other is sent."""

import ast
import re
from pathlib import Path

import psycopg
import pytest

from service import sql

STATEMENTS = {
    name: statement
    for name, statement in vars(sql).items()
    if name.isupper() and name not in {"BEGIN", "COMMIT"}
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_postgresql_accepts_the_statement(name: str, database: str) -> None:
    parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", STATEMENTS[name].decode()))
    with psycopg.connect(database, cursor_factory=psycopg.ClientCursor) as conn:
        if "currval" in STATEMENTS[name].decode():
            conn.execute("select nextval('arxiv_sequence')")
        plan = conn.execute(b"explain " + STATEMENTS[name], parameters).fetchall()
    assert plan


def test_each_file_is_one_statement_with_a_sentence_of_its_own() -> None:
    folder = Path(str(sql.__file__)).parent
    assert {path.stem.upper() for path in folder.glob("*.sql")} == set(STATEMENTS)
    for statement in STATEMENTS.values():
        assert statement.startswith(b"-- ")
        assert b";" not in re.sub(rb"--.*", b"", statement)


SYSTEMS = {
    "queries": {"queries", "harvests", "gate", "gate_queue", "api_keys", "find_api_keys"},
    "results": {"results", "papers"},
    "sequence": {"arxiv_sequence"},
}
FALLBACK = {"INSERT_QUERY", "INSERT_RESULTS"}
"""They take a number themselves where they are not given one: on one system."""


ONE_SYSTEM = {"INSERT_BATCH", "NEXT_FREE_QUERY_ID"}
"""They are for where all is on one system; others do their work where it is not."""


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_needs_one_system_only(name: str) -> None:
    text = re.sub(r"--.*|%\(\w+\)s", "", STATEMENTS[name].decode())
    named = set(re.findall(r"\w+", text))
    if name in ONE_SYSTEM:
        return
    needed = {system for system, tables in SYSTEMS.items() if named & tables}
    if name in FALLBACK:
        needed.remove("sequence")
    assert len(needed) == (name not in {"SELECT_MIGRATIONS", "BACKEND_PID"})


def test_the_service_builds_no_sql_outside_its_folder() -> None:
    words = re.compile(r"[\"'](select|insert|update|delete|with|create|alter|drop) ", re.IGNORECASE)
    service = Path(str(sql.__file__)).parent.parent
    guilty = [path.name for path in service.rglob("*.py") if words.search(path.read_text())]
    assert guilty == []


def test_statements_come_from_the_folder_and_values_as_parameters() -> None:
    service = Path(str(sql.__file__)).parent.parent
    functions = [
        (path.name, function)
        for path in (service / "db").rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    calls = [
        (name, function, call)
        for name, function in functions
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"execute", "executemany", "stream", "copy", "callproc"}
        and call.args
    ]
    assert len(calls) > 25
    for name, function, call in calls:
        statement = ast.unparse(call.args[0])
        from_the_caller = {each.arg for each in function.args.args}
        is_of_the_folder = re.fullmatch(r"sql\.[A-Z_]+", statement)
        assert is_of_the_folder or statement in from_the_caller, (name, statement)
    for name, text in STATEMENTS.items():
        words = re.sub(r"--.*", "", text.decode())
        assert not re.search(r"%(?!\(\w+\)s|%)", words), name  # no other way to put a value in
        assert not [each for each in re.findall(r"'[^']*'", words) if "%(" in each], name
        assert not re.search(r"\bexecute\b|\bformat\(", words), name  # nor SQL made by SQL


def test_only_the_store_knows_the_driver_and_only_the_two_clients_open_connections() -> None:
    service = Path(str(sql.__file__)).parent.parent
    sources = {str(path.relative_to(service)): path.read_text() for path in service.rglob("*.py")}
    driver = re.compile(r"^(import|from) psycopg", re.MULTILINE)
    drivers = [name for name, text in sources.items() if driver.search(text)]
    clients = [name for name, text in sources.items() if "httpx.AsyncClient(" in text]
    assert {name.split("/")[0] for name in drivers} == {"db"}
    assert sorted(clients) == ["arxiv_client.py", "backend/client.py"]


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        (
            "and (%(words)s",
            "9223372036854775807 ) ) )",
            ("SELECT_PAPERS", "SELECT_PAPERS_BACK", "RANK_PAPERS", "COUNT_PAPERS"),
        ),
        ("and (%(query_id)s", "order by", ("SELECT_RESULTS", "SELECT_RESULTS_BACK")),
        ("and (%(status)s", "order by", ("SELECT_QUERIES", "SELECT_QUERIES_BACK")),
    ],
)
def test_the_statements_of_one_list_ask_for_the_same_rows(
    first: str, last: str, names: tuple[str, ...]
) -> None:
    texts = [" ".join(STATEMENTS[name].decode().split()) for name in names]
    wanted = {text[text.index(first) : text.index(last)] for text in texts}
    assert len(wanted) == 1
