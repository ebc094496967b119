"""The manifests in deploy/kubernetes are valid, consistent and restrictive."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.app import PAGE_SEGMENTS
from service.pages.page import STATIC_PATH
from service.settings import ENDPOINTS, Settings
from tests.support.process import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
QUEUE, SEARCH = FOLDER / "queue", FOLDER / "search"
SQL = ROOT / "migrations"
VERSIONS = ("1.28", kubernetes_validate.latest_version())
Manifest = dict[str, Any]


def documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]


KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES = sorted({path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"})
PATCH = yaml.safe_load((QUEUE / "backend.yaml").read_text())
OPTIONAL = {
    "queue": documents((QUEUE / "writer.yaml").read_text()),
    "search": documents((SEARCH / "search.yaml").read_text()),
}
"""The manifests that the components add."""
MANIFESTS = [each for name in FILES for each in documents((FOLDER / name).read_text())]
MANIFESTS += [each for component in OPTIONAL.values() for each in component]


def of(kind: str) -> list[Manifest]:
    return [each for each in MANIFESTS if each["kind"] == kind]


def called(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in of(kind)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=[f"{each['kind']}-{each['metadata']['name']}" for each in MANIFESTS]
)
def test_manifests_are_valid(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def kustomized(folder: Path) -> list[Manifest]:
    if shutil.which("kubectl") is None:
        pytest.skip("not installed: kubectl")
    built = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=True
    )
    assert "localhost/arxiv-gateway" not in built.stdout
    return documents(built.stdout)


def test_kustomize_builds_all_manifests() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == FILES
    made = kustomized(FOLDER)

    assert len(made) == len(MANIFESTS) - sum(map(len, OPTIONAL.values()))
    assert {each["metadata"]["namespace"] for each in made} == {"arxiv"}


def kustomized_with_components(folder: Path) -> dict[tuple[str, str], Manifest]:
    """Return the manifests with all components, by kind and name."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("#components:", "components:"))
    return {(each["kind"], each["metadata"]["name"]): each for each in kustomized(folder)}


def test_queue_component_adds_worker_and_queue_url(tmp_path: Path) -> None:
    made = kustomized_with_components(tmp_path)

    assert len(made) == len(MANIFESTS)
    for name in ("backend", "writer"):
        [container] = made["Deployment", name]["spec"]["template"]["spec"]["containers"]
        assert "ARXIV_QUEUE_URL" in {each["name"] for each in container["env"]}
        assert "ARXIV_DATABASE_URL" in {each["name"] for each in container["env"]}


def test_search_component_serves_papers_from_its_own_instances(tmp_path: Path) -> None:
    made = kustomized_with_components(tmp_path)
    [rule] = made["Ingress", "arxiv"]["spec"]["rules"]
    services = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    [container] = pod_of("search")["containers"]
    variables = called("ConfigMap")["arxiv-settings"]["data"] | {
        each["name"]: each.get("value", "what a secret has") for each in container["env"]
    }

    assert services.pop("/papers") == "search"
    assert set(services.values()) == {"frontend"}
    settings = Settings.from_env(variables)
    assert settings.served == {"papers"}
    assert settings.only_reads
    labels = {"app.kubernetes.io/name": "search"}
    for kind in ("StatefulSet", "PodDisruptionBudget"):
        assert called(kind)["search"]["spec"]["selector"]["matchLabels"] == labels
    assert called("Service")["search"]["spec"]["selector"] == labels
    assert called("NetworkPolicy")["search"]["spec"]["podSelector"]["matchLabels"] == labels
    assert {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES} == PROBES


@pytest.mark.parametrize("name", ["backend", "search"])
def test_index_is_on_a_writable_volume_of_bounded_size(name: str) -> None:
    pod = pod_of(name)
    [container] = pod["containers"]
    [directory] = re.findall(r"ARXIV_INDEX_DIR=(\S+)", (ROOT / "Containerfile").read_text())
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    claims = called("StatefulSet")["search"]["spec"]["volumeClaimTemplates"]
    sizes = {
        each["metadata"]["name"]: each["spec"]["resources"]["requests"]["storage"]
        for each in (claims if name == "search" else ())
    } | {each["name"]: each["emptyDir"].get("sizeLimit") for each in pod["volumes"]}

    # below the mount point: a new volume may contain lost+found
    volume = mounts[str(Path(directory).parent)]
    assert sizes[volume]
    assert name == "backend" or pod["securityContext"]["fsGroup"] == 10001


