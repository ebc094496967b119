"""The cost of parsing a feed of arXiv, against lxml alone and against feedparser."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import feedparser
from lxml import etree

from benchmarks.measuring import Bench, Row, compute_ratios, measure_time, run_rounds
from demo import feed
from demo.papers import generate
from service import arxiv_xml

ENTRIES = 2000
REPETITIONS = 10
"""How often a round parses the feed, except with feedparser, which is slow."""


def measure_parsing(_: Bench) -> Iterator[Row]:
    """Measure the time to parse the largest feed that arXiv sends."""
    content = feed.render(generate(ENTRIES))
    ours, lxml, generic = run_rounds(
        f"a feed of {ENTRIES:,} entries",
        partial(_measure_parser, arxiv_xml.parse_feed, content),
        partial(_measure_parser, etree.fromstring, content),
        partial(_measure_parser, feedparser.parse, content, repetitions=1),
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


def _measure_parser(
    parse: Callable[[bytes], object], content: bytes, repetitions: int = REPETITIONS
) -> float:
    """Return the median CPU time of this thread in seconds, which excludes other programs."""
    times = (measure_time(partial(parse, content), time.thread_time) for _ in range(repetitions))
    return median(times)
