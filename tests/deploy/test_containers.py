"""The image and the compose files, built and run with podman.

Everything runs in a sandbox (see containers/sandbox) that ends with the tests. Only the images
remain, in STORAGE, so that later runs are faster; removing that directory makes the next run start
over.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import ENDPOINTS, Settings
from tests.deploy.test_operations import blocks
from tests.support.captures import TEST_DATA

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "tests" / "deploy" / "containers"
# read before the tests clean the environment
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("ARXIV_", "COMPOSE_", "CONTAINER", "DB_", "POSTGRES_"))
}
TOOLS = TEST_DATA / "podman"
"""The directory of `base-image` and `in-podman`, for machines without an image registry."""
STORAGE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "arxiv-gateway"
    / "containers"
)
BASE = "docker.io/library/debian:trixie-slim"
POSTGRES = "docker.io/library/postgres:18"
RABBITMQ = "docker.io/library/rabbitmq:4"
IMAGE = "localhost/arxiv-gateway"
PROJECT = "gateway-test"
INDEX = "/var/lib/arxiv-gateway"
"""The volume with the search index."""
PODS = "/etc/containers/pods.conf"
"""Configuration that podman needs in the sandbox to create pods."""

PASSWORDS = {
    "POSTGRES_PASSWORD": "post gres:@/?#&=%41+$HOME",
    "DB_RW_PASSWORD": 'rw @:/?#[]&=%41+$HOME $$ "{}!',
    "DB_RO_PASSWORD": "ro@ü",
    "DB_SEQUENCE_PASSWORD": "sequence",
}
SCALED = {"RABBITMQ_PASSWORD": "0123456789abcdef"}
"""Variables that only deploy/compose.scale.yml requires."""
DOTENV = {**PASSWORDS, **SCALED, "ARXIV_CONTACT": "tester@example.org", "ARXIV_MAX_RESULTS": ""}
SHELL = {
    "ARXIV_API_URL": "http://arxiv:8001/api/query",
    "ARXIV_INTERVAL": "0",
    "ARXIV_BACKEND_TOKEN": "the token of the tests",
}

FETCH = """
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener
try:
    answer = build_opener(ProxyHandler({})).open(sys.argv[1], timeout=30)
except HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
"""

CONTAINERS_OF_MANY = (
    *("db", "migrate", "service", "replica", "pgbouncer", "rabbitmq", "writer", "backend2"),
    *("frontend1", "frontend2", "haproxy"),
)

Finished = subprocess.CompletedProcess[str]


class TestFiles:
    """Checks of the files that do not run them."""

    def test_every_setting_is_passed_through_or_fixed(self) -> None:
        fixed = {"host", "port", "data_dir", "index_dir", "database_url", "database_ro_url"}
        fixed |= {"backend_url"}

        assert _find_passed_through() | fixed == set(Settings.__struct_fields__)

    def test_setting_that_is_not_set_keeps_its_default(self) -> None:
        empty = {f"ARXIV_{name.upper()}": "" for name in _find_passed_through()}

        assert Settings.from_env(empty) == Settings()

    @pytest.mark.parametrize("token", [None, "a token of the tests' own"])
    def test_backend_endpoints_are_served_only_with_a_token(self, token: str | None) -> None:
        text = (ROOT / "podman-compose.yml").read_text()
        [endpoints] = re.findall(r"ARXIV_ENDPOINTS: \$\{ARXIV_ENDPOINTS:-([\w,]+)\}", text)

        settings = Settings(host="0.0.0.0", endpoints=endpoints, backend_token=token)  # noqa: S104
        settings.check_exposure()

        assert bool(settings.served & {*ENDPOINTS["backend"]}) is bool(token)

    def test_scaled_backends_require_a_token(self) -> None:
        text = (ROOT / "deploy" / "compose.scale.yml").read_text()
        environments = [
            each.get("environment") or {} for each in yaml.safe_load(text)["services"].values()
        ]
        backends = [
            each for each in environments if each.get("ARXIV_ENDPOINTS") in {"all", "backend"}
        ]

        assert len(backends) == 2
        for each in backends:
            assert each["ARXIV_BACKEND_TOKEN"].startswith("${ARXIV_BACKEND_TOKEN:?")

    def test_example_lists_all_variables_without_values(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        # a commented-out setting has no space after the #
        names = {match[1] for line in lines if (match := re.fullmatch(r"#?([A-Z_]+)=", line))}
        assert all(line.startswith("# ") for line in lines if line and "=" not in line)

        assert names == {
            *PASSWORDS,
            *SCALED,
            *(f"ARXIV_{name.upper()}" for name in _find_passed_through()),
        }


def _find_passed_through() -> set[str]:
    """Return the settings that the compose file passes through."""
    text = (ROOT / "podman-compose.yml").read_text()
    passed_on = re.compile(r"^ +ARXIV_(\w+): \$\{ARXIV_\1(?::-frontend,guarded)?\}$", re.MULTILINE)
    return {name.lower() for name in passed_on.findall(text)}


@dataclass(frozen=True)
class Sandbox:
    process: int

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        online: bool = False,
        timeout: float = 60,
    ) -> Finished:
        """Run a command inside; `online` gives it the network of this machine."""
        network = [] if online else ["--net"]
        enter = ["nsenter", f"--target={self.process}", "--mount", "--pid", *network]
        # nsenter would change to the root directory
        stay = [f"--wdns={cwd or ROOT}", "--"]
        return subprocess.run(
            [*enter, *stay, *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**ENVIRONMENT, **(env or {})},
            timeout=timeout,
        )

    def run_checked(self, *command: str | Path, online: bool = False, timeout: float = 60) -> str:
        """Run a command that must succeed, and return its output."""
        finished = self.run(*command, online=online, timeout=timeout)
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def podman(self, *arguments: str, timeout: float = 60) -> Finished:
        return self.run("podman", "--log-level=fatal", *arguments, timeout=timeout)

    def inspect(self, name: str, what: str) -> Any:
        details = self.run_checked("podman", "--log-level=fatal", "inspect", "--format", what, name)
        return json.loads(details)

    def has_image(self, name: str) -> bool:
        return self.podman("image", "exists", name).returncode == 0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    needed = (
        "podman",
        "podman-compose",
        "iptables",
        "catatonit",
        "unshare",
        "nsenter",
        "ip",
        "bash",
    )
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root")
    STORAGE.mkdir(parents=True, exist_ok=True)
    with (STORAGE / "lock").open("w") as lock:
        # the podman of a concurrent run does not know about this one
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _opened_sandbox() as inside:
            usable = inside.run("podman", "info")
            if usable.returncode != 0:
                pytest.skip(f"podman does not work here: {usable.stdout.splitlines()[-1]}")
            yield inside


@contextmanager
def _opened_sandbox() -> Iterator[Sandbox]:
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    cgroups = [TOOLS / "in-podman"] if (TOOLS / "in-podman").exists() else []
    with subprocess.Popen(
        [*unshare, *cgroups, CONTAINERS / "sandbox", STORAGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        first = process.stdout.readline()
        if first != "ready\n":
            pytest.skip(f"no sandbox can be made here: {first}{process.stdout.read()}".strip())
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            yield Sandbox(int(children.read_text()))
        finally:
            # the sandbox ends with its input, and with it everything inside
            process.stdin.close()
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files of the image and the containers, with a file .env."""
    folder = tmp_path_factory.mktemp("a checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in (
        "service",
        "migrations",
        "demo",
        "deploy",
        "requirements",
        "tests/deploy/containers",
    ):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("Containerfile", ".containerignore", "podman-compose.yml"):
        shutil.copy2(ROOT / name, folder)
    shutil.copy2(ROOT / "wait-for", folder)
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in DOTENV.items()))
    return folder


