"""What the service says of itself: `/schema`, `/health`, `/metrics`."""

import re
from typing import Any

import pytest

from service.formats import FORMATS
from service.middleware import query_params
from tests.conftest import Gateway, Serve


async def schema_of(client: Gateway) -> dict[str, Any]:
    described: dict[str, Any] = (await client.get("/schema")).json()
    return described


async def test_the_schema_describes_every_endpoint(client: Gateway) -> None:
    schema = await schema_of(client)

    assert schema["openapi"].startswith("3.1")
    assert {path: set(methods) for path, methods in schema["paths"].items()} == {
        "/arxiv": {"get"},
        "/queries": {"get", "post"},
        "/queries/{query_id}": {"get"},
        "/queries/{query_id}/changes": {"get"},
        "/queries/{query_id}/feed": {"get"},
        "/papers": {"get"},
        "/papers/{arxiv_id}": {"get"},
        "/results": {"get"},
        "/arxiv-api": {"get"},
        "/get-sequence": {"get"},
        "/write-queries": {"post"},
        "/write-results": {"post"},
        "/read-queries": {"get"},
        "/read-results": {"get"},
        "/find-answer": {"post"},
        "/find-results": {"post"},
        "/read-archive": {"post"},
        "/find-keys": {"post"},
        "/health/live": {"get"},
        "/health/ready": {"get"},
    }
    assert (await client.get("/schema/openapi.json")).json() == schema


async def test_every_parameter_has_a_description_an_example_and_its_bounds(
    client: Gateway,
) -> None:
    schema = await schema_of(client)

    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            for parameter in operation.get("parameters", []):
                assert parameter["description"], (path, parameter)
                assert parameter["examples"], (path, parameter)
    limits = {
        parameter["name"]: parameter["schema"]
        for parameter in schema["paths"]["/arxiv"]["get"]["parameters"]
    }
    assert "2000" in str(limits["max_results"])
    assert "500" in str(limits["title"])


async def test_every_body_and_every_answer_has_an_example(client: Gateway) -> None:
    schema = await schema_of(client)

    for path, methods in schema["paths"].items():
        for operation in methods.values():
            if body := operation.get("requestBody"):
                assert body["content"]["application/json"]["schema"]["examples"], path
            [answer] = [code for code in operation["responses"] if code.startswith("2")]
            content = operation["responses"][answer]["content"]
            for media_type, described in content.items():
                if media_type == "application/json":
                    assert described["examples"], path
                else:
                    assert described["schema"] == {"type": "string"}, path


async def test_every_format_of_a_list_is_described(client: Gateway) -> None:
    schema = await schema_of(client)

    for path in ("/results", "/queries", "/read-results", "/read-queries", "/papers"):
        responses = schema["paths"][path]["get"]["responses"]
        assert set(responses["200"]["content"]) == {each.media_type for each in FORMATS.values()}
        assert set(responses["406"]["content"]) == {"application/problem+json"}
    assert set(schema["paths"]["/queries"]["post"]["responses"]["200"]["content"]) == {
        "application/json"
    }


async def test_errors_are_described_as_problems(client: Gateway) -> None:
    schema = await schema_of(client)

    for path in ("/arxiv", "/queries", "/results", "/arxiv-api", "/write-results"):
        for operation in schema["paths"][path].values():
            refused = operation["responses"]["400"]["content"]
            assert set(refused) == {"application/problem+json"}, path
    assert {"400", "502", "503", "504"} <= set(schema["paths"]["/arxiv"]["get"]["responses"])


