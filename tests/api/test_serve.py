"""The service as a process: restarts, signals, the embedded PostgreSQL, invalid settings."""

import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service import embedded_postgres
from service.errors import ConfigurationError
from tests.support.process import ROOT, Service, service


@pytest.fixture
def folder(tmp_path: Path, arxiv_server: tuple[StandIn, str]) -> dict[str, str]:
    """The environment of a service with its own data directory and the simulated arXiv."""
    return {
        "ARXIV_DATA_DIR": str(tmp_path / "data"),
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
    }


def find_postgres(folder: dict[str, str]) -> list[str]:
    """Return the ids of the PostgreSQL processes that run in the data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and folder["ARXIV_DATA_DIR"].encode() in command:
            found.append(entry.name)
    return found


def test_records_survive_a_restart(folder: dict[str, str]) -> None:
    with service(folder) as first:
        summary = first.get("/arxiv", title="testing").json()
        assert first.end(signal.SIGTERM) == 0
    assert find_postgres(folder) == []

    with service(folder) as second:
        [query] = second.get("/queries").json()
        results = second.get("/results").json()
        assert second.end(signal.SIGINT) == 0

    assert query["query_id"] == summary["query_id"]
    assert {row["query_id"] for row in results} == {summary["query_id"]}
    assert len(results) == summary["num_entries"] == 10
    assert find_postgres(folder) == []
    assert "applied migration" in first.output
    assert "applied migration" not in second.output


def test_service_starts_after_it_was_killed(folder: dict[str, str]) -> None:
    with service(folder) as first:
        first.get("/arxiv", title="testing")
        first.end(signal.SIGKILL)
    assert find_postgres(folder)

    with service(folder) as second:
        assert len(second.get("/queries").json()) == 1
        assert second.end(signal.SIGTERM) == 0
    assert find_postgres(folder) == []


def test_postgresql_starts_after_it_was_killed(folder: dict[str, str]) -> None:
    with service(folder) as first:
        first.get("/arxiv", title="testing")
        first.end(signal.SIGKILL)
    for pid in find_postgres(folder):
        os.kill(int(pid), signal.SIGKILL)

    with service(folder) as second:
        assert len(second.get("/queries").json()) == 1
        assert second.end(signal.SIGTERM) == 0


def test_postgresql_is_restarted_if_it_dies(folder: dict[str, str]) -> None:
    with service(folder) as running:
        running.get("/arxiv", title="testing")
        pids = [int(pid) for pid in find_postgres(folder)]
        os.kill(min(pids), signal.SIGKILL)
        sleep(3)
        wait_until_ready(running)
        assert len(running.get("/queries").json()) == 1
        assert running.end(signal.SIGTERM) == 0
    assert find_postgres(folder) == []


def test_variables_of_libpq_are_ignored(folder: dict[str, str]) -> None:
    others = {"PGHOSTADDR": "127.0.0.1", "PGPORT": "9", "PGOPTIONS": "-c nonsense=1"}
    with service(folder | others) as running:
        assert running.get("/arxiv", title="testing").status_code == 200
        assert running.end(signal.SIGTERM) == 0


def test_two_services_share_one_data_directory(folder: dict[str, str]) -> None:
    with service(folder) as first, service(folder) as second:
        ids = [
            each.get("/arxiv", title=title).json()["query_id"]
            for each, title in ((first, "testing"), (second, "neutrino"))
        ]
        assert len(set(ids)) == 2
        assert first.end(signal.SIGTERM) == 0
        assert len(second.get("/queries").json()) == 2
        assert second.end(signal.SIGTERM) == 0
    assert find_postgres(folder) == []


def test_data_directory_may_have_any_name(tmp_path: Path, folder: dict[str, str]) -> None:
    odd = tmp_path / 'it\'s, a "long" name; ünï $HOME' / ("deep" * 20)
    with service(folder | {"ARXIV_DATA_DIR": str(odd)}) as running:
        assert running.get("/arxiv", title="testing").status_code == 200
        assert running.end(signal.SIGTERM) == 0


def test_data_directory_that_cannot_be_created_is_reported(
    tmp_path: Path, folder: dict[str, str]
) -> None:
    (tmp_path / "file").touch()
    with service(folder | {"ARXIV_DATA_DIR": str(tmp_path / "file" / "data")}) as running:
        assert running.wait() == 2
    assert "ARXIV_DATA_DIR" in running.output
    assert "Traceback" not in running.output


def test_data_of_another_postgresql_version_is_rejected(
    tmp_path: Path, folder: dict[str, str]
) -> None:
    cluster = tmp_path / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("12\n")
    with service(folder) as running:
        assert running.wait() == 2
    assert "was created by PostgreSQL 12" in running.output


def test_reason_why_postgresql_does_not_start_is_reported(
    tmp_path: Path, folder: dict[str, str]
) -> None:
    with service(folder) as first:
        first.url()
        first.end(signal.SIGTERM)
    (tmp_path / "data" / "postgres" / "postgresql.auto.conf").write_text("nonsense = 1\n")

    with service(folder) as second:
        assert second.wait() == 2
    assert "PostgreSQL did not start" in second.output
    assert "nonsense" in second.output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ARXIV_PROT", "8000", "ARXIV_PROT: unknown setting"),
        ("ARXIV_PORT", "http", "ARXIV_PORT: "),
        ("ARXIV_CACHE", "yes", "ARXIV_CACHE: 'yes' is not valid: set it to on or off"),
        (
            "ARXIV_RESULTS_DATABASE_RO_URL",
            "nonsense",
            "ARXIV_RESULTS_DATABASE_RO_URL: the database URL is invalid",
        ),
        ("ARXIV_DATABASE_URL", "postgresql://u:a@b@c/d", "%40 for @"),
        ("ARXIV_DATABASE_URL", "postgresql://u:a/b@c/d", "%2F for /"),
    ],
)
def test_invalid_setting_ends_the_start(
    folder: dict[str, str], name: str, value: str, message: str
) -> None:
    with service(folder | {name: value}) as running:
        assert running.wait() == 2
    assert message in running.output
    assert "Traceback" not in running.output


def test_port_in_use_is_reported(folder: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with service(folder | {"ARXIV_PORT": port}) as running:
            assert running.wait() not in {0, None}
    assert "address already in use" in running.output
    assert find_postgres(folder) == []


@pytest.mark.thorough
def test_service_starts_before_its_database_and_recovers(
    arxiv_server: tuple[StandIn, str], quick_path: Path
) -> None:
    # its path is short, so the address stays the same
    own = quick_path / "recovering"
    with embedded_postgres.run_server(own) as url:
        subprocess.run(
            [sys.executable, "-m", "service", "migrate"],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
    settings = {
        "ARXIV_DATABASE_URL": url,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
    }
    with service(settings) as running:
        assert running.get("/health/live").status_code == 200
        assert running.get("/health/ready").status_code == 503
        for _ in range(2):
            with embedded_postgres.run_server(own):
                wait_until_ready(running)
                assert running.get("/arxiv", title="testing").status_code == 200
            rejected = running.get("/results")
            assert rejected.status_code == 503
            assert rejected.headers["retry-after"]
            assert rejected.headers["content-type"] == "application/problem+json"
        assert running.end(signal.SIGTERM) == 0


def wait_until_ready(running: Service) -> None:
    started = monotonic()
    while running.get("/health/ready").status_code != 200:
        assert monotonic() - started < 60
        sleep(0.1)


def test_migrate_reports_the_result(template: str, server: str) -> None:
    url = make_conninfo(server, dbname=template)
    finished = subprocess.run(
        [sys.executable, "-m", "service", "migrate"],
        cwd=ROOT,
        env=os.environ | {"ARXIV_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the database is up to date" in finished.stdout


def test_sigterm_lets_running_requests_finish(
    database: str, arxiv: StandIn, arxiv_server: tuple[StandIn, str], db: psycopg.Connection
) -> None:
    arxiv.delay = 1.0
    settings = {"ARXIV_DATABASE_URL": database, "ARXIV_API_URL": arxiv_server[1]}
    with service(settings | {"ARXIV_INTERVAL": "0"}) as running:
        request = subprocess.Popen(
            ["curl", "-s", running.url() + "/arxiv?title=testing"], stdout=subprocess.PIPE
        )
        while not arxiv.requests:
            sleep(0.01)
        assert running.end(signal.SIGTERM) == 0
        response, _ = request.communicate(timeout=60)
    assert b'"num_entries":10' in response
    assert db.execute("select count(*) from results").fetchone() == (10,)


def test_sigterm_cancels_waiting_searches(
    database: str, arxiv_server: tuple[StandIn, str], db: psycopg.Connection
) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '30 s'")
    settings = {"ARXIV_DATABASE_URL": database, "ARXIV_API_URL": arxiv_server[1]}
    with service(settings | {"ARXIV_INTERVAL": "0"}) as running:
        command = ["curl", "-si", running.url() + "/arxiv?title=testing"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as request:
            while db.execute("select count(*) from gate_queue").fetchone() == (0,):
                sleep(0.01)
            started = monotonic()
            assert running.end(signal.SIGTERM) == 0
            assert monotonic() - started < 25
            response, _ = request.communicate(timeout=60)
    assert b"503 Service Unavailable" in response
    assert b"the service is stopping" in response


@pytest.fixture
def ordinary_user() -> pwd.struct_passwd:
    """A user without privileges."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return pwd.getpwnam("nobody")


