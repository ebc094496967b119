"""References as RIS, which Zotero, EndNote and the like import."""

from collections.abc import Iterator, Sequence

from ..models.responses import Reference
from .person_names import surname_first
from .sanitize import line
from .serializer import Serializer


class Ris(Serializer[Reference]):
    """A record each; a value is one line, so that none can look like a tag."""

    def rows(self, batch: Sequence[Reference]) -> bytes:
        """Records."""
        return "".join(map(_record, batch)).encode()


def _record(reference: Reference) -> str:
    tags = "".join(
        f"{tag}  - {text}\r\n" for tag, value in _tags(reference) if (text := line(value))
    )
    return f"{tags}ER  - \r\n\r\n"


def _tags(reference: Reference) -> Iterator[tuple[str, str | None]]:
    if reference.kind == "search":
        yield "TY", "ELEC"
    else:
        yield "TY", "JOUR" if line(reference.journal) else "UNPB"
    yield "ID", reference.key
    for author in reference.authors:
        yield "AU", surname_first(line(author))
    yield "TI", reference.title
    yield "T2", reference.journal
    yield "JO", reference.journal
    if moment := reference.published:
        yield "PY", f"{moment.year:04}"
        yield "DA", f"{moment.year:04}/{moment.month:02}/{moment.day:02}/"
    yield "AB", reference.abstract
    yield "DO", next(iter(reference.dois), None)
    yield "UR", reference.url
    yield "AN", f"arXiv:{reference.arxiv_id}" if reference.arxiv_id else None
    for category in reference.categories:
        yield "KW", category
    yield "N1", reference.comment
