"""What deploy/ gives Prometheus and Grafana: all of it exists, and alerts fire when they should."""

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
from tests.conftest import Gateway
from tests.support.process import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "arxiv-gateway.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
CASES = yaml.safe_load((ROOT / "tests" / "alerts.yml").read_text())["tests"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

SELECTOR = re.compile(r"\b([a-z]+(?:_[a-z]+)+)(?:\{([^}]*)\}|\[|\)| |$)")
"""A series with its labels. Names of one word are functions, and `up`, which Prometheus makes."""
FUNCTIONS = {"histogram_quantile", "clamp_min"}
GIVEN = {"job", "instance"}
"""Labels that Prometheus adds."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    alerts: list[dict[str, Any]] = group["rules"]
    return alerts


def promtool(*arguments: str | Path) -> None:
    """Run Prometheus's own checker; the test skips where it is not."""
    if shutil.which("promtool") is None:
        pytest.skip("not installed: promtool")
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def told_of_a_queue() -> str:
    """What there is of a queue, which the service of these tests does without."""
    queue, registry = QueueCollector(), CollectorRegistry()
    queue.connected, queue.backlog = True, Backlog(waiting=0, writers=0, parked=0)
    registry.register(queue)
    return generate_latest(registry).decode()


async def test_every_series_named_is_there_with_its_labels(client: Gateway) -> None:
    for path in ("/arxiv?title=testing", "/results", "/nowhere"):
        await client.get(path)
    text = (await client.get("/metrics")).text + told_of_a_queue()
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

    ours = {name for name in labels if name.startswith("arxiv_gateway_")}
    unseen = {name for name in ours - named if not name.endswith(("_sum", "_count"))}
    assert unseen == set()


def test_prometheus_takes_its_files() -> None:
    promtool("check", "rules", PROMETHEUS / "alerts.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_alerts_fire_and_stay_silent_as_they_should() -> None:
    promtool("test", "rules", ROOT / "tests" / "alerts.yml")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_is_tried_both_ways(rule: dict[str, Any]) -> None:
    tried = {
        bool(each["exp_alerts"])
        for case in CASES
        for each in case["alert_rule_test"]
        if each["alertname"] == rule["alert"]
    }
    assert tried == {True, False}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_leads_to_what_to_do(rule: dict[str, Any]) -> None:
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert document == "docs/operations.md"
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in OPERATIONS
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_document_knows_no_other_alert() -> None:
    told = re.findall(r"^### (ArxivGateway\w+)$", OPERATIONS, re.MULTILINE)
    assert sorted(told) == sorted(rule["alert"] for rule in rules())


def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(SHOWN)
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))
    promtool("check", "rules", file)


def test_the_dashboard_is_of_one_piece() -> None:
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


def test_no_panel_lies_upon_another() -> None:
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


async def test_promtool_finds_nothing_to_say_of_the_metrics(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    answer: httpx.Response = await client.get("/metrics")
    ours = "".join(
        f"{line}\n"
        for line in (answer.text + told_of_a_queue()).splitlines()
        if re.match(r"(# \w+ )?arxiv_gateway", line)
    )
    if shutil.which("promtool") is None:
        pytest.skip("not installed: promtool")
    ran = subprocess.run(  # noqa: ASYNC221 - it takes a moment
        ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