async def test_requests_before_it_take_nothing_from_the_description(
    client: Gateway, gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    untouched = await schema_of(client)
    monkeypatch.setattr(query_params, "_parameters", {})  # as in a new process

    async with gateway() as asked:
        await asked.get("/arxiv?title=testing")
        await asked.get("/results")
        assert await schema_of(asked) == untouched


async def test_what_depends_on_headers_is_described(client: Gateway) -> None:
    paths = (await schema_of(client))["paths"]

    for path in ("/arxiv", "/results", "/papers/{arxiv_id}", "/queries/{query_id}/feed"):
        operation = paths[path]["get"]
        assert "content" not in operation["responses"]["304"], path
        assert "If-None-Match" in {each["name"] for each in operation["parameters"]}, path
    for path in ("/queries", "/write-queries", "/write-results"):
        assert {"413", "415"} <= set(paths[path]["post"]["responses"]), path
    assert "406" not in paths["/queries"]["post"]["responses"]  # it is always JSON
    assert "400" in paths["/health/live"]["get"]["responses"]


async def test_bounds_and_formats_are_described_as_they_are(client: Gateway) -> None:
    schema = await schema_of(client)

    found = {
        each["name"]: each["schema"] for each in schema["paths"]["/results"]["get"]["parameters"]
    }
    assert found["page"]["minimum"] == 0
    assert found["format"]["enum"] == [*FORMATS]
    paper, *_ = schema["paths"]["/papers/{arxiv_id}"]["get"]["parameters"]
    assert "format" not in paper["schema"]  # it is no URI
    bodies = schema["components"]["schemas"]
    assert bodies["WriteQueryRequest"]["properties"]["query_id"]["maximum"] == 2**63 - 1
    assert bodies["QueryRange"]["additionalProperties"] is False
    status, _null = bodies["QueryRange"]["properties"]["status"]["anyOf"]
    assert status["minimum"] == 0


async def test_rows_may_lack_columns_in_the_description(client: Gateway) -> None:
    schema = await schema_of(client)

    for name in ("Result", "Query", "ResultRow", "QueryRow", "FoundPaper"):
        row = schema["components"]["schemas"][f"{name}Columns"]
        assert row["properties"]
        assert not row.get("required"), name


async def test_the_token_is_described_where_it_is_asked_for(
    client: Gateway, gateway: Serve
) -> None:
    async with gateway(backend_token="x" * 16) as closed:
        asked = (await schema_of(closed))["paths"]

    assert asked["/get-sequence"]["get"]["security"] == [{"token": []}]
    assert "security" not in asked["/results"]["get"]
    assert "security" not in (await schema_of(client))["paths"]["/get-sequence"]["get"]


async def test_a_recorded_search_links_to_what_takes_its_number(client: Gateway) -> None:
    paths = (await schema_of(client))["paths"]

    operations = {each["operationId"] for methods in paths.values() for each in methods.values()}
    links = paths["/arxiv"]["get"]["responses"]["200"]["links"]
    assert {"search", "changes", "feed", "results"} == set(links)
    assert {each["operationId"] for each in links.values()} <= operations


async def test_the_description_is_the_same_after_a_restart(client: Gateway, gateway: Serve) -> None:
    async with gateway() as other:
        assert await schema_of(other) == await schema_of(client)


async def test_the_page_for_people_loads_nothing_from_elsewhere(client: Gateway) -> None:
    page = await client.get("/schema", headers={"accept": "text/html,*/*"})

    assert page.headers["content-type"].startswith("text/html")
    sources = re.findall(r"(?:src|href)=['\"]([^'\"]+)['\"]", page.text)
    assert len(sources) == 2
    for source in sources:
        assert source.startswith("/")
        asset = await client.get(source)
        assert asset.status_code == 200
        assert len(asset.content) > 10_000


async def test_health_tells_life_from_readiness(client: Gateway, gateway: Serve) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).json()["status"] == "ready"

    async with gateway(database_url="host=127.0.0.1 port=9 connect_timeout=2") as cut_off:
        assert (await cut_off.get("/health/live")).status_code == 200


async def test_readers_that_are_cut_off_are_not_ready(gateway: Serve) -> None:
    async with gateway(database_ro_url="host=127.0.0.1 port=9 connect_timeout=2") as client:
        response = await client.get("/health/ready")

    assert response.status_code == 503


async def test_a_database_without_migrations_is_not_ready(gateway: Serve, server: str) -> None:
    async with gateway(database_url=server) as client:
        response = await client.get("/health/ready")

    assert response.status_code == 503
    assert "migrat" in response.json()["detail"]


async def test_metrics_count_the_requests(client: Gateway) -> None:
    await client.get("/results")
    metrics = await client.get("/metrics")

    assert metrics.status_code == 200
    assert re.search(r'http_requests_total\{.*path="/results".*\} [1-9]', metrics.text)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é"])
async def test_a_request_id_that_is_none_is_replaced(client: Gateway, given: str) -> None:
    response = await client.get("/health/live", headers={b"x-request-id": given.encode()})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


async def test_a_request_id_is_taken_over(client: Gateway) -> None:
    response = await client.get("/nowhere", headers={"x-request-id": "job-7.a_B"})

    assert response.headers["x-request-id"] == "job-7.a_B"
    assert response.json()["request_id"] == "job-7.a_B"
