"""What reading a feed of arXiv costs, against what reads its XML alone and what reads any feed."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import feedparser
from lxml import etree

from benchmarks.measuring import Bench, Row, ratios, rounds, timed
from demo import feed
from demo.papers import generate
from service import arxiv_xml

ENTRIES = 2000
TIMES = 10
"""How often a feed is read in a round, but by the slow one."""


def parse(_: Bench) -> Iterator[Row]:
    """The time for the largest feed that arXiv sends."""
    content = feed.render(generate(ENTRIES))
    ours, bare, any_feed = rounds(
        f"a feed of {ENTRIES:,} entries",
        partial(_median, arxiv_xml.parse_feed, content),
        partial(_median, etree.fromstring, content),
        partial(_median, feedparser.parse, content, times=1),
    )
    taken = f"{median(ours) * 1000:.0f} ms against"
    yield Row(
        measure=f"parse of a feed of {ENTRIES:,} entries, time",
        against="bare `lxml.etree.fromstring` of the same bytes",
        seen=ratios(ours, bare),
        at_most=1.6,
        detail=f"{taken} {median(bare) * 1000:.0f} ms, {len(content) / 1e6:.1f} MB",
    )
    yield Row(
        measure="the same, how many times as fast",
        against="feedparser",
        seen=ratios(any_feed, ours),
        at_least=25,
        detail=f"{taken} {median(any_feed) * 1000:,.0f} ms",
    )


def _median(parse: Callable[[bytes], object], content: bytes, times: int = TIMES) -> float:
    """Seconds of this thread: it waits for nothing, and others on the machine do not count."""
    return median(timed(partial(parse, content), time.thread_time) for _ in range(times))
