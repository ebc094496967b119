"""References as BibTeX."""

import re
from collections.abc import Iterator, Sequence

from ..models.responses import Reference
from .latex import tex
from .person_names import is_group
from .sanitize import line
from .serializer import Serializer

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WHOLE = re.compile(r",|\band\b|^\W*$", re.IGNORECASE)
_SUFFIX = re.compile(r"(?<!\S)[^\s{}\\]+ (?:Jr\.?|Sr\.?|II|III|IV)$")


class BibTeX(Serializer[Reference]):
    """An entry each: an article where there is a journal, else of no kind, with its eprint."""

    def rows(self, batch: Sequence[Reference]) -> bytes:
        """Entries."""
        return "".join(map(_entry, batch)).encode()


def _entry(reference: Reference) -> str:
    kind = "article" if reference.kind == "paper" and line(reference.journal) else "misc"
    fields = "".join(f"  {name} = {value},\n" for name, value in _fields(reference))
    return f"@{kind}{{{_key(reference.key)},\n{fields}}}\n\n"


def _fields(reference: Reference) -> Iterator[tuple[str, str]]:
    # doubled, or styles would write its capitals small
    yield "title", f"{{{{{tex(reference.title)}}}}}"
    if authors := " and ".join(filter(None, map(_author, reference.authors))):
        yield "author", f"{{{authors}}}"
    if moment := reference.published:
        yield "year", f"{{{moment.year:04}}}"
        yield "month", _MONTHS[moment.month - 1]
    texts = {
        "journal": tex(reference.journal),
        "eprint": _verbatim(reference.arxiv_id),
        "archiveprefix": "arXiv" if reference.arxiv_id else "",
        "primaryclass": tex(reference.primary_category) if reference.arxiv_id else "",
        "doi": _verbatim(next(iter(reference.dois), None)),
        "url": _verbatim(reference.url),
        "abstract": tex(reference.abstract),
        "note": tex(reference.comment),
    }
    yield from ((name, f"{{{text}}}") for name, text in texts.items() if text)


def _author(name: str) -> str:
    """The name as TeX, in braces where BibTeX would take it apart at the wrong place."""
    name = tex(name)
    if not name:
        return ""
    if _WHOLE.search(name) or is_group(name):
        return f"{{{name}}}"
    return _SUFFIX.sub(lambda surname: f"{{{surname[0]}}}", name)


def _key(key: str) -> str:
    """The key in characters that mean nothing to BibTeX or TeX; different keys stay different."""
    return re.sub(r"[^A-Za-z0-9:./+-]", lambda character: f"_{ord(character[0]):x}_", key)


def _verbatim(text: str | None) -> str:
    """An address, which styles print as it is; what could end the field is percent-encoded."""
    return re.sub(r"[\s{}\\]", lambda character: f"%{ord(character[0]):02X}", line(text))
