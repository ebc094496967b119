"""RIS, which Zotero, EndNote and other reference managers import."""

from collections.abc import Iterator, Sequence

from ..metadata.person_names import format_surname_first
from .references import Reference
from .sanitize import to_single_line
from .serializer import Serializer

_PREPRINT = "MANSCPT"
"""Zotero (translators/RIS.js) and EndNote have a manuscript for it, JabRef (RisImporter) `misc`.

UNPB is unknown to Zotero, which imports unknown types and GEN as journal articles.
"""


class Ris(Serializer[Reference]):
    """One record per reference. Each value is one line, so it cannot look like a tag."""

    def serialize(self, rows: Sequence[Reference]) -> bytes:
        """Return one record per reference."""
        return "".join(map(_format_record, rows)).encode()


def _format_record(reference: Reference) -> str:
    tags = "".join(
        f"{tag}  - {text}\r\n"
        for tag, value in _iterate_tags(reference)
        if (text := to_single_line(value))
    )
    return f"{tags}ER  - \r\n\r\n"


def _iterate_tags(reference: Reference) -> Iterator[tuple[str, str | None]]:
    if reference.kind == "search":
        yield "TY", "ELEC"
    else:
        yield "TY", "JOUR" if to_single_line(reference.journal) else _PREPRINT
    yield "ID", reference.key
    groups = set(reference.group_authors)
    for author in reference.authors:
        name = to_single_line(author)
        yield "AU", name if author in groups else format_surname_first(name)
    yield "TI", reference.title
    yield "T2", reference.journal
    yield "JO", reference.journal
    if date := reference.cited:
        yield "PY", f"{date.year:04}"
        yield "DA", f"{date.year:04}/{date.month:02}/{date.day:02}/"
    yield "AB", reference.abstract
    yield "DO", reference.doi
    yield "UR", reference.url
    yield "AN", f"arXiv:{reference.arxiv_id}" if reference.arxiv_id else None
    for category in reference.categories:
        yield "KW", category
    yield "N1", reference.comment
