"""Reading recorded searches from `/queries`, `/results` and the backend."""

import json
from datetime import UTC, datetime

import psycopg
import pytest

from tests.conftest import Gateway, Serve

NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
DAY = 86_400


@pytest.fixture
def three(db: psycopg.Connection) -> None:
    """Searches at noon on three days, the last without a response of arXiv."""
    for query_id, days, status in ((1, 0, 200), (2, 1, 200), (3, 2, 429)):
        db.execute(
            "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
            " values (%s, %s, %s, 40, 2, %s)",
            (query_id, NOON + days * DAY, status, f"search_query=ti:{query_id}"),
        )
        db.execute(
            "insert into results (query_id, timestamp, result_number, author, title, journal)"
            " select %s, %s, n, 'A, B', format('paper %%s', n), null"
            " from generate_series(0, 1) as n",
            (query_id, NOON + days * DAY),
        )


@pytest.mark.usefixtures("three")
async def test_queries_are_a_download(client: Gateway) -> None:
    response = await client.get("/queries")

    assert response.headers["content-disposition"] == "attachment; filename=query_data.json"
    assert response.headers["content-type"] == "application/json"
    first = json.loads(response.text)[0]
    assert first["query"] == "ArXiv Query: search_query=ti:1"
    assert first["timestamp"] == "2026-11-23T12:00:00"
    assert (first["query_id"], first["status"], first["num_results"]) == (1, 200, 40)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (None, None, [1, 2, 3]),
        ("2026-11-23T12:00:00", "2026-11-25T12:00:00", [1, 2, 3]),
        ("2026-11-23T12:00:01", "2026-11-25T11:59:59", [2]),
        ("2026-11-23T12:00:00.5", None, [2, 3]),
        ("2026-11-24", "2026-11-24", [2]),
        ("2026-11-24", None, [2, 3]),
        (None, "2026-11-24", [1, 2]),
        ("2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00Z", [1]),
        ("2026-11-23T13:00:00 01:00", "2026-11-23T12:00Z", [1]),
        ("2027-01-01", None, []),
    ],
)
async def test_time_range_includes_both_ends(
    client: Gateway, start: str | None, end: str | None, found: list[int]
) -> None:
    times = {"start_timestamp": start, "end_timestamp": end}
    params = {name: time for name, time in times.items() if time is not None}

    downloaded = await client.get("/queries", params=params)
    listed = await client.post("/queries", json=params)

    assert [row["query_id"] for row in downloaded.json()] == found
    assert listed.json() == downloaded.json()
    assert "content-disposition" not in listed.headers


@pytest.mark.usefixtures("three")
async def test_timestamps_are_in_the_configured_zone(gateway: Serve) -> None:
    async with gateway(timezone="Asia/Kolkata") as client:
        params = {"start_timestamp": "2026-11-23T17:30:00", "end_timestamp": "2026-11-23T17:30:00"}
        response = await client.get("/queries", params=params)
        results = await client.get("/results", params={"items_per_page": 1})

    assert [row["timestamp"] for row in response.json()] == ["2026-11-23T17:30:00"]
    assert results.json()[0]["timestamp"] == "2026-11-23T17:30:00"


@pytest.mark.usefixtures("three")
async def test_results_are_paged_in_a_stable_order(client: Gateway) -> None:
    pages = [
        (await client.get("/results", params={"page": page, "items_per_page": 4})).json()
        for page in range(3)
    ]

    places = [(row["query_id"], row["result_number"]) for page in pages for row in page]
    assert places == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert [len(page) for page in pages] == [4, 2, 0]
    assert pages[0][0] == {
        "author": "A, B",
        "title": "paper 0",
        "journal": None,
        "query_id": 1,
        "timestamp": "2026-11-23T12:00:00",
        "result_number": 0,
        "arxiv_id": None,
        "version": None,
        "url": None,
    }


@pytest.mark.usefixtures("three")
async def test_default_page_size_is_a_setting(gateway: Serve) -> None:
    async with gateway(items_per_page=3) as client:
        assert len((await client.get("/results")).json()) == 3
        assert len((await client.get("/read-results")).json()) == 3


@pytest.mark.usefixtures("three")
async def test_backend_returns_the_same_rows_with_unix_times(client: Gateway) -> None:
    queries = await client.get(
        "/read-queries", params={"start_timestamp": NOON + 1, "end_timestamp": NOON + DAY}
    )
    results = await client.get("/read-results", params={"page": 1, "items_per_page": 5})

    assert queries.json() == [
        {
            "query_id": 2,
            "timestamp": NOON + DAY,
            "status": 200,
            "num_results": 40,
            "num_entries": 2,
            "query": "ArXiv Query: search_query=ti:2",
            "outcome": "ok",
        }
    ]
    assert [(row["query_id"], row["timestamp"]) for row in results.json()] == [(3, NOON + 2 * DAY)]


@pytest.mark.usefixtures("arxiv")
async def test_read_delay_hides_recent_rows(gateway: Serve, db: psycopg.Connection) -> None:
    async with gateway(settle=60) as client:
        await client.get("/arxiv", params={"title": "testing"})
        fresh = [(await client.get(path)).json() for path in ("/queries", "/results")]
        db.execute("update queries set timestamp = timestamp - 61")
        assert (await client.get("/queries")).json() == []  # it came late
        db.execute("update queries set recorded = recorded - 61")
        db.execute("update results set timestamp = timestamp - 61")
        settled = [(await client.get(path)).json() for path in ("/queries", "/results")]

    assert fresh == [[], []]
    assert [len(rows) for rows in settled] == [1, 10]