Attack = Callable[..., int]


@pytest.fixture
def attack(ordinary_user: pwd.struct_passwd) -> Attack:
    """Runs a command as another user and returns its status."""

    def run(*command: str | Path) -> int:
        return subprocess.run(
            command,
            user=ordinary_user.pw_uid,
            group=ordinary_user.pw_gid,
            extra_groups=[],
            capture_output=True,
            check=False,
            timeout=20,
        ).returncode

    return run


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that all users can enter and write, such as /tmp."""
    with TemporaryDirectory(dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o1777)
        yield path


def test_other_users_can_neither_read_nor_lock_files(
    shared: Path, folder: dict[str, str], attack: Attack
) -> None:
    data = shared / "data"
    with service(folder | {"ARXIV_DATA_DIR": str(data)}) as running:
        running.get("/arxiv", title="testing")
        check_private(data, attack)
        assert running.end(signal.SIGTERM) == 0
    assert "other users" not in running.output


def test_existing_files_that_others_can_open_are_restricted(
    shared: Path, folder: dict[str, str], attack: Attack
) -> None:
    data = shared / "data"
    data.mkdir()
    data.chmod(0o755)
    for name in ("lock", "in-use", "postgres.log"):
        (data / name).touch()
        (data / name).chmod(0o666)
    assert attack("flock", "-n", "-x", data / "lock", "true") == 0
    environment = folder | {"ARXIV_DATA_DIR": str(data)}
    with service(environment) as first:
        first.url()
        check_private(data, attack)
        with service(environment) as second:
            second.url()
    assert f"other users can enter {data} (mode 0755)" in first.output
    assert "other users" not in second.output


def test_folder_that_users_share_is_not_changed(shared: Path, folder: dict[str, str]) -> None:
    with service(folder | {"ARXIV_DATA_DIR": str(shared)}) as running:
        running.url()
        assert running.end(signal.SIGTERM) == 0
    assert (
        f"other users can enter {shared} (mode 1777): use a directory of its own" in running.output
    )
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


def check_private(data: Path, attack: Attack) -> None:
    assert attack("stat", data) == 0  # the folders above can be entered
    assert attack("ls", data) != 0
    for name in ("lock", "in-use", "postgres.log", "postgres/.s.PGSQL.5432.lock"):
        assert (data / name).exists()
        assert attack("cat", data / name) != 0
        assert attack("flock", "-n", "-x", data / name, "true") != 0
        assert attack("flock", "-n", "-s", data / name, "true") != 0
    assert stat.S_IMODE(data.stat().st_mode) == 0o710
    for path in data.iterdir():
        assert not path.stat().st_mode & 0o077


def test_files_of_another_user_are_rejected(
    shared: Path, folder: dict[str, str], ordinary_user: pwd.struct_passwd
) -> None:
    data = shared / "data"
    data.mkdir()
    (data / "lock").touch()
    shutil.chown(data / "lock", ordinary_user.pw_uid)
    with service(folder | {"ARXIV_DATA_DIR": str(data)}) as running:
        assert running.wait() == 2
    assert f"{data / 'lock'} belongs to another user" in running.output


def test_files_of_another_user_who_owns_the_folder_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in-use").touch(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with (
        pytest.raises(ConfigurationError, match="in-use belongs to another user: remove it"),
        embedded_postgres.run_server(tmp_path),
    ):
        pass


def test_other_users_cannot_create_the_socket_directory_first(
    shared: Path, folder: dict[str, str], attack: Attack
) -> None:
    data = shared / ("deep" * 30)
    digest = hashlib.sha256(os.fsencode(data / "postgres")).hexdigest()[:16]
    assert attack("mkdir", shared / f"arxiv-gateway-{digest}") == 0
    environment = folder | {"ARXIV_DATA_DIR": str(data), "TMPDIR": str(shared)}
    with service(environment) as killed:
        killed.get("/arxiv", title="testing")
        [socket_folder] = [
            path for path in shared.glob("arxiv-gateway-*") if digest not in str(path)
        ]
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert attack("ls", socket_folder) != 0
        assert attack("psql", "-h", socket_folder, "-U", "postgres", "-c", "select 1") != 0
        with service(environment) as second:
            assert len(second.get("/queries").json()) == 1
            killed.end(signal.SIGKILL)
            assert len(second.get("/queries").json()) == 1
            second.end(signal.SIGKILL)
    with service(environment) as last:
        assert len(last.get("/queries").json()) == 1
        assert last.end(signal.SIGTERM) == 0
    assert not socket_folder.exists()
    assert not find_postgres(environment)


def test_socket_directory_that_others_can_enter_is_rejected(
    shared: Path, folder: dict[str, str]
) -> None:
    data = shared / ("deep" * 30)
    environment = folder | {"ARXIV_DATA_DIR": str(data), "TMPDIR": str(shared)}
    with service(environment) as first:
        first.url()
        [socket_folder] = shared.glob("arxiv-gateway-*")
        socket_folder.chmod(0o777)
        with service(environment) as second:
            assert second.wait() == 2
        socket_folder.chmod(0o700)
    assert f"{socket_folder} belongs to another user, or others can enter it" in second.output


def test_new_socket_directory_is_used_again_after_a_crash(
    shared: Path, folder: dict[str, str]
) -> None:
    environment = folder | {
        "ARXIV_DATA_DIR": str(shared / ("deep" * 30)),
        "TMPDIR": str(shared),
    }
    with service(environment) as first:
        first.get("/arxiv", title="testing")
        [socket_folder] = shared.glob("arxiv-gateway-*")
        os.kill(min(map(int, find_postgres(environment))), signal.SIGKILL)
        sleep(3)
        wait_until_ready(first)
        assert [*shared.glob("arxiv-gateway-*")] == [socket_folder]
        assert len(first.get("/queries").json()) == 1
        assert first.end(signal.SIGTERM) == 0
    assert not socket_folder.exists()


def test_cancelled_statements_take_one_short_line_of_the_log_each(
    quick_path: Path, folder: dict[str, str]
) -> None:
    data = quick_path / "cancelling"
    with service(folder | {"ARXIV_DATA_DIR": str(data)}) as running:
        url, log = running.url(), data / "postgres.log"
        address = f"host={data / 'postgres'} port=5432 user=postgres dbname=postgres"
        with psycopg.connect(address) as conn:
            conn.execute("lock table papers")
            before = log.stat().st_size
            for number in range(1, 31):
                response = httpx.get(
                    f"{url}/papers?items_per_page={number}", headers={"Request-Timeout": "0.05"}
                )
                assert response.status_code == 504
            end = monotonic() + 60
            while not re.search(
                "canceling statement|transaction timeout", added := log.read_text()[before:]
            ):
                assert monotonic() < end
                sleep(0.1)
            sleep(0.5)
        added = log.read_text()[before:]
        assert "STATEMENT" not in added
        assert len(added) < 4_000
        with psycopg.connect(address) as conn, pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("select * from no_such_table")
        assert 'relation "no_such_table" does not exist' in log.read_text()
        assert running.end(signal.SIGTERM) == 0


def test_log_of_postgresql_is_bounded(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "MAX_LOG_BYTES", 20_000)
    monkeypatch.setattr(embedded_postgres, "WATCH_INTERVAL", 0.05)
    folder = quick_path / "logging"
    log, previous = folder / "postgres.log", folder / "postgres.log.1"
    with (
        embedded_postgres.run_server(folder) as url,
        embedded_postgres.run_server(folder),
        psycopg.connect(url, autocommit=True) as conn,
    ):
        for number in range(1000):
            conn.execute(f"do $$ begin raise warning 'line {number} {'x' * 100}'; end $$")
            if number % 100 == 99:
                end = monotonic() + 60
                while log.stat().st_size > 20_000:
                    assert monotonic() < end
                    sleep(0.05)
        assert previous.stat().st_size == 20_000
        assert stat.S_IMODE(previous.stat().st_mode) == 0o600
        conn.execute("do $$ begin raise warning 'the last line'; end $$")
        assert "the last line" in log.read_text()
        assert "line 9" in previous.read_text() + log.read_text()


def test_ordinary_user_can_run_it(folder: dict[str, str], ordinary_user: pwd.struct_passwd) -> None:
    home = Path("/tmp") / f"ordinary-{os.getpid()}"  # noqa: S108 - accessible to that user
    home.mkdir()
    shutil.chown(home, ordinary_user.pw_uid)
    try:
        environment = os.environ | folder | {"ARXIV_DATA_DIR": str(home / "data")}
        try:
            finished = subprocess.run(
                [sys.executable, "-c", ORDINARY],
                cwd=ROOT,
                env=environment,
                user=ordinary_user.pw_uid,
                group=ordinary_user.pw_gid,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
        except PermissionError:
            pytest.skip("other users cannot run this Python")
        assert finished.stdout.strip() == "1", finished.stderr
    finally:
        shutil.rmtree(home)


ORDINARY = """
import os
from pathlib import Path
import psycopg
from service import embedded_postgres
from service.errors import ConfigurationError
from service.db import migrations
with embedded_postgres.run_server(Path(os.environ["ARXIV_DATA_DIR"])) as url:
    migrations.apply(url)
    with psycopg.connect(url) as conn:
        print(conn.execute("select 1").fetchone()[0])
"""
