"""Clients that search without a pause and remember what they were told, to judge by it."""

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
"""Pages of the stand-in's 1,000 papers that begin at different places and are not empty."""
_numbers = count()


def search() -> dict[str, str | int]:
    """The parameters of a search that nobody has made, with ten results or more."""
    number = next(_numbers)
    return {"query": "all:the", "start": number % PLACES, "max_results": 10 + number // PLACES}


class Verdict(NamedTuple):
    """What must be zero."""

    lost: int
    """Searches that were answered and are not recorded as they were."""
    duplicated: int
    """Searches that were made once and have several good records."""
    partial: int
    """Records with more or less results than they say, and results without a record."""


class Load:
    """What the clients sent to a service, and what they were told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ended = False
        self.answers: list[tuple[int, int]] = []
        """The query_id and num_entries of every search that was answered."""
        self.successes: list[float] = [monotonic()]
        """When; also when it began."""
        self.statuses: Counter[int] = Counter()
        """Of all answers; 0 where the connection broke."""
        self.slowest = 0.0
        """Seconds that the slowest call took, whatever came of it."""

    async def search(self, clients: int) -> None:
        """Search with so many clients at once, until `ended` is set."""
        await asyncio.gather(*(self._client() for _ in range(clients)))

    async def _client(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            while not self.ended:
                await self.one(client)

    async def one(self, client: httpx.AsyncClient) -> None:
        """One search."""
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
            told = response.json()
            self.answers.append((told["query_id"], told["num_entries"]))
            self.successes.append(monotonic())
        else:
            assert response.headers["content-type"] == "application/problem+json"
            await asyncio.sleep(0.02)

    @property
    def outage(self) -> float:
        """The longest time without a success."""
        return max((later - earlier for earlier, later in pairwise(self.successes)), default=0.0)

    def wait_for_success(self, patience: float = 60, *, number: int = 1) -> None:
        """Until so many more searches are answered."""
        wanted, end = len(self.successes) + number, monotonic() + patience
        while len(self.successes) < wanted:
            assert monotonic() < end, self.statuses
            sleep(0.005)

    def judged(self, db: psycopg.Connection) -> Verdict:
        """Compare what was told with what is recorded."""
        rows = db.execute("select query_id, num_entries from queries where outcome = 'ok'")
        recorded: dict[int, int] = dict(rows.fetchall())
        lost = sum(recorded.get(query_id) != entries for query_id, entries in self.answers)
        told_twice = len(self.answers) - len(dict(self.answers))
        return Verdict(lost + told_twice, _number(db, DUPLICATED), _number(db, PARTIAL))


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
    """Clients that search while the block runs; at its end none has a search under way."""
    load = Load(url)
    work = portal.start_task_soon(load.search, clients)
    try:
        yield load
    finally:
        load.ended = True
        work.result()