@pytest.fixture(scope="module")
def built(sandbox: Sandbox, checkout: Path) -> Path:
    """The checkout, when the images of Debian, PostgreSQL and the service are available."""
    if (TOOLS / "base-image").exists() and not sandbox.has_image(BASE):
        if shutil.which("debootstrap") is None:
            pytest.skip("not installed: debootstrap")
        sandbox.run_checked(TOOLS / "base-image", "trixie", online=True, timeout=300)
    _have(sandbox, BASE)
    _have(sandbox, POSTGRES)
    # podman-compose 1.0.3 does not report a failed build, so an old image must not have the name
    sandbox.podman("untag", IMAGE)
    # Docker's format, since podman's own does not support the healthcheck of the Containerfile
    options = "--podman-build-args=--isolation=chroot --network=host --format=docker"
    command = ["podman-compose", options, "build"]
    log = sandbox.run(*command, cwd=checkout, online=True, timeout=300).stdout
    assert sandbox.has_image(IMAGE), log
    # images of earlier builds, except those that still save time
    sandbox.podman("image", "prune", "--force", "--filter=until=72h")
    return checkout


def _have(sandbox: Sandbox, image: str) -> None:
    """Pull an image, or build a substitute if no registry is available."""
    stand_in = CONTAINERS / Path(image).name.partition(":")[0]
    if (TOOLS / "base-image").exists():
        if stand_in.exists():
            build = ["podman", "build", "--isolation=chroot", "--network=host", "--tag", image]
            sandbox.run_checked(*build, stand_in, online=True, timeout=300)
    elif not sandbox.has_image(image):
        pulled = sandbox.run("podman", "pull", image, online=True, timeout=300)
        if pulled.returncode != 0:
            pytest.skip(f"{image} cannot be had: {pulled.stdout.splitlines()[-1]}")


@dataclass(frozen=True)
class Stack:
    """The containers of the compose file, and a simulated arXiv."""

    sandbox: Sandbox
    folder: Path
    port: int = 8000
    more: tuple[str, ...] = ()
    """Additional compose files."""

    def compose(self, *arguments: str) -> Finished:
        return self.shell(f"podman-compose {shlex.join(arguments)}")

    def shell(self, script: str) -> Finished:
        """Run commands in the directory of the compose file, for this stack."""
        files = ["podman-compose.yml", *self.more, "tests/deploy/containers/arxiv.yml"]
        command = " ".join(["podman-compose", "-p", PROJECT, *(f"-f {file}" for file in files)])
        script = re.sub("^podman-compose", command, script, flags=re.MULTILINE)
        return self.sandbox.run("sh", "-euc", script, cwd=self.folder, env=SHELL, timeout=120)

    def up(self) -> None:
        started = self.compose("up", "-d")
        assert started.returncode == 0, started.stdout
        assert self.wait_for_status("/health/ready", 200), started.stdout + self.logs()

    def get(self, path: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.port}{path}"
        status, body = self.sandbox.run_checked(sys.executable, "-c", FETCH, url).split("\n", 1)
        return int(status), json.loads(body)

    def wait_for_status(self, path: str, status: int) -> bool:
        """Return whether a response with this status arrives within a minute."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            url = f"http://127.0.0.1:{self.port}{path}"
            fetched = self.sandbox.run(sys.executable, "-c", FETCH, url).stdout
            if fetched.startswith(f"{status}\n"):
                return True
            time.sleep(0.5)
        return False

    def name(self, service: str) -> str:
        return f"{PROJECT}_{service}_1"

    def exec(self, service: str, *command: str) -> Finished:
        return self.sandbox.podman("exec", self.name(service), *command)

    def sql(self, statement: str, on: str = "db") -> str:
        """Run a statement as the superuser, and return psql's output."""
        command = ["psql", "-XAtq", "-U", "postgres", "-d", "arxiv", "-c", statement]
        finished = self.exec(on, *command)
        assert finished.returncode == 0, finished.stdout
        return finished.stdout.strip()

    def logs(self) -> str:
        outputs = [
            self.sandbox.podman("logs", self.name(service)).stdout for service in CONTAINERS_OF_MANY
        ]
        return "\n".join(outputs)

    def finished(self, service: str) -> int:
        """Return the exit status of a container that ends by itself."""
        waited = self.sandbox.podman("wait", self.name(service), timeout=60)
        return int(waited.stdout)


