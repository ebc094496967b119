"""The alerts and the dashboard in deploy/ use existing metrics and work as intended."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import QueueCollector
from service.queue.rabbitmq import Backlog
from tests.conftest import Gateway, Serve
from tests.support.process import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "arxiv-gateway.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
CASES = yaml.safe_load((ROOT / "tests" / "deploy" / "alerts.yml").read_text())["tests"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

SELECTOR = re.compile(r"\b([a-z]+(?:_[a-z]+)+)(?:\{([^}]*)\}|\[|\)| |$)")
"""A series with its labels. Names without underscore are functions, or `up` of Prometheus."""
FUNCTIONS = {"histogram_quantile", "clamp_min"}
GIVEN = {"job", "instance"}
"""Labels added by Prometheus."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    alerts: list[dict[str, Any]] = group["rules"]
    return alerts


def promtool(*arguments: str | Path) -> None:
    """Run promtool; skip the test if it is not installed."""
    if shutil.which("promtool") is None:
        pytest.skip("not installed: promtool")
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def queue_metrics() -> str:
    """Return the metrics of a queue, which the service in these tests does not have."""
    queue, registry = QueueCollector(), CollectorRegistry()
    queue.connected, queue.backlog = True, Backlog(waiting=0, writers=0, parked=0)
    registry.register(queue)
    return generate_latest(registry).decode()


async def test_error_of_arxiv_does_not_count_as_an_unhandled_error(gateway: Serve) -> None:
    series = r'http_requests_total\{[^}]*path="/api/query",status_code="(\d+)"\} (\S+)'
    arxiv = httpx.MockTransport(lambda _: httpx.Response(500, content=b"oops"))
    counts = []
    async with gateway(arxiv) as client:
        for _ in range(2):
            response = await client.get("/api/query?search_query=ti:testing")
            counts.append(dict(re.findall(series, (await client.get("/metrics")).text)))

    assert response.status_code == 500
    assert float(counts[1]["502"]) == float(counts[0]["502"]) + 1
    assert counts[1].get("500") == counts[0].get("500")


async def test_every_used_series_exists_with_its_labels(client: Gateway) -> None:
    for path in ("/arxiv?title=testing", "/results", "/nowhere"):
        await client.get(path)
    text = (await client.get("/metrics")).text + queue_metrics()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)

    named = set()
    for expression in [*SHOWN, *(rule["expr"] for rule in rules())]:
        for name, selected in SELECTOR.findall(re.sub(r"\bby \([^)]*\)", "", expression)):
            if name not in FUNCTIONS:
                named.add(name)
                assert name in labels, expression
                assert set(re.findall(r"(\w+)(?:!?=|=~|!~)", selected)) <= labels[name] | GIVEN

    own = {name for name in labels if name.startswith("arxiv_gateway_")}
    unseen = {name for name in own - named if not name.endswith(("_sum", "_count"))}
    assert unseen == set()


def test_prometheus_files_are_valid() -> None:
    promtool("check", "rules", PROMETHEUS / "alerts.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_alerts_fire_only_when_expected() -> None:
    promtool("test", "rules", ROOT / "tests" / "deploy" / "alerts.yml")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_has_positive_and_negative_case(rule: dict[str, Any]) -> None:
    tried = {
        bool(each["exp_alerts"])
        for case in CASES
        for each in case["alert_rule_test"]
        if each["alertname"] == rule["alert"]
    }
    assert tried == {True, False}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_links_to_its_runbook(rule: dict[str, Any]) -> None:
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert document == "docs/operations.md"
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in OPERATIONS
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_runbook_has_no_unknown_alert() -> None:
    documented = re.findall(r"^### (ArxivGateway\w+)$", OPERATIONS, re.MULTILINE)
    assert sorted(documented) == sorted(rule["alert"] for rule in rules())


def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    panel_rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(SHOWN)
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panel_rules}]}))
    promtool("check", "rules", file)


def test_dashboard_is_consistent() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == (
        "datasource",
        "prometheus",
    )
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(variables)
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
            refs = [target["refId"] for target in panel["targets"]]
            assert len(refs) == len(set(refs))


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (at["x"] + column, at["y"] + line)
            for column in range(at["w"])
            for line in range(at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells


async def test_metrics_pass_promtool(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    response: httpx.Response = await client.get("/metrics")
    own = "".join(
        f"{line}\n"
        for line in (response.text + queue_metrics()).splitlines()
        if re.match(r"(# \w+ )?arxiv_gateway", line)
    )
    if shutil.which("promtool") is None:
        pytest.skip("not installed: promtool")
    ran = subprocess.run(  # noqa: ASYNC221 - short
        ["promtool", "check", "metrics"], input=own, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
