"""Which names are a group's, and what of a person's name is the surname.

arXiv gives each name as one line, given names first.
"""

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
    """Whether this looks like a collaboration, or like anything else that is nobody's name."""
    return bool(_GROUP.search(name))


def surname_first(name: str) -> str:
    """`Surname, Given` where both can be told; the name as it is where they can not.

    Two words are told, and initials or particles between them: of three whole words, the one in
    the middle may belong to either.
    """
    person = _PERSON.fullmatch(name)
    if not person or is_group(name):
        return name
    if not (person["given"][0].isupper() and person["last"][0].isupper()):
        return name
    return f"{person['surname']}, {person['given']}"
