"""Coverage-guided fuzzing of the Atom parser: `python -m fuzz.arxiv_xml -runs=1000000`.

Accepts the options of libFuzzer. Inputs that reach new code are stored in `.fuzz/arxiv_xml/`, and
the next run continues from them. Inputs that crash the parser are stored as `.fuzz/crash-*`.
"""

import os
import re
import sys
from pathlib import Path
from random import Random

import atheris
import msgspec

from demo import feed
from demo.papers import generate
from service.models.records import INT4_MAX

with atheris.instrument_imports(
    include=["service.arxiv_xml", "service.untrusted_xml", "service.arxiv_query"]
):
    from service import arxiv_xml, untrusted_xml

untrusted_xml.PIECE_BYTES = 512  # so that most inputs have several pieces

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / ".fuzz"
CAPTURES = Path(os.environ.get("GATEWAY_TEST_DATA") or ROOT.parent / "shared") / "feeds"
"""Captured feeds of arXiv, used if the directory exists; see CONTRIBUTING.md."""
XML_PARTS = re.compile(rb"<([\w:]+)[^<>]*>[^<>]*</\1>|<[^>]*>|[^<]+")
MAX_BYTES = 8192
"""Enough for a feed of two or three papers; larger inputs are only slower."""
LIMITS = (f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256")


def check_parser(body: bytes) -> None:
    """Fail unless the input is parsed into a storable feed or rejected with a short reason."""
    try:
        parsed = arxiv_xml.parse_feed(body)
    except untrusted_xml.InvalidResponse as error:
        assert len(str(error)) < 400, "the reason is logged"  # noqa: S101, PLR2004, PT017
    else:
        assert 0 <= parsed.total <= INT4_MAX, "PostgreSQL's integer"  # noqa: S101
        assert len(parsed.warnings) < 3, "they are shown to clients"  # noqa: S101, PLR2004
        msgspec.json.encode(parsed)  # fails on unpaired surrogates, as PostgreSQL would


def mutate(body: bytes, size: int, seed: int) -> bytes:
    """Mutate bytes as libFuzzer does, or move XML elements and texts to keep valid XML."""
    random = Random(seed)  # noqa: S311 - must be reproducible
    parts = [match[0] for match in XML_PARTS.finditer(body)]
    if len(parts) < 3 or random.random() < 0.5:  # noqa: PLR2004 - too few parts to move
        mutated: bytes = atheris.Mutate(body, size)
        return mutated
    first, second = random.randrange(len(parts)), random.randrange(len(parts))
    if random.random() < 0.5:  # noqa: PLR2004
        parts.insert(first, parts[second])
    elif parts[first].startswith(b"<"):
        parts[first], parts[second] = parts[second], parts[first]
    else:
        parts[first] = atheris.Mutate(parts[first], 100).replace(b"<", b"").replace(b"&", b"")
    return b"".join(parts)[:size]


def _create_seeds() -> list[bytes]:
    """Create feeds of both families with zero, one and three papers, and one with an error."""
    papers = generate(30)
    seeds = [
        feed.render(papers[:size], family=family) for family in ("new", "old") for size in (0, 1, 3)
    ]
    captured = (path.read_bytes() for path in sorted(CAPTURES.glob("*.xml")))
    seeds.append(feed.error("incorrect id format for x"))
    return [*seeds, *(body for body in captured if len(body) <= MAX_BYTES)]


def main() -> None:
    """Write the seeds and run libFuzzer."""
    seeds, corpus = OUTPUT / "seeds", OUTPUT / "arxiv_xml"
    for folder in (seeds, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(_create_seeds()):
        (seeds / f"{number}.xml").write_bytes(body)
    dictionary = Path(__file__).with_suffix(".dict")
    paths = (f"-dict={dictionary}", f"-artifact_prefix={OUTPUT}/", str(corpus), str(seeds))
    options = [sys.argv[0], *LIMITS, *sys.argv[1:], *paths]
    atheris.Setup(options, check_parser, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
