"""RIS, which Zotero, EndNote and other reference managers import."""

from collections.abc import Iterator, Sequence

from ..metadata.person_names import format_surname_first
from .references import Reference
from .sanitize import to_single_line
from .serializer import Serializer

_PREPRINT = "MANSCPT"
"""The type of a preprint: JOUR is for papers in a journal.

Zotero imports it as a manuscript, and types that it does not know, such as UNPB, as journal
articles, GEN too (zotero/translators, RIS.js). JabRef imports it as `misc` (RisImporter.java). It
is EndNote's Manuscript in the table of types of the RIS specification of 2011.
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
