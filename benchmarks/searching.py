"""What a search costs: answered from memory, and asked of arXiv."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx

from benchmarks.measuring import ROUNDS, Row, bare_handler, progress, rate, row, served
from service.app import create_app
from service.models import Search
from service.parts import LocalParts
from service.settings import Settings

SEARCHES = 300


def memory_hits(settings: Settings) -> Row:
    """Answers from memory, against a handler that does nothing but answer the same bytes."""
    app = create_app(settings)
    with served(app) as address:
        path = "/arxiv?title=testing"
        content = httpx.get(address + path, timeout=30).raise_for_status().content
        app.register(bare_handler(content))
        ratios, rates = [], []
        for round_number in range(ROUNDS):
            progress("memory hits", round_number)
            hits, bare = rate(address + path), rate(address + "/bare")
            ratios.append(hits / bare)
            rates.append((hits, bare))
    hits, bare = (statistics.median(rate) for rate in zip(*rates, strict=True))
    return row(
        "memory hit of `/arxiv`, requests a second",
        "bare Litestar handler, same bytes, same process",
        ratios,
        f"{hits:,.0f} against {bare:,.0f}",
    )


def cost_of_a_miss(settings: Settings) -> Row:
    """CPU of a recorded search of ten papers, against httpx fetching and reading the same."""
    ratios, costs = [], []
    for round_number in range(ROUNDS):
        progress("cost of a miss", round_number)
        words = [f"{round_number}x{number}" for number in range(SEARCHES)]
        ours = asyncio.run(_searches(settings, words))
        bare = asyncio.run(_fetches(settings.api_url, words))
        ratios.append(ours / bare)
        costs.append((ours, bare))
    ours, bare = (statistics.median(cost) for cost in zip(*costs, strict=True))
    return row(
        "CPU of a miss: gate, request, parse, record",
        "httpx fetching and reading the same answers",
        ratios,
        f"{ours:.2f} ms against {bare:.2f} ms, {ours - bare:.2f} ms beyond",
    )


async def _searches(settings: Settings, words: list[str]) -> float:
    async with LocalParts(settings) as parts:

        async def search(word: str) -> None:
            await parts.searcher.find(Search(query=f"all:testing OR all:{word}"))

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