@pytest.fixture(scope="module")
def stack(sandbox: Sandbox, built: Path) -> Iterator[Stack]:
    # an earlier run may have been killed
    sandbox.podman("rm", "--all", "--force")
    sandbox.podman("volume", "prune", "--force")
    containers = Stack(sandbox, built)
    try:
        containers.up()
        yield containers
    finally:
        containers.compose("down", "--volumes")
        sandbox.podman("rm", "--all", "--force")
        sandbox.podman("volume", "prune", "--force")


@pytest.mark.containers
class TestTheImage:
    def test_image_has_no_compiler_and_no_pip(self, stack: Stack) -> None:
        tools = "pip pip3 gcc cc g++ c++ clang ld as make cmake cargo git curl wget"
        search = f"for tool in {tools}; do command -v $tool; done; true"

        assert stack.exec("service", "sh", "-c", search).stdout == ""
        for module in ("pip", "ensurepip", "setuptools"):
            assert (
                f"No module named {module}" in stack.exec("service", "python", "-m", module).stdout
            )

    def test_image_has_no_other_files_of_the_checkout(self, stack: Stack) -> None:
        assert stack.exec("service", "ls", "-A", "/app").stdout.split() == [
            "migrations",
            "service",
            "wait-for",
        ]

    def test_healthcheck_of_the_image_passes(self, sandbox: Sandbox, stack: Stack) -> None:
        kind, *command = sandbox.inspect(IMAGE, "{{json .HealthCheck.Test}}")
        assert kind == "CMD"

        finished = stack.exec("service", *command)

        assert finished.returncode == 0, finished.stdout

    @pytest.mark.usefixtures("built")
    def test_image_has_labels(self, sandbox: Sandbox) -> None:
        labels = sandbox.inspect(IMAGE, "{{json .Labels}}")

        assert labels["org.opencontainers.image.title"] == "arxiv-gateway"
        assert labels["org.opencontainers.image.licenses"] == "MIT"
        description = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["description"]
        assert labels["org.opencontainers.image.description"] == description


