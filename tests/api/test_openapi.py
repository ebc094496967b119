"""The description of the API at `/schema`, and the endpoints for operators."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest

from demo.arxiv import StandIn
from service.formats import FORMATS
from service.handlers import params
from service.settings import Settings
from tests.conftest import Gateway, Serve, served
from tests.support.pages import BROWSER

CHROMIUM = shutil.which("chromium")


async def fetch_schema(client: Gateway) -> dict[str, Any]:
    schema: dict[str, Any] = (await client.get("/schema")).json()
    return schema


def operations_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


async def test_schema_describes_every_endpoint(client: Gateway) -> None:
    schema = await fetch_schema(client)

    assert schema["openapi"].startswith("3.1")
    assert {path: set(methods) for path, methods in schema["paths"].items()} == {
        "/arxiv": {"get"},
        "/queries": {"get", "post"},
        "/api/query": {"get", "post"},
        "/queries/{query_id}": {"get"},
        "/queries/{query_id}/changes": {"get"},
        "/queries/{query_id}/feed": {"get"},
        "/announcements": {"get"},
        "/announcements/feed": {"get"},
        "/papers": {"get"},
        "/papers/{arxiv_id}": {"get"},
        "/papers/{arxiv_id}/similar": {"get"},
        "/papers/suggest": {"get"},
        "/results": {"get"},
        "/arxiv-api": {"get"},
        "/get-sequence": {"get"},
        "/write-queries": {"post"},
        "/write-results": {"post"},
        "/read-queries": {"get"},
        "/read-results": {"get"},
        "/find-answer": {"post"},
        "/find-results": {"post"},
        "/find-entries": {"post"},
        "/read-archive": {"post"},
        "/find-keys": {"post"},
        "/find-signing-key": {"get"},
        "/health/live": {"get"},
        "/health/ready": {"get"},
    }


async def test_schema_is_json_for_programs_and_a_page_for_browsers(client: Gateway) -> None:
    schema = await fetch_schema(client)
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    for accept in ("application/json", "*/*", ""):
        response = await client.get("/schema", headers={"accept": accept})
        assert response.json() == schema
        assert response.headers["vary"].startswith("Accept")
    page = await client.get("/schema", headers=browser)
    assert page.headers["content-type"].startswith("text/html")
    for headers in ({}, browser):
        assert (await client.get("/schema/openapi.json", headers=headers)).json() == schema


async def test_unknown_path_below_schema_is_an_error(client: Gateway) -> None:
    for accept, media_type in (
        (BROWSER["accept"], "text/html; charset=utf-8"),
        ("application/json", "application/problem+json"),
    ):
        response = await client.get("/schema/nowhere", headers={"accept": accept})
        assert response.status_code == 404
        assert response.headers["content-type"] == media_type


async def test_every_operation_has_a_summary_in_words_and_a_description(client: Gateway) -> None:
    for name, operation in operations_of(await fetch_schema(client)):
        assert " " in operation["summary"], name
        assert operation["summary"][0].isupper(), name
        assert not operation["summary"].endswith("."), name
        assert operation["description"].endswith("."), name
        assert re.fullmatch("[a-z]+([A-Z][a-z]+)*", operation["operationId"]), name


async def test_every_parameter_has_a_description_an_example_and_its_bounds(
    client: Gateway,
) -> None:
    schema = await fetch_schema(client)

    for name, operation in operations_of(schema):
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter)
            assert parameter["examples"], (name, parameter)
    bounds = {
        parameter["name"]: parameter["schema"]
        for parameter in schema["paths"]["/arxiv"]["get"]["parameters"]
    }
    assert "2000" in str(bounds["max_results"])
    assert "500" in str(bounds["title"])


async def test_every_response_and_its_fields_are_described(client: Gateway) -> None:
    schema = await fetch_schema(client)

    for name, operation in operations_of(schema):
        for status, response in operation["responses"].items():
            assert response["description"].endswith("."), (name, status)
    components = schema["components"]["schemas"]
    assert len(components) > 30
    for name, component in components.items():
        assert component["description"].endswith("."), name
        for field, described in component.get("properties", {}).items():
            assert described["description"], (name, field)


async def test_every_request_body_is_described(client: Gateway) -> None:
    bodies = {
        name: operation["requestBody"]
        for name, operation in operations_of(await fetch_schema(client))
        if "requestBody" in operation
    }

    assert len(bodies) == 9
    for name, body in bodies.items():
        assert body["description"].endswith("."), name


async def test_every_reference_is_to_a_component(client: Gateway) -> None:
    schema = await fetch_schema(client)

    references = re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema))
    names = schema["components"]["schemas"]
    assert set(references) == {f"#/components/schemas/{name}" for name in names}


async def test_internal_operations_are_the_last_group(client: Gateway) -> None:
    schema = await fetch_schema(client)

    names = [tag["name"] for tag in schema["tags"]]
    assert names == ["frontend", "backend", "operations", "internal"]
    groups: dict[str, set[str]] = {name: set() for name in names}
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            [tag] = operation["tags"]
            groups[tag].add(path)
    assert groups["internal"] == {
        "/find-answer",
        "/find-results",
        "/find-entries",
        "/read-archive",
        "/find-keys",
        "/find-signing-key",
    }
    assert groups["operations"] == {"/health/live", "/health/ready"}
    assert {"/arxiv", "/queries", "/results", "/papers"} <= groups["frontend"]
    assert {"/arxiv-api", "/get-sequence", "/read-results"} <= groups["backend"]


async def test_every_body_and_every_response_has_an_example(client: Gateway) -> None:
    schema = await fetch_schema(client)

    for path, methods in schema["paths"].items():
        for operation in methods.values():
            if body := operation.get("requestBody"):
                [described] = body["content"].values()
                assert described["schema"]["examples"], path
            [status] = [code for code in operation["responses"] if code.startswith("2")]
            content = operation["responses"][status]["content"]
            for media_type, described in content.items():
                if media_type == "application/json":
                    assert described["examples"], path
                else:
                    assert described["schema"] == {"type": "string"}, path


async def test_every_format_of_a_list_is_described(client: Gateway) -> None:
    schema = await fetch_schema(client)

    similar = "/papers/{arxiv_id}/similar"
    others = "/announcements", "/papers", similar
    for path in ("/results", "/queries", "/read-results", "/read-queries", *others):
        responses = schema["paths"][path]["get"]["responses"]
        assert set(responses["200"]["content"]) == {each.media_type for each in FORMATS.values()}
        assert set(responses["406"]["content"]) == {"application/problem+json"}
    assert set(schema["paths"]["/queries"]["post"]["responses"]["200"]["content"]) == {
        "application/json"
    }


async def test_errors_are_described_as_problems(client: Gateway) -> None:
    schema = await fetch_schema(client)

    for path in ("/arxiv", "/queries", "/results", "/arxiv-api", "/write-results"):
        for operation in schema["paths"][path].values():
            rejection = operation["responses"]["400"]["content"]
            assert set(rejection) == {"application/problem+json"}, path
    assert {"400", "502", "503", "504"} <= set(schema["paths"]["/arxiv"]["get"]["responses"])


async def test_earlier_requests_do_not_change_the_schema(
    client: Gateway, gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = await fetch_schema(client)
    monkeypatch.setattr(params, "_parameters", {})  # as in a new process

    async with gateway() as other:
        await other.get("/arxiv?title=testing")
        await other.get("/results")
        assert await fetch_schema(other) == schema


async def test_responses_that_depend_on_headers_are_described(client: Gateway) -> None:
    paths = (await fetch_schema(client))["paths"]

    for path in ("/arxiv", "/results", "/papers/{arxiv_id}", "/queries/{query_id}/feed"):
        operation = paths[path]["get"]
        assert "content" not in operation["responses"]["304"], path
        assert "If-None-Match" in {each["name"] for each in operation["parameters"]}, path
    for path in ("/queries", "/write-queries", "/write-results"):
        assert {"413", "415"} <= set(paths[path]["post"]["responses"]), path
    assert "406" not in paths["/queries"]["post"]["responses"]  # always JSON
    assert "400" in paths["/health/live"]["get"]["responses"]


async def test_schema_has_exact_bounds_and_formats(client: Gateway) -> None:
    schema = await fetch_schema(client)

    found = {
        each["name"]: each["schema"] for each in schema["paths"]["/results"]["get"]["parameters"]
    }
    assert found["page"]["minimum"] == 0
    assert found["format"]["enum"] == [*FORMATS]
    paper, *_ = schema["paths"]["/papers/{arxiv_id}"]["get"]["parameters"]
    assert "format" not in paper["schema"]  # a path is not a URI
    bodies = schema["components"]["schemas"]
    assert bodies["WriteQueryRequest"]["properties"]["query_id"]["maximum"] == 2**63 - 1
    assert bodies["QueryRange"]["additionalProperties"] is False
    status, _null = bodies["QueryRange"]["properties"]["status"]["anyOf"]
    assert status["minimum"] == 0


async def test_fields_of_rows_are_optional_in_the_schema(client: Gateway) -> None:
    schema = await fetch_schema(client)

    for name in ("Result", "Query", "StoredResult", "QueryRow", "FoundPaper", "AnnouncedPaper"):
        row = schema["components"]["schemas"][f"{name}Columns"]
        assert row["properties"]
        assert not row.get("required"), name


async def test_schema_has_the_token_if_one_is_required(client: Gateway, gateway: Serve) -> None:
    async with gateway(backend_token="x" * 16) as protected:
        paths = (await fetch_schema(protected))["paths"]

    assert paths["/get-sequence"]["get"]["security"] == [
        {"token": []},
        {"token_as_password": []},
    ]
    assert "security" not in paths["/results"]["get"]
    assert "security" not in (await fetch_schema(client))["paths"]["/get-sequence"]["get"]


async def test_recorded_search_links_to_operations_with_its_query_id(client: Gateway) -> None:
    paths = (await fetch_schema(client))["paths"]

    operations = {each["operationId"] for methods in paths.values() for each in methods.values()}
    links = paths["/arxiv"]["get"]["responses"]["200"]["links"]
    assert {"search", "changes", "feed", "results"} == set(links)
    assert {each["operationId"] for each in links.values()} <= operations


async def test_schema_is_the_same_after_a_restart(client: Gateway, gateway: Serve) -> None:
    async with gateway() as other:
        assert await fetch_schema(other) == await fetch_schema(client)


async def test_page_loads_local_assets_only(client: Gateway) -> None:
    page = await client.get("/schema", headers={"accept": "text/html,*/*"})

    assert page.headers["content-type"].startswith("text/html")
    sources = re.findall(r"(?:src|href)=['\"]([^'\"]+)['\"]", page.text)
    assert len(sources) == 2
    for source in sources:
        assert source.startswith("/")
        asset = await client.get(source)
        assert asset.status_code == 200
        assert len(asset.content) > 10_000


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_shows_the_operations_in_a_browser(
    settings: Callable[..., Settings],
    arxiv: StandIn,  # noqa: ARG001 - without earlier requests
) -> None:
    with served(settings()) as url:
        browser = subprocess.run(
            [
                *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
                *("--virtual-time-budget=20000", "--dump-dom", f"{url}/schema"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    page = unescape(browser.stdout)

    paths = re.findall(r'data-path="([^"]+)"', page)
    assert {"/arxiv", "/results", "/papers/{arxiv_id}", "/arxiv-api"} <= set(paths)
    assert "/find-answer" not in paths  # the group is collapsed
    assert re.findall(r'<h3[^>]*id="operations-tag-(\w+)"', page) == [
        "frontend",
        "backend",
        "operations",
        "internal",
    ]
    assert "Search arXiv" in page


async def test_process_without_a_database_is_live(client: Gateway, gateway: Serve) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).json()["status"] == "ready"

    async with gateway(database_url="host=127.0.0.1 port=9 connect_timeout=2") as disconnected:
        assert (await disconnected.get("/health/live")).status_code == 200


async def test_service_without_its_replica_is_not_ready(gateway: Serve) -> None:
    async with gateway(database_ro_url="host=127.0.0.1 port=9 connect_timeout=2") as client:
        response = await client.get("/health/ready")

    assert response.status_code == 503


async def test_service_without_migrations_is_not_ready(gateway: Serve, server: str) -> None:
    async with gateway(database_url=server) as client:
        response = await client.get("/health/ready")

    assert response.status_code == 503
    assert "migrat" in response.json()["detail"]


async def test_metrics_count_requests(client: Gateway) -> None:
    await client.get("/results")
    metrics = await client.get("/metrics")

    assert metrics.status_code == 200
    assert re.search(r'http_requests_total\{.*path="/results".*\} [1-9]', metrics.text)


@pytest.mark.parametrize("request_id", ["", "x" * 65, "a b", "a\tb", "é"])
async def test_invalid_request_id_is_replaced(client: Gateway, request_id: str) -> None:
    response = await client.get("/health/live", headers={b"x-request-id": request_id.encode()})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


async def test_request_id_of_the_client_is_used(client: Gateway) -> None:
    response = await client.get("/nowhere", headers={"x-request-id": "job-7.a_B"})

    assert response.headers["x-request-id"] == "job-7.a_B"
    assert response.json()["request_id"] == "job-7.a_B"
