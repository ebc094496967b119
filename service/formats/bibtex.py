"""BibTeX."""

import re
from collections.abc import Iterator, Sequence

from ..metadata.person_names import is_group
from .latex import escape_latex
from .references import Reference
from .sanitize import to_single_line
from .serializer import Serializer

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_INDIVISIBLE = re.compile(r",|\band\b|^\W*$", re.IGNORECASE)
_SURNAME_WITH_SUFFIX = re.compile(r"(?<!\S)[^\s{}\\]+ (?:Jr\.?|Sr\.?|II|III|IV)$")


class BibTeX(Serializer[Reference]):
    """One entry per reference: @article if it has a journal, else @misc."""

    def serialize(self, rows: Sequence[Reference]) -> bytes:
        """Return one entry per reference."""
        return "".join(map(_format_entry, rows)).encode()


def _format_entry(reference: Reference) -> str:
    is_article = reference.kind == "paper" and to_single_line(reference.journal)
    kind = "article" if is_article else "misc"
    fields = "".join(f"  {name} = {value},\n" for name, value in _iterate_fields(reference))
    return f"@{kind}{{{_escape_key(reference.key)},\n{fields}}}\n\n"


def _iterate_fields(reference: Reference) -> Iterator[tuple[str, str]]:
    # double braces: BibTeX styles change the case of single-braced titles
    yield "title", f"{{{{{escape_latex(reference.title)}}}}}"
    if authors := " and ".join(filter(None, map(_format_author, reference.authors))):
        yield "author", f"{{{authors}}}"
    if date := reference.published:
        yield "year", f"{{{date.year:04}}}"
        yield "month", _MONTHS[date.month - 1]
    texts = {
        "journal": escape_latex(reference.journal),
        "eprint": _escape_verbatim(reference.arxiv_id),
        "archiveprefix": "arXiv" if reference.arxiv_id else "",
        "primaryclass": escape_latex(reference.primary_category) if reference.arxiv_id else "",
        "doi": _escape_verbatim(next(iter(reference.dois), None)),
        "url": _escape_verbatim(reference.url),
        "abstract": escape_latex(reference.abstract),
        "note": escape_latex(reference.comment),
    }
    yield from ((name, f"{{{text}}}") for name, text in texts.items() if text)


def _format_author(name: str) -> str:
    """Return the name, in braces where BibTeX would split it in the wrong place."""
    name = escape_latex(name)
    if not name:
        return ""
    if _INDIVISIBLE.search(name) or is_group(name):
        return f"{{{name}}}"
    return _SURNAME_WITH_SUFFIX.sub(lambda surname: f"{{{surname[0]}}}", name)


def _escape_key(key: str) -> str:
    """Replace characters special to BibTeX or TeX; different keys stay different."""
    return re.sub(r"[^A-Za-z0-9:./+-]", lambda character: f"_{ord(character[0]):x}_", key)


def _escape_verbatim(text: str | None) -> str:
    """Percent-encode what could end the field, in a value that styles print verbatim."""
    return re.sub(r"[\s{}\\]", lambda character: f"%{ord(character[0]):02X}", to_single_line(text))