@pytest.mark.containers
class TestTheContainers:
    def test_service_is_not_root_and_can_write_only_to_tmp_and_the_index(
        self, sandbox: Sandbox, stack: Stack
    ) -> None:
        read_only = "{{json .HostConfig.ReadonlyRootfs}}"
        assert sandbox.inspect(stack.name("service"), read_only) is True
        assert stack.exec("service", "id", "-u").stdout == "10001\n"
        assert stack.exec("service", "touch", "/app/service/new").returncode == 1
        assert stack.exec("service", "touch", "/tmp/new").returncode == 0  # noqa: S108
        assert stack.exec("service", "touch", f"{INDEX}/new").returncode == 0
        capabilities = stack.exec("service", "grep", "CapEff", "/proc/1/status").stdout
        assert capabilities.split()[1] == "0" * 16

    def test_service_is_published_on_loopback_only(self, sandbox: Sandbox, stack: Stack) -> None:
        published = sandbox.podman("port", stack.name("service")).stdout

        assert published == "8000/tcp -> 127.0.0.1:8000\n"

    def test_healthchecks_pass(self, sandbox: Sandbox, stack: Stack) -> None:
        for service in ("db", "service"):
            checked = sandbox.podman("healthcheck", "run", stack.name(service))

            assert checked.returncode == 0, checked.stdout

    def test_search_is_recorded_and_read(self, stack: Stack) -> None:
        status, search = stack.get("/arxiv?title=testing&max_results=3")
        assert (status, search["status"]) == (200, 200)

        now = int(stack.sql("select extract(epoch from now())::bigint"))
        _, queries = stack.get("/queries?start_timestamp=2020-01-01&end_timestamp=2100-01-01")
        _, results = stack.get("/results?items_per_page=1000")

        mine = [row for row in queries if row["query_id"] == search["query_id"]]
        assert [row["num_results"] for row in mine] == [search["num_results"]]
        assert len(results) >= search["num_entries"] > 0
        recorded = f"from results where query_id = {search['query_id']}"
        assert stack.sql(f"select count(*) {recorded}") == str(search["num_entries"])
        assert abs(int(stack.sql(f"select max(timestamp) {recorded}")) - now) < 60

    def test_papers_are_searched_in_an_index_that_outlives_the_container(
        self, stack: Stack
    ) -> None:
        stack.get("/arxiv?title=testing&max_results=3")
        end = time.monotonic() + 60
        while not (found := stack.get("/papers?q=title:testing")[1].get("papers")):
            assert time.monotonic() < end, stack.logs()
            time.sleep(0.2)
        list_files = ["find", f"{INDEX}/index", "-mindepth", "1", "-type", "d"]
        before = stack.exec("service", *list_files).stdout
        stack.compose("down")
        stack.up()

        assert before
        assert stack.exec("service", *list_files).stdout == before
        status, papers = stack.get("/papers?q=title:testing")
        assert status == 200
        assert [paper["arxiv_id"] for paper in papers["papers"]] == [
            paper["arxiv_id"] for paper in found
        ]

    def test_service_uses_its_two_roles(self, stack: Stack) -> None:
        stack.get("/arxiv?title=roles")
        stack.get("/results")
        users = (
            "select distinct usename from pg_stat_activity where usename like 'arxiv%' order by 1"
        )

        assert stack.sql(users).split() == ["arxiv_ro", "arxiv_rw"]

    def test_settings_are_read_from_the_shell_and_from_env_file(self, stack: Stack) -> None:
        show = (
            "from service.settings import Settings; s = Settings.from_env();"
            " print(s.contact, s.api_url, s.interval, s.max_results, s.timezone)"
        )

        output = stack.exec("service", "python", "-c", show).stdout

        assert output == "tester@example.org http://arxiv:8001/api/query 0.0 10 UTC\n"

    def test_backend_requires_the_token(self, stack: Stack) -> None:
        status, problem = stack.get("/get-sequence")

        assert (status, problem["status"]) == (401, 401)

    def test_dump_is_restored_completely(self, stack: Stack) -> None:
        assert stack.get("/arxiv?title=testing&max_results=3")[0] == 200
        rows = "select count(*), max(query_id) from results"
        before = stack.sql(rows)
        assert not before.startswith("0")
        dump, restore = blocks("Of the containers")
        dumped = stack.shell(dump)
        assert dumped.returncode == 0, dumped.stdout
        stack.sql("truncate results")

        restored = stack.shell(restore)

        assert restored.returncode == 0, restored.stdout
        assert stack.wait_for_status("/results", 200)
        assert stack.sql(rows) == before
        assert stack.get("/arxiv?title=after%20that")[0] == 200

    def test_second_migration_changes_nothing(self, sandbox: Sandbox, stack: Stack) -> None:
        applied = "select name, applied_at from migrations order by name"
        before = stack.sql(applied)
        files = sorted(path.stem for path in (ROOT / "migrations").glob("*.sql"))
        assert [line.split("|")[0] for line in before.splitlines()] == files

        again = sandbox.podman("start", "--attach", stack.name("migrate"))

        assert again.returncode == 0, again.stdout
        assert "applied" not in again.stdout
        assert stack.sql(applied) == before

    def test_empty_password_and_one_with_a_quote_are_rejected(
        self, sandbox: Sandbox, stack: Stack
    ) -> None:
        command = sandbox.inspect(stack.name("migrate"), "{{json .Config.Cmd}}")
        shell, *script = command
        for password in ("", "it's", "back\\slash"):
            variables = {**PASSWORDS, "DB_RO_PASSWORD": password}
            env = [f"--env={name}={value}" for name, value in variables.items()]
            options = ["--rm", "--network=none", f"--entrypoint={shell}", *env]

            refused = sandbox.podman("run", *options, POSTGRES, *script)

            assert refused.returncode == 2
            assert "a DB_..._PASSWORD is empty or contains a quote or a backslash" in refused.stdout

    def test_service_survives_a_restart_of_its_database(
        self, sandbox: Sandbox, stack: Stack
    ) -> None:
        sandbox.podman("stop", "-t", "20", stack.name("db"))

        assert stack.wait_for_status("/health/ready", 503)
        assert stack.get("/health/live")[0] == 200
        assert sandbox.podman("healthcheck", "run", stack.name("service")).returncode == 1

        sandbox.podman("start", stack.name("db"))
        assert stack.wait_for_status("/health/ready", 200)

    def test_sigterm_stops_the_service_within_seconds(self, sandbox: Sandbox, stack: Stack) -> None:
        before = time.monotonic()
        sandbox.podman("stop", "-t", "30", stack.name("service"))

        assert time.monotonic() - before < 25  # then it would be killed
        assert sandbox.inspect(stack.name("service"), "{{json .State.ExitCode}}") == 0

        sandbox.podman("start", stack.name("service"))
        assert stack.wait_for_status("/health/ready", 200)

    def test_data_survives_down_and_up(self, stack: Stack) -> None:
        stack.get("/arxiv?title=survival")
        everything = (
            "select (select json_agg(q) from queries q), (select json_agg(r) from results r)"
        )
        before = stack.sql(everything)

        down = stack.compose("down")
        assert stack.sandbox.podman("ps", "-aq").stdout == "", down.stdout
        stack.up()

        assert stack.finished("migrate") == 0
        assert stack.sql(everything) == before

    def test_up_on_running_containers_changes_nothing(self, stack: Stack) -> None:
        started = "select pg_postmaster_start_time()"
        before = stack.sql(started)

        stack.up()

        assert stack.finished("migrate") == 0
        assert stack.sql(started) == before

    @pytest.mark.parametrize("name", PASSWORDS)
    def test_missing_password_is_reported_by_name(
        self, sandbox: Sandbox, stack: Stack, tmp_path: Path, name: str
    ) -> None:
        shutil.copy(stack.folder / "podman-compose.yml", tmp_path)
        variables = {other: value for other, value in PASSWORDS.items() if other != name}

        refused = sandbox.run("podman-compose", "up", "-d", cwd=tmp_path, env=variables)

        assert refused.returncode != 0
        assert f"set {name}, see .env.example" in refused.stdout


