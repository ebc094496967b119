"""PostgreSQL accepts every statement in service/sql, and the service sends no other."""

import ast
import re
from pathlib import Path

import psycopg
import pytest

from service import sql

STATEMENTS = {
    name: statement
    for name, statement in vars(sql).items()
    if isinstance(statement, bytes) and name not in {"BEGIN", "BEGIN_SNAPSHOT", "COMMIT"}
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_postgresql_accepts_the_statement(name: str, database: str) -> None:
    parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", STATEMENTS[name].decode()))
    with psycopg.connect(database, cursor_factory=psycopg.ClientCursor) as conn:
        if name.startswith("COPY_"):  # cannot be explained
            with conn.cursor().copy(STATEMENTS[name]):
                return
        if "currval" in STATEMENTS[name].decode():
            conn.execute("select nextval('arxiv_sequence')")
        plan = conn.execute(b"explain " + STATEMENTS[name], parameters).fetchall()
    assert plan


def test_each_file_is_one_statement_with_a_comment() -> None:
    folder = Path(str(sql.__file__)).parent
    names = {path.stem.upper() for path in folder.glob("*.sql")}
    lists = {name for name in names if f"{name}_DESC" in STATEMENTS}
    assert names | {f"{name}_DESC" for name in lists} == set(STATEMENTS)
    assert lists == {
        "SELECT_ANNOUNCEMENTS",
        "SELECT_PAPERS",
        "SELECT_QUERIES",
        "SELECT_RESULTS",
    }
    for statement in STATEMENTS.values():
        assert statement.startswith(b"-- ")
        assert b";" not in re.sub(rb"--.*", b"", statement)


SYSTEMS = {
    "queries": {
        "queries",
        "harvests",
        "harvest_gaps",
        "gate",
        "gate_queue",
        "search_statistics",
        "api_keys",
        "find_api_keys",
        "signing_keys",
    },
    "results": {
        "results",
        "papers",
        "paper_details",
        "mirror_syncs",
        "mirror_imports",
        "announcements",
        "announcement_feeds",
    },
    "sequence": {"arxiv_sequence"},
}
FALLBACK = {"INSERT_QUERY", "INSERT_RESULTS"}
"""Without a query_id, which is possible on one system only, they take one from the sequence."""

ONE_SYSTEM = {"INSERT_BATCH", "NEXT_FREE_QUERY_ID"}
"""Used only if everything is on one system."""

NO_SYSTEM = {
    "CONFIGURE_SESSION",
    "SELECT_DATABASE_STATUS",
    "SELECT_MIGRATIONS",
    "SELECT_TABLE_SIZES",
}
"""Executed on any of them."""


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_uses_one_system(name: str) -> None:
    text = re.sub(r"--.*|%\(\w+\)s", "", STATEMENTS[name].decode())
    names = set(re.findall(r"\w+", text))
    if name in ONE_SYSTEM:
        return
    systems = {system for system, tables in SYSTEMS.items() if names & tables}
    if name in FALLBACK:
        systems.remove("sequence")
    assert len(systems) == (name not in NO_SYSTEM)


def test_sql_is_only_in_its_folder() -> None:
    words = re.compile(r"(select|insert|update|delete|with|create|alter|drop) ", re.IGNORECASE)
    service = Path(str(sql.__file__)).parent.parent
    offenders = []
    for path in service.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        offenders += [
            (path.name, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str | bytes)
            and id(node) not in docstrings
            and words.match(
                node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            )
        ]
    assert offenders == []


def test_statements_are_constants_and_values_are_parameters() -> None:
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
    assert len(calls) >= 25
    for name, function, call in calls:
        statement = ast.unparse(call.args[0])
        arguments = {each.arg for each in function.args.args}
        is_constant = re.fullmatch(r"sql\.[A-Z_]+", statement)
        assert is_constant or statement in arguments, (name, statement)
    for name, text in STATEMENTS.items():
        words = re.sub(r"--.*", "", text.decode())
        assert not re.search(r"%(?!\(\w+\)s|%)", words), name  # values are named parameters
        assert not [each for each in re.findall(r"'[^']*'", words) if "%(" in each], name
        assert not re.search(r"\bexecute\b|\bformat\(", words), name  # no dynamic SQL


def test_only_the_database_layer_imports_the_driver_and_two_modules_open_http_connections() -> None:
    service = Path(str(sql.__file__)).parent.parent
    sources = {str(path.relative_to(service)): path.read_text() for path in service.rglob("*.py")}
    driver = re.compile(r"^(import|from) psycopg", re.MULTILINE)
    drivers = [name for name, text in sources.items() if driver.search(text)]
    clients = [name for name, text in sources.items() if "httpx.AsyncClient(" in text]
    assert {name.split("/")[0] for name in drivers} == {"db"}
    assert sorted(clients) == ["arxiv_http.py", "backend/client.py"]
