"""The stack file for Docker Swarm is consistent with the other deployments."""

import re
from typing import Any

import pytest
import yaml

from service.settings import ENDPOINTS, Settings
from tests.support.process import ROOT

FOLDER = ROOT / "deploy"
TEXT = (FOLDER / "swarm.yml").read_text()
STACK = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
# keys that docker/cli ignores
NOT_FOR_SWARM = {"build", "depends_on", "restart", "security_opt", "tmpfs", "container_name"}
DEFAULT = re.compile(r"\$\{\w+:-(.*?)\}")
INSTANCES = ("frontend1", "frontend2", "backend1", "backend2", "writer")


def test_stack_uses_only_keys_supported_by_swarm() -> None:
    assert STACK["version"] == "3.8"
    for service in SERVICES.values():
        assert service.keys() & NOT_FOR_SWARM == set()
        assert not [each for each in service.get("volumes", ()) if str(each).startswith((".", "/"))]


def test_stack_has_the_services_of_the_compose_files() -> None:
    composed = {"backend1"}  # called `service` there
    for name in ("podman-compose.yml", "deploy/compose.scale.yml"):
        composed |= yaml.safe_load((ROOT / name).read_text())["services"].keys()

    assert SERVICES.keys() == composed - {"service"}


def test_configs_are_existing_mounted_files() -> None:
    configs = STACK["configs"]
    mounted = [each for service in SERVICES.values() for each in service.get("configs", ())]
    migrations = {path.stem for path in (ROOT / "migrations").glob("*.sql")}

    assert {each["source"] for each in mounted} == configs.keys()
    assert all((FOLDER / each["file"]).is_file() for each in configs.values())
    assert configs.keys() >= migrations
    for each in SERVICES["migrate"]["configs"]:
        assert each["target"] == f"/migrations/{each['source']}.sql"


@pytest.mark.parametrize("name", INSTANCES)
def test_settings_are_valid(name: str) -> None:
    variables = {
        variable: re.sub(r"\$\{\w+:\?.*?\}", "a-secret-of-sixteen", DEFAULT.sub(r"\1", value))
        for variable, value in SERVICES[name]["environment"].items()
    }

    settings = Settings.from_env(variables)

    served = "frontend" if name.startswith("frontend") else "backend"
    assert name == "writer" or settings.served == {*ENDPOINTS[served]}
    assert (settings.database_url is None) == (served == "frontend")
    assert (settings.queue_url is None) == (served == "frontend")


def test_missing_secret_stops_the_deployment() -> None:
    for variable in re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN)[^}]*)\}", TEXT):
        # the second token is set only while the token is changed
        assert ":?" in variable or variable == "ARXIV_BACKEND_TOKEN_ALSO:-"