@pytest.mark.parametrize("name", ["frontend", "backend"])
class TestDeployment:
    def test_selectors_match_labels(self, name: str) -> None:
        labels = {"app.kubernetes.io/name": name}
        deployment = called("Deployment")[name]["spec"]

        assert deployment["selector"]["matchLabels"] == labels
        assert deployment["template"]["metadata"]["labels"] == labels
        assert called("Service")[name]["spec"]["selector"] == labels
        budget = called("PodDisruptionBudget")[name]["spec"]
        assert budget["selector"]["matchLabels"] == labels
        scaler = called("HorizontalPodAutoscaler")[name]["spec"]
        assert scaler["scaleTargetRef"]["name"] == name
        assert scaler["minReplicas"] > budget["minAvailable"]
        policy = called("NetworkPolicy")[name]["spec"]
        assert policy["podSelector"]["matchLabels"] == labels
        assert policy["ingress"]

    def test_settings_are_valid(self, name: str) -> None:
        [container] = pod_of(name)["containers"]
        variables = called("ConfigMap")["arxiv-settings"]["data"] | {
            each["name"]: each.get("value", "what a secret has") for each in container["env"]
        }

        settings = Settings.from_env(variables)

        assert settings.served == {*ENDPOINTS[name]}
        assert settings.log_format == "json"
        assert settings.backend_token
        # a frontend has no database, and its backend is a Service here
        assert (settings.database_url is None) == (name == "frontend")
        if settings.backend_url:
            assert settings.backend_url.removeprefix("http://") in called("Service")

    def test_probes_use_health_endpoints(self, name: str) -> None:
        [container] = pod_of(name)["containers"]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES}

        assert paths == PROBES


@pytest.mark.parametrize("name", ["frontend", "backend", "writer", "search"])
def test_pods_have_minimal_privileges(name: str) -> None:
    pod = pod_of(name)
    [container] = pod["containers"]

    # variables like ARXIV_PORT would be rejected as unknown settings
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_network_policies_restrict_access() -> None:
    policies = called("NetworkPolicy")
    [ingress] = policies["backend"]["spec"]["ingress"]
    [pods, monitoring] = ingress["from"]

    assert pods["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "frontend"}
    assert "namespaceSelector" not in pods
    assert "monitoring" in str(monitoring)
    assert [name for name, each in policies.items() if "ipBlock" in str(each)] == ["backend"]
    served = policies["database"]["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert "frontend" not in served


PROBES = {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def pod_of(name: str) -> Manifest:
    workloads = called("Deployment") | called("StatefulSet")
    pod: Manifest = workloads[name]["spec"]["template"]["spec"]
    return pod


def test_ingress_exposes_only_the_frontend() -> None:
    [ingress] = of("Ingress")
    [rule] = ingress["spec"]["rules"]
    paths = rule["http"]["paths"]
    opened = {path["path"].strip("/") for path in paths}
    pages = PAGE_SEGMENTS | {STATIC_PATH.strip("/")}

    assert opened == {*ENDPOINTS["frontend"], "schema", "schema-assets", *pages}
    # a prefix `/` would expose the backend endpoints and /metrics
    assert {path["path"]: path["pathType"] for path in paths}["/"] == "Exact"
    assert {path["backend"]["service"]["name"] for path in paths} == {"frontend"}


def test_passwords_are_secrets_with_instructions() -> None:
    how = "".join((each / "kustomization.yaml").read_text() for each in (FOLDER, QUEUE))
    pods = [each["spec"]["template"]["spec"] for each in [*of("Deployment"), *of("Job"), PATCH]]
    secrets = [
        variable["valueFrom"]["secretKeyRef"]
        for pod in pods
        for container in pod["containers"]
        for variable in container.get("env", ())
        if "valueFrom" in variable
    ]

    assert of("Secret") == []
    assert len(secrets) >= 5
    for secret in secrets:
        assert f"secret generic {secret['name']} " in how
        assert f"--from-literal={secret['key']}=" in how


def test_migration_passwords_are_only_in_environment() -> None:
    [job] = of("Job")
    [psql] = job["spec"]["template"]["spec"]["containers"]
    how = (FOLDER / "kustomization.yaml").read_text()
    variables = {
        name for path in SQL.glob("*.sql") for name in re.findall(r"DB_\w+", path.read_text())
    }

    [secret] = psql["envFrom"]
    assert f"secret generic {secret['secretRef']['name']} " in how
    assert "PASSWORD" not in str(psql["command"])
    assert variables
    for name in variables | {"PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD"}:
        assert f"--from-literal={name}=" in how


def test_queue_is_reachable_with_and_without_tls() -> None:
    [egress] = called("NetworkPolicy")["queue"]["spec"]["egress"]

    assert {each["port"] for each in egress["ports"]} == {5671, 5672}
