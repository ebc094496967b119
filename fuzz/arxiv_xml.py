"""Coverage-guided fuzzing of the reader of arXiv's feeds: `python -m fuzz.arxiv_xml -runs=1000000`.

Options are libFuzzer's. Bytes that reach new lines of the reader are kept in `.fuzz/`, where the
next run goes on; bytes that break it stay in `.fuzz/` too, as `crash-*`.
"""

import sys
from pathlib import Path

import atheris
import msgspec

from demo import feed
from demo.papers import generate
from service.models import INT4_MAX

with atheris.instrument_imports(include=["service.arxiv_xml", "service.arxiv_query"]):
    from service import arxiv_xml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".fuzz"
CAPTURES = ROOT.parent / "shared" / "feeds"
"""Real answers of arXiv, where they are there."""
WORDS = (
    *(
        '<?xml version="1.0" encoding="',
        "utf-8",
        "utf-16",
        "latin-1",
        "?>",
        "<!DOCTYPE feed [",
        "]>",
    ),
    *(
        '<!ENTITY a "',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        "&a;",
        "&#0;",
        "&#xD800;",
        "&amp;",
    ),
    *(
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<entry>",
        "</entry>",
        "<id>",
        "</id>",
        "<title>",
        "</title>",
    ),
    *(
        "<opensearch:totalResults>",
        "<arxiv:doi>",
        "<arxiv:affiliation>",
        "<arxiv:primary_category ",
    ),
    *('term="', 'href="', 'xmlns="', 'xmlns:a="', "http://www.w3.org/2005/Atom", "arxiv.org/abs/"),
    *(
        "v9999",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "/api/errors",
        "2147483648",
    ),
)
"""What bytes changed at random would seldom come to."""
LIMITS = ("-max_len=65536", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256")


def read(body: bytes) -> None:
    """Fail unless the bytes are a feed that can be recorded, or refused with a short reason."""
    try:
        found = arxiv_xml.parse(body)
    except arxiv_xml.NotAFeed as error:
        assert len(str(error)) < 400, "a reason is for the log"  # noqa: S101, PLR2004, PT017
    else:
        assert 0 <= found.total <= INT4_MAX, "PostgreSQL's integer"  # noqa: S101
        text = msgspec.json.encode(found)
        assert rb"\u0000" not in text, "PostgreSQL stores any text but NUL"  # noqa: S101


def _seeds() -> list[bytes]:
    """Feeds of both families, with many papers, few and none, and one with an error."""
    papers = generate(30)
    made = [
        feed.render(papers[:size], family=family) for family in ("new", "old") for size in (0, 1, 3)
    ]
    captured = (path.read_bytes() for path in sorted(CAPTURES.glob("*.xml")))
    return [*made, *(body for body in captured if len(body) <= 2**16)]


def main() -> None:
    """Write the seeds and the dictionary, and fuzz until libFuzzer has had enough."""
    seeds, found = FOLDER / "seeds", FOLDER / "arxiv_xml"
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(_seeds()):
        (seeds / f"{number}.xml").write_bytes(body)
    words = FOLDER / "words"
    quoted = (word.replace("\\", r"\\").replace('"', r"\"") for word in WORDS)
    words.write_text("".join(f'"{word}"\n' for word in quoted), encoding="ascii")
    places = (f"-dict={words}", f"-artifact_prefix={FOLDER}/", str(found), str(seeds))
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:], *places], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
