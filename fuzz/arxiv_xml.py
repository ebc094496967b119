"""Coverage-guided fuzzing of the reader of arXiv's feeds: `python -m fuzz.arxiv_xml -runs=1000000`.

Options are libFuzzer's. Bytes that reach new lines of the reader are kept in `.fuzz/`, where the
next run goes on; bytes that break it stay in `.fuzz/` too, as `crash-*`.
"""

import re
import sys
from pathlib import Path
from random import Random

import atheris
import msgspec

from demo import feed
from demo.papers import generate
from service.models.records import INT4_MAX

with atheris.instrument_imports(include=["service.arxiv_xml", "service.arxiv_query"]):
    from service import arxiv_xml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".fuzz"
CAPTURES = ROOT.parent / "shared" / "feeds"
"""Real answers of arXiv, where they are there."""
PIECES = re.compile(rb"<([\w:]+)[^<>]*>[^<>]*</\1>|<[^>]*>|[^<]+")
SIZE = 8192
"""Bytes of a feed of two or three papers: more of them reach nothing new, and take longer."""
LIMITS = (f"-max_len={SIZE}", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256")


def read(body: bytes) -> None:
    """Fail unless the bytes are a feed that can be recorded, or refused with a short reason."""
    try:
        found = arxiv_xml.parse_feed(body)
    except arxiv_xml.InvalidFeed as error:
        assert len(str(error)) < 400, "a reason is for the log"  # noqa: S101, PLR2004, PT017
    else:
        assert 0 <= found.total <= INT4_MAX, "PostgreSQL's integer"  # noqa: S101
        msgspec.json.encode(found)  # as it is sent to PostgreSQL: half a surrogate pair would fail


def change(body: bytes, size: int, seed: int) -> bytes:
    """Change bytes as libFuzzer does, or elements and texts, so that it stays XML more often."""
    random = Random(seed)  # noqa: S311 - to be repeated
    pieces = [piece[0] for piece in PIECES.finditer(body)]
    if len(pieces) < 3 or random.random() < 0.5:  # noqa: PLR2004 - nothing to move
        changed: bytes = atheris.Mutate(body, size)
        return changed
    one, other = random.randrange(len(pieces)), random.randrange(len(pieces))
    if random.random() < 0.5:  # noqa: PLR2004
        pieces.insert(one, pieces[other])
    elif pieces[one].startswith(b"<"):
        pieces[one], pieces[other] = pieces[other], pieces[one]
    else:
        pieces[one] = atheris.Mutate(pieces[one], 100).replace(b"<", b"").replace(b"&", b"")
    return b"".join(pieces)[:size]


def _seeds() -> list[bytes]:
    """Feeds of both families, with some papers, one and none, and one with an error."""
    papers = generate(30)
    made = [
        feed.render(papers[:size], family=family) for family in ("new", "old") for size in (0, 1, 3)
    ]
    captured = (path.read_bytes() for path in sorted(CAPTURES.glob("*.xml")))
    made.append(feed.error("incorrect id format for x"))
    return [*made, *(body for body in captured if len(body) <= SIZE)]


def main() -> None:
    """Write the seeds, and fuzz until libFuzzer has had enough."""
    seeds, found = FOLDER / "seeds", FOLDER / "arxiv_xml"
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(_seeds()):
        (seeds / f"{number}.xml").write_bytes(body)
    words = Path(__file__).with_suffix(".dict")
    places = (f"-dict={words}", f"-artifact_prefix={FOLDER}/", str(found), str(seeds))
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:], *places], read, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
