"""The manifests in deploy/kubernetes: valid, of one piece, and closed where they should be."""

import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import ENDPOINTS, Settings
from tests.process import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.28", kubernetes_validate.latest_version())
Manifest = dict[str, Any]


def documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]


KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES = sorted({path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"})
MANIFESTS = [each for name in FILES for each in documents((FOLDER / name).read_text())]


def of(kind: str) -> list[Manifest]:
    return [each for each in MANIFESTS if each["kind"] == kind]


def called(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in of(kind)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=[f"{each['kind']}-{each['metadata']['name']}" for each in MANIFESTS]
)
def test_every_manifest_is_what_kubernetes_takes(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_kustomize_takes_all_of_them() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == FILES
    if shutil.which("kubectl") is None:
        pytest.skip("not installed: kubectl")
    built = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True
    )

    made = documents(built.stdout)
    assert len(made) == len(MANIFESTS)
    assert {each["metadata"]["namespace"] for each in made} == {"arxiv"}
    assert "localhost/arxiv-gateway" not in built.stdout


@pytest.mark.parametrize("name", ["search", "read"])
class TestADeployment:
    def test_what_belongs_to_it_finds_it(self, name: str) -> None:
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
        [served] = [each for each in of("NetworkPolicy") if each["metadata"]["name"] == "served"]
        assert name in served["spec"]["podSelector"]["matchExpressions"][0]["values"]

    def test_its_settings_are_settings(self, name: str) -> None:
        [container] = pod_of(name)["containers"]
        given = called("ConfigMap")["arxiv-settings"]["data"] | {
            each["name"]: each.get("value", "host=db") for each in container["env"]
        }

        settings = Settings.from_env(given)

        assert settings.served <= {*ENDPOINTS["frontend"]}
        assert settings.log_format == "json"

    def test_it_has_only_what_it_needs(self, name: str) -> None:
        pod = pod_of(name)
        [container] = pod["containers"]

        # variables like ARXIV_PORT would be refused as settings
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_its_probes_ask_what_there_is(self, name: str) -> None:
        [container] = pod_of(name)["containers"]
        asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES}

        assert asked == PROBES


PROBES = {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def pod_of(name: str) -> Manifest:
    pod: Manifest = called("Deployment")[name]["spec"]["template"]["spec"]
    return pod


def test_the_ingress_opens_the_frontend_and_nothing_else() -> None:
    [ingress] = of("Ingress")
    [rule] = ingress["spec"]["rules"]
    opened = {
        path["path"].strip("/"): path["backend"]["service"]["name"]
        for path in rule["http"]["paths"]
    }

    assert set(opened) == {*ENDPOINTS["frontend"], "schema", "schema-assets"}
    assert [path for path, pool in opened.items() if pool == "search"] == ["arxiv"]


def test_passwords_are_referred_to_and_told_how_to_make() -> None:
    how = (FOLDER / "kustomization.yaml").read_text()
    pods = [each["spec"]["template"]["spec"] for each in of("Deployment") + of("Job")]
    secrets = [
        variable["valueFrom"]["secretKeyRef"]
        for pod in pods
        for container in pod["containers"]
        for variable in container["env"]
        if "valueFrom" in variable
    ]

    assert of("Secret") == []
    assert len(secrets) >= 7
    for secret in secrets:
        assert f"secret generic {secret['name']} " in how
        assert f"--from-literal={secret['key']}=" in how
