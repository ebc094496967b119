"""The cost of parsing and rendering a feed of arXiv, against lxml alone and feedparser."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import TypeVar

import feedparser
from lxml import etree

from benchmarks.measuring import Bench, Row, compute_ratios, measure_time, run_rounds
from demo import feed
from demo.papers import generate
from service import arxiv_xml
from service.formats import arxiv_feed

T = TypeVar("T")
ENTRIES = 2000
REPETITIONS = 10
"""How often a round parses the feed, except with feedparser, which is slow."""


def measure_parsing(_: Bench) -> Iterator[Row]:
    """Measure the time to parse the largest feed that arXiv sends."""
    content = feed.render(generate(ENTRIES))
    entries = arxiv_xml.parse_feed(content).entries
    ours, rendering, lxml, generic = run_rounds(
        f"a feed of {ENTRIES:,} entries",
        partial(_measure_cpu, arxiv_xml.parse_feed, content),
        partial(_measure_cpu, arxiv_feed.render_entries, entries),
        partial(_measure_cpu, etree.fromstring, content),
        partial(_measure_cpu, feedparser.parse, content, repetitions=1),
    )
    milliseconds = f"{median(ours) * 1000:.0f} ms"
    yield Row(
        measure=f"parsing a feed of {ENTRIES:,} entries, time",
        against="bare `lxml.etree.fromstring` of the same bytes",
        seen=compute_ratios(ours, lxml),
        detail=f"{milliseconds} against {median(lxml) * 1000:.0f} ms, {len(content) / 1e6:.1f} MB",
    )
    yield Row(
        measure="the same, speed",
        against="feedparser",
        seen=compute_ratios(generic, ours),
        detail=f"{milliseconds} against {median(generic) * 1000:,.0f} ms",
    )
    yield Row(
        measure="rendering its entries, time",
        against="parsing them",
        seen=compute_ratios(rendering, ours),
        at_most=2,
        detail=f"{median(rendering) * 1000:.0f} ms against {milliseconds}",
    )


def _measure_cpu(
    process: Callable[[T], object], content: T, repetitions: int = REPETITIONS
) -> float:
    """Return the median CPU time of this thread in seconds, which excludes other programs."""
    times = (measure_time(partial(process, content), time.thread_time) for _ in range(repetitions))
    return median(times)