@pytest.fixture(scope="class")
def played(sandbox: Sandbox, stack: Stack) -> Iterator[dict[str, str]]:
    """The containers of the Deployments in deploy/kubernetes, with the compose file's database."""
    passwords = {"rw": PASSWORDS["DB_RW_PASSWORD"], "ro": PASSWORDS["DB_RO_PASSWORD"]}
    urls = {
        f"{role}-url": f"host=db dbname=arxiv user=arxiv_{role} password='{password}'"
        for role, password in passwords.items()
    }
    secrets = {"arxiv-database": urls, "arxiv-backend": {"token": SHELL["ARXIV_BACKEND_TOKEN"]}}
    names = {"backend": "", "frontend": ""}
    _remove_played(sandbox, names, secrets)  # an earlier run may have been killed
    try:
        for secret, values in secrets.items():
            file = stack.folder / f"{secret}.json"
            # podman 4.3 cannot read a Secret that it created from a manifest
            encoded = {key: b64encode(value.encode()).decode() for key, value in values.items()}
            file.write_text(json.dumps(encoded))
            sandbox.run_checked("podman", "--log-level=fatal", "secret", "create", secret, file)
        for port, name in enumerate(names, 8101):
            folder = ROOT / "deploy" / "kubernetes"
            context = [(folder / f"{part}.yaml").read_text() for part in ("settings", name)]
            manifest = stack.folder / f"{name}.yaml"
            # podman publishes the port of each pod on the host, and does not support Services
            published = f"containerPort: 8000\n              hostPort: {port}"
            backend = f"http://{names['backend']}:8000"
            text = "\n---\n".join(context).replace("http://backend", backend)
            manifest.write_text(text.replace("containerPort: 8000", published))
            play = ["podman", "kube", "play", f"--network={PROJECT}_default"]
            finished = sandbox.run(*play, manifest, env={"CONTAINERS_CONF": PODS})
            assert finished.returncode == 0, finished.stdout
            infra = ["pod", "inspect", "--format={{.InfraContainerID}}", f"{name}-pod-0"]
            networks = sandbox.inspect(
                sandbox.podman(*infra).stdout.splitlines()[-1],
                "{{json .NetworkSettings.Networks}}",
            )
            names[name] = networks[f"{PROJECT}_default"]["IPAddress"]
        yield {name: f"{name}-pod-0-service" for name in names}
    finally:
        _remove_played(sandbox, names, secrets)


