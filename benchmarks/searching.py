"""What a search costs: answered from memory, and asked of arXiv."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

import httpx

from benchmarks.measuring import Bench, Row, against_bare, ratios, rounds
from service.context import LocalContext
from service.models.arxiv import Search
from service.settings import Settings

SEARCHES = 300


def memory_hits(bench: Bench) -> Iterator[Row]:
    """Answers from memory, against a handler that does nothing but answer the same bytes."""
    settings, path = bench.database("memory"), "/arxiv?title=testing"
    yield from against_bare("memory hit of `/arxiv`", settings, path, 0.7)


def cost_of_a_miss(bench: Bench) -> Iterator[Row]:
    """CPU of a recorded search of ten papers, against httpx fetching and reading the same."""
    settings = bench.database("misses")
    asked = itertools.count()

    def words() -> list[str]:
        first = next(asked)
        return [f"{first}x{number}" for number in range(SEARCHES)]

    ours, bare = rounds(
        "cost of a miss",
        lambda: asyncio.run(_searches(settings, words())),
        lambda: asyncio.run(_fetches(settings.api_url, words())),
    )
    beyond = median(ours) - median(bare)
    yield Row(
        measure="CPU of a miss: gate, request, parse, record",
        against="httpx fetching and reading the same answers",
        seen=ratios(ours, bare),
        detail=f"{median(ours):.2f} ms against {median(bare):.2f} ms, {beyond:.2f} ms beyond",
    )


async def _searches(settings: Settings, words: list[str]) -> float:
    async with LocalContext(settings) as context:

        async def search(word: str) -> None:
            await context.search_service.search(Search(query=f"all:testing OR all:{word}"))

        return await _cpu(search, words)


async def _fetches(url: str, words: list[str]) -> float:
    async with httpx.AsyncClient() as client:

        async def fetch(word: str) -> None:
            query = f"all:testing OR all:{word}"
            sent = {"search_query": query, "id_list": "", "start": "0", "max_results": "10"}
            async with client.stream("GET", url, params=sent) as response:
                await response.aread()

        return await _cpu(fetch, words)


async def _cpu(call: Callable[[str], Awaitable[None]], words: list[str]) -> float:
    """Milliseconds of CPU that this thread spends on each call; the servers are other threads."""
    await call(words[0])
    before = time.thread_time()
    for word in words[1:]:
        await call(word)
    return (time.thread_time() - before) * 1000 / (len(words) - 1)