async def test_search_can_be_recorded_through_the_backend(
    client: Gateway, db: psycopg.Connection
) -> None:
    response = (await client.get("/arxiv-api", params={"title": "testing"})).json()
    query_id = (await client.get("/get-sequence")).json()["sequence"]
    head = {name: value for name, value in response.items() if name != "data"}
    body = {"query_id": query_id, "timestamp": response["timestamp"], "results": response["data"]}
    results = await client.post("/write-results", json=body)
    queries = await client.post("/write-queries", json={"query_id": query_id} | head)

    assert (results.status_code, queries.status_code) == (201, 201)
    assert set(results.json()) == {"message"}
    assert set(response["data"][0]) >= {"authors", "title", "journal", "arxiv_id", "summary"}
    [row] = (await client.get("/queries")).json()
    assert row["query"].startswith('ArXiv Query: search_query=ti:"testing"')
    assert row["num_entries"] == 10
    stored = (await client.get("/results")).json()
    assert [paper["title"] for paper in stored] == [paper["title"] for paper in response["data"]]
    assert stored[0]["author"] == ", ".join(response["data"][0]["authors"])
    assert db.execute("select count(*) from results").fetchone() == (10,)


async def test_arxiv_api_records_nothing(client: Gateway, db: psycopg.Connection) -> None:
    await client.get("/arxiv-api", params={"title": "testing"})

    assert db.execute("select count(*) from queries").fetchone() == (0,)


async def test_query_id_is_unique(client: Gateway) -> None:
    numbers = [(await client.get("/get-sequence")).json()["sequence"] for _ in range(20)]

    assert numbers == sorted(set(numbers))


QUERY = {
    "query_id": 7,
    "timestamp": NOON,
    "status": 200,
    "num_results": 1,
    "num_entries": 1,
    "query": "search_query=x",
}
RESULTS = {
    "query_id": 7,
    "timestamp": NOON,
    "results": [{"authors": "A, B", "title": "T"}, {"authors": ["C"], "title": "U"}],
}


async def test_failed_search_can_be_recorded_through_the_backend(client: Gateway) -> None:
    failed = QUERY | {"status": 503, "num_results": 0, "num_entries": 0, "outcome": "busy"}
    await client.post("/write-queries", json=failed)

    [row] = (await client.get("/read-queries")).json()
    assert row["outcome"] == "busy"
    again = await client.post("/write-queries", json=row)
    assert again.status_code == 201


@pytest.mark.parametrize("prefix", ["", "arXiv Query: ", "ArXiv Query: "])
async def test_query_prefix_is_not_stored(
    client: Gateway, db: psycopg.Connection, prefix: str
) -> None:
    await client.post("/write-queries", json=QUERY | {"query": f"{prefix}search_query=x"})

    assert db.execute("select query from queries").fetchall() == [("search_query=x",)]
    assert (await client.get("/queries")).json()[0]["query"] == "ArXiv Query: search_query=x"


@pytest.mark.parametrize(("path", "body"), [("/write-queries", QUERY), ("/write-results", RESULTS)])
async def test_repeated_write_changes_nothing(
    client: Gateway, db: psycopg.Connection, path: str, body: dict[str, object]
) -> None:
    statuses = [(await client.post(path, json=body)).status_code for _ in range(2)]

    assert statuses == [201, 201]
    counts = "select (select count(*) from queries), (select count(*) from results)"
    assert db.execute(counts).fetchone() in {(1, 0), (0, 2)}


async def test_different_write_under_the_same_query_id_is_a_conflict(
    client: Gateway, db: psycopg.Connection
) -> None:
    await client.post("/write-queries", json=QUERY)
    await client.post("/write-results", json=RESULTS)
    third = {"authors": "D", "title": "V"}
    first, second = {"authors": "A, B", "title": "T"}, {"authors": ["C"], "title": "U"}
    changed = [{"authors": "A, B", "title": "T"}, third, third]

    query = await client.post("/write-queries", json=QUERY | {"status": 500})
    others = [changed, [first], [], [first, second, third], [second, first]]
    statuses = [
        (await client.post("/write-results", json=RESULTS | {"results": other})).status_code
        for other in others
    ]

    assert (query.status_code, statuses) == (409, [409] * 5)
    assert query.headers["content-type"] == "application/problem+json"
    assert db.execute("select status from queries").fetchall() == [(200,)]
    assert db.execute("select title from results order by id").fetchall() == [("T",), ("U",)]


async def test_query_ids_taken_by_operators_are_skipped(
    client: Gateway, db: psycopg.Connection
) -> None:
    for query_id in (1, 2, 3):
        await client.post("/write-queries", json=QUERY | {"query_id": query_id})
    await client.post("/write-results", json=RESULTS | {"query_id": 4})

    response = await client.get("/arxiv", params={"title": "testing"})

    assert response.status_code == 200
    assert response.json()["query_id"] == 5
    assert db.execute("select count(*) from results where query_id = 5").fetchone() == (10,)