def _remove_played(sandbox: Sandbox, names: Iterable[str], secrets: Iterable[str]) -> None:
    for name in names:
        sandbox.podman("pod", "rm", "--force", f"{name}-pod-0")
    for secret in secrets:
        sandbox.podman("secret", "rm", secret)


def _fetch_inside(sandbox: Sandbox, container: str, path: str) -> str:
    url = f"http://127.0.0.1:8000{path}"
    return sandbox.podman("exec", container, "python", "-c", FETCH, url).stdout


@pytest.mark.containers
class TestKubernetes:
    """The manifests that podman supports: the Deployments and the ConfigMap."""

    def test_instances_become_ready_and_serve_their_endpoints(
        self, sandbox: Sandbox, played: dict[str, str]
    ) -> None:
        for container in played.values():
            end = time.monotonic() + 60
            while not _fetch_inside(sandbox, container, "/health/ready").startswith("200\n"):
                assert time.monotonic() < end, sandbox.podman("logs", container).stdout
                time.sleep(0.5)

        assert _fetch_inside(sandbox, played["frontend"], "/results").startswith("200\n")
        assert _fetch_inside(sandbox, played["frontend"], "/read-queries").startswith("404\n")
        end = time.monotonic() + 60
        while '"index":{"state":"ready"' not in (
            health := _fetch_inside(sandbox, played["backend"], "/health/ready")
        ):
            assert time.monotonic() < end, health
            time.sleep(0.5)
        assert _fetch_inside(sandbox, played["frontend"], "/papers?q=testing").startswith("200\n")
        assert _fetch_inside(sandbox, played["backend"], "/results").startswith("404\n")
        assert _fetch_inside(sandbox, played["backend"], "/read-queries").startswith("401\n")

    def test_security_settings_take_effect(self, sandbox: Sandbox, played: dict[str, str]) -> None:
        for container in played.values():
            assert sandbox.podman("exec", container, "id", "-u").stdout == "10001\n"
            assert sandbox.podman("exec", container, "touch", "/app/new").returncode == 1
            assert sandbox.podman("exec", container, "touch", "/tmp/new").returncode == 0  # noqa: S108


@pytest.fixture(scope="class")
def scaled(sandbox: Sandbox, stack: Stack) -> Iterator[Stack]:
    """The containers of deploy/compose.scale.yml, on the data of the others."""
    _have(sandbox, RABBITMQ)
    for name in ("haproxy", "pgbouncer"):
        file = f"--file={stack.folder}/deploy/{name}.Containerfile"
        build = ["podman", "build", "--isolation=chroot", "--network=host", file]
        tag = f"--tag={IMAGE}-{name}"
        sandbox.run_checked(*build, tag, stack.folder / "deploy", online=True, timeout=300)
    stack.compose("down")
    many = Stack(sandbox, stack.folder, 8080, ("deploy/compose.scale.yml",))
    try:
        many.up()
        yield many
    finally:
        # without a timeout: other tests check how containers end
        sandbox.podman("rm", "--all", "--force", "--time=0")
        sandbox.podman("volume", "prune", "--force")


