"""Clients that search continuously and compare the responses with the database."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from time import monotonic, sleep
from typing import NamedTuple

import httpx
import psycopg
from anyio.from_thread import BlockingPortal

PLACES = 900
"""Different start values for non-empty pages of the stand-in's 1,000 papers."""
_numbers = count()


def search() -> dict[str, str | int]:
    """Return the parameters of a new search with at least ten results."""
    number = next(_numbers)
    return {"query": "all:the", "start": number % PLACES, "max_results": 10 + number // PLACES}


class Verdict(NamedTuple):
    """Counts that must be zero."""

    lost: int
    """Acknowledged searches that are missing or recorded differently."""
    duplicated: int
    """Searches sent once that have several successful records."""
    partial: int
    """Records with a wrong number of results, and results without a record."""


class Load:
    """Clients of a service, and the responses that they received."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ended = False
        self.acknowledged: list[tuple[int, int]] = []
        """query_id and num_entries of every acknowledged search."""
        self.successes: list[float] = [monotonic()]
        """Times of the start and of every acknowledged search."""
        self.statuses: Counter[int] = Counter()
        """Count of responses by status; 0 for a broken connection."""
        self.slowest = 0.0
        """Duration of the slowest request in seconds."""

    async def search(self, clients: int) -> None:
        """Search with several concurrent clients until `ended` is set."""
        await asyncio.gather(*(self._client() for _ in range(clients)))

    async def _client(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            while not self.ended:
                await self.one(client)

    async def one(self, client: httpx.AsyncClient) -> None:
        """Send one search."""
        began = monotonic()
        try:
            response = await client.get("/arxiv", params=search())
        except httpx.TransportError:
            self.statuses[0] += 1
            await asyncio.sleep(0.02)
            return
        finally:
            self.slowest = max(self.slowest, monotonic() - began)
        self.statuses[response.status_code] += 1
        if response.status_code == httpx.codes.OK:
            summary = response.json()
            self.acknowledged.append((summary["query_id"], summary["num_entries"]))
            self.successes.append(monotonic())
        else:
            assert response.headers["content-type"] == "application/problem+json"
            await asyncio.sleep(0.02)

    @property
    def outage(self) -> float:
        """The longest time without an acknowledged search."""
        return max((later - earlier for earlier, later in pairwise(self.successes)), default=0.0)

    def wait_for_success(self, timeout: float = 60, *, number: int = 1) -> None:
        """Wait until this number of further searches is acknowledged."""
        target, end = len(self.successes) + number, monotonic() + timeout
        while len(self.successes) < target:
            assert monotonic() < end, self.statuses
            sleep(0.005)

    def judged(self, db: psycopg.Connection) -> Verdict:
        """Compare the responses with the records."""
        rows = db.execute("select query_id, num_entries from queries where outcome = 'ok'")
        recorded: dict[int, int] = dict(rows.fetchall())
        lost = sum(recorded.get(query_id) != entries for query_id, entries in self.acknowledged)
        repeated_ids = len(self.acknowledged) - len(dict(self.acknowledged))
        return Verdict(lost + repeated_ids, _number(db, DUPLICATED), _number(db, PARTIAL))


DUPLICATED = """
    select count(*) from
    (select from queries where outcome = 'ok' and query like '%all:the%'
     group by search_key having count(*) > 1) as several
"""
PARTIAL = """
    select count(*) from queries as q full join
    (select query_id, count(*), max(result_number) from results group by 1) as r using (query_id)
    where q.num_entries is distinct from coalesce(r.count, 0) or r.max <> r.count - 1
"""


def _number(db: psycopg.Connection, statement: str) -> int:
    row = db.execute(statement.encode()).fetchone()
    assert row
    return int(row[0])


@contextmanager
def searching(portal: BlockingPortal, url: str, clients: int = 4) -> Iterator[Load]:
    """Run searching clients during the block, and wait for their last searches."""
    load = Load(url)
    work = portal.start_task_soon(load.search, clients)
    try:
        yield load
    finally:
        load.ended = True
        work.result()
