"""Authors as arXiv stores them: one line of names, in TeX and with affiliations in parentheses."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from demo.tex import encode_tex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.papers import Author, Paper

_PREFIX: Final = "van|der|de|la|von|del|della|da|mac|ter|dem|di|vaziri"
_NAME: Final = re.compile(
    rf"(?P<forenames>.*?)\s(?P<keyname>(?:(?:{_PREFIX})\s){{1,2}}\S+)"
    r"|(?P<first>.*)\s(?P<last>\S+)\s(?P<suffix>I|II|III|IV|V|Sr\.?|Jr\.?)"
    r"|(?P<other>.*)\s(?P<single>\S+)",
    re.IGNORECASE | re.DOTALL,
)


class Name(NamedTuple):
    """The parts of a name."""

    keyname: str
    forenames: str = ""
    suffix: str = ""


def split_name(name: str) -> Name:
    """Return the parts of a name; one that begins with a space is a group and stays whole."""
    found = _NAME.fullmatch(name.strip())
    if name.startswith(" ") or not found:
        return Name(name.strip())
    keyname = found["keyname"] or found["last"] or found["single"]
    forenames = found["forenames"] or found["first"] or found["other"]
    return Name(keyname, forenames, found["suffix"] or "")


def format_line(paper: Paper) -> str:
    """Return the authors in one line, with "and" before the last one in some papers."""
    marks, legend = _mark_affiliations(paper.authors)
    names = [
        encode_tex(author.name.strip().replace(". -", ".-") + mark)
        for author, mark in zip(paper.authors, marks, strict=True)
    ]
    # Depends on the id only, so that every source has the same line.
    if len(names) > 1 and zlib.crc32(paper.arxiv_id.encode()) % 3 == 0:
        names[-2:] = [f"{names[-2]} and {names[-1]}"]
    return ", ".join(names) + encode_tex(legend)


def _mark_affiliations(authors: Sequence[Author]) -> tuple[list[str], str]:
    """Return what follows each name, and what follows the last one.

    Affiliations are numbered if an author has several.
    """
    if all(len(author.affiliations) <= 1 for author in authors):
        return [
            f" ({author.affiliations[0]})" if author.affiliations else "" for author in authors
        ], ""
    numbers: dict[str, int] = {}
    for author in authors:
        for affiliation in author.affiliations:
            numbers.setdefault(affiliation, len(numbers) + 1)
    marks = [
        _format_mark([str(numbers[name]) for name in author.affiliations]) for author in authors
    ]
    legend = ", ".join(f"({number}) {name}" for name, number in numbers.items())
    return marks, f" ({legend})"


def _format_mark(numbers: Sequence[str]) -> str:
    separator = " and " if len(numbers) == 2 else ","  # noqa: PLR2004 - arXiv reads both
    return f" ({separator.join(numbers)})" if numbers else ""