@pytest.mark.containers
class TestManyOfEach:
    def test_search_is_recorded_by_a_backend_and_read_from_the_replica(self, scaled: Stack) -> None:
        status, search = scaled.get("/arxiv?title=testing&max_results=3")
        assert (status, search["status"]) == (200, 200)

        assert scaled.wait_for_status(f"/queries/{search['query_id']}", 200)

        replica = "select pg_is_in_recovery(), count(*) > 0 from queries"
        assert scaled.sql(replica, on="replica") == "t|t"

    def test_internal_endpoints_are_closed(self, scaled: Stack) -> None:
        assert scaled.get("/metrics")[0] == 404
        assert scaled.get("/get-sequence")[0] == 404

    def test_existing_service_still_serves_everything(self, scaled: Stack) -> None:
        alone = replace(scaled, port=8000)

        assert alone.get("/arxiv?title=testing")[0] == 200
        assert alone.get("/results")[0] == 200
        assert alone.get("/read-queries")[0] == 401

    def test_search_waits_in_the_queue_for_the_writer(
        self, sandbox: Sandbox, scaled: Stack
    ) -> None:
        sandbox.podman("stop", scaled.name("writer"))
        status, search = scaled.get("/arxiv?title=queue&max_results=3")
        assert (status, search["status"]) == (200, 200)
        recorded = f"select count(*) from queries where query_id = {search['query_id']}"
        assert scaled.sql(recorded) == "0"

        sandbox.podman("start", scaled.name("writer"))

        assert scaled.wait_for_status(f"/queries/{search['query_id']}", 200)

    def test_queue_survives_a_restart_and_searches_are_recorded_directly_meanwhile(
        self, sandbox: Sandbox, scaled: Stack
    ) -> None:
        sandbox.podman("stop", scaled.name("writer"))
        _, waiting = scaled.get("/arxiv?title=neural&max_results=3")
        sandbox.podman("kill", scaled.name("rabbitmq"))

        status, search = scaled.get("/arxiv?title=testing&max_results=4")
        assert (status, search["status"]) == (200, 200)
        count = f"select count(*) from results where query_id = {search['query_id']}"
        assert scaled.sql(count) == "4"

        for name in ("rabbitmq", "writer"):
            sandbox.podman("start", scaled.name(name))
        assert scaled.wait_for_status(f"/queries/{waiting['query_id']}", 200)

    @pytest.mark.parametrize("name", ["ARXIV_BACKEND_TOKEN", *SCALED])
    def test_missing_secret_is_reported_by_name(
        self, sandbox: Sandbox, tmp_path: Path, name: str
    ) -> None:
        files = ("podman-compose.yml", "deploy/compose.scale.yml")
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / file)
        variables = {**PASSWORDS, **SCALED, **SHELL}
        del variables[name]
        named = [part for file in files for part in ("-f", file)]

        refused = sandbox.run("podman-compose", *named, "up", "-d", cwd=tmp_path, env=variables)

        assert refused.returncode != 0
        assert f"set {name}, see .env.example" in refused.stdout

    @pytest.mark.parametrize("killed", ["frontend1", "backend2"])
    def test_service_works_without_one_instance(
        self, sandbox: Sandbox, scaled: Stack, killed: str
    ) -> None:
        sandbox.podman("kill", scaled.name(killed))

        for page in range(5):
            assert scaled.get(f"/results?page={page}")[0] == 200
        assert scaled.get(f"/arxiv?title={killed}")[0] == 200

        sandbox.podman("start", scaled.name(killed))
