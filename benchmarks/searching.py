"""The cost of a search, from the cache and with a request to arXiv."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

import httpx

from benchmarks.measuring import (
    Bench,
    Row,
    compare_with_bare_handler,
    compute_ratios,
    run_rounds,
)
from service.context import LocalContext
from service.models.arxiv import Search
from service.settings import Settings

SEARCHES = 300


def measure_cache_hits(bench: Bench) -> Iterator[Row]:
    """Compare cached responses with a bare handler that returns the same bytes."""
    settings, path = bench.create_database("memory"), "/arxiv?title=testing"
    yield from compare_with_bare_handler("cached `/arxiv`", settings, path, at_least=0.4)


def measure_api_hits(bench: Bench) -> Iterator[Row]:
    """Compare cached feeds with a bare handler that returns the same bytes."""
    settings, path = bench.create_database("api"), "/api/query?search_query=all:testing"
    yield from compare_with_bare_handler("cached `/api/query`", settings, path, at_least=0.25)


def measure_cache_misses(bench: Bench) -> Iterator[Row]:
    """Compare the CPU time of recorded searches with httpx fetching the same responses."""
    settings = bench.create_database("misses")
    numbers = itertools.count()

    def create_words() -> list[str]:
        round_number = next(numbers)
        return [f"{round_number}x{number}" for number in range(SEARCHES)]

    ours, bare = run_rounds(
        "cache misses",
        lambda: asyncio.run(_measure_searches(settings, create_words())),
        lambda: asyncio.run(_measure_fetches(settings.api_url, create_words())),
    )
    overhead = median(ours) - median(bare)
    yield Row(
        measure="CPU of a cache miss: rate limiter, request, parsing, recording",
        against="httpx fetching and reading the same responses",
        seen=compute_ratios(ours, bare),
        detail=f"{median(ours):.2f} ms against {median(bare):.2f} ms, overhead {overhead:.2f} ms",
    )


async def _measure_searches(settings: Settings, words: list[str]) -> float:
    async with LocalContext(settings) as context:

        async def search(word: str) -> None:
            await context.search_service.search(Search(query=f"all:testing OR all:{word}"))

        return await _measure_cpu(search, words)


async def _measure_fetches(url: str, words: list[str]) -> float:
    async with httpx.AsyncClient() as client:

        async def fetch(word: str) -> None:
            query = f"all:testing OR all:{word}"
            params = {"search_query": query, "id_list": "", "start": "0", "max_results": "10"}
            async with client.stream("GET", url, params=params) as response:
                await response.aread()

        return await _measure_cpu(fetch, words)


async def _measure_cpu(call: Callable[[str], Awaitable[None]], words: list[str]) -> float:
    """Return the CPU time of this thread per call in milliseconds.

    The servers run in other threads. The first call is not measured, since it opens connections.
    """
    await call(words[0])
    started = time.thread_time()
    for word in words[1:]:
        await call(word)
    return (time.thread_time() - started) * 1000 / (len(words) - 1)
