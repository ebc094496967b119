"""BibTeX."""

import re
from collections.abc import Iterator, Sequence

from ..metadata.person_names import (
    PersonName,
    ends_with_suffix,
    is_group,
    parse_person,
    split_words,
)
from .latex import escape_latex
from .references import Reference
from .sanitize import to_single_line
from .serializer import Serializer

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_INDIVISIBLE = re.compile(r",|\band\b|^\W*$", re.IGNORECASE)
_OPEN_TEX = re.compile(
    r"(?<!\{)(\\(?:[bcdHkrtuv] +|[\"'`^=.] +|~ *)(?:\{[^{}]*\}|[^\W\d_])?|\\[A-Za-z]+(?= )) ?"
)
"""TeX at whose space or tilde BibTeX would split a name: an accent with its letter, a letter."""
_TEX = re.compile(r"[\\{}&%#_^$~]")
_GROUPED = re.compile(r"\{[^{}]*\}")


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
    if authors := " and ".join(filter(None, _iterate_authors(reference))):
        yield "author", f"{{{authors}}}"
    if date := reference.cited:
        yield "year", f"{{{date.year:04}}}"
        yield "month", _MONTHS[date.month - 1]
    texts = {
        "journal": escape_latex(reference.journal),
        "eprint": _escape_verbatim(reference.arxiv_id),
        "archiveprefix": "arXiv" if reference.arxiv_id else "",
        "primaryclass": escape_latex(reference.primary_category) if reference.arxiv_id else "",
        "doi": _escape_verbatim(reference.doi),
        "url": _escape_verbatim(reference.url),
        "abstract": escape_latex(reference.abstract),
        "note": escape_latex(reference.comment),
    }
    yield from ((name, f"{{{text}}}") for name, text in texts.items() if text)


def _iterate_authors(reference: Reference) -> Iterator[str]:
    groups = set(reference.group_authors)
    for author in reference.authors:
        name = to_single_line(author)
        person = None if author in groups else parse_person(name)
        if person:
            yield _format_person(person)
        else:
            text = escape_latex(name)
            is_whole = author in groups or is_group(name) or ends_with_suffix(name)
            yield f"{{{text}}}" if text and (is_whole or _INDIVISIBLE.search(text)) else text


def _format_person(person: PersonName) -> str:
    """Return the name in the shortest form that BibTeX splits into the same parts.

    Without commas, BibTeX takes words in lower case for particles, and nothing else.
    """
    given, particles, surname, suffix = (
        [_escape_word(word) for word in split_words(part)] if part else [] for part in person
    )
    is_unambiguous = not (
        suffix
        or person.is_surname_first
        or any(map(_is_lower, given))
        or not all(map(_is_lower, particles))
    )
    if is_unambiguous:
        return " ".join((*given, *particles, *surname))
    parts = [*particles, *surname], suffix, given
    return ", ".join(" ".join(words) for words in parts if words)


def _is_lower(word: str) -> bool:
    return next(filter(str.isalpha, word), "").islower()


def _escape_word(word: str) -> str:
    """Escape a word, with braces where BibTeX would split it."""
    if not _TEX.search(word):
        return word  # the rest takes ten times as long
    text = _OPEN_TEX.sub(r"{\1}", escape_latex(word))
    return f"{{{text}}}" if " " in _GROUPED.sub("", text) else text


def _escape_key(key: str) -> str:
    """Replace characters special to BibTeX or TeX; different keys stay different."""
    return re.sub(r"[^A-Za-z0-9:./+-]", lambda character: f"_{ord(character[0]):x}_", key)


def _escape_verbatim(text: str | None) -> str:
    """Percent-encode what could end the field, in a value that styles print verbatim."""
    return re.sub(r"[\s{}\\]", lambda character: f"%{ord(character[0]):02X}", to_single_line(text))
