"""Names of persons and groups, as arXiv sends them: one parser for all formats and filters.

arXiv sends given names first, `Ludwig van der Example Jr.`, and puts a space after every full
stop. Reference managers and users write the surname first: `van der Example, Ludwig, Jr.`
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_MAX_LENGTH = 300
"""Characters; longer texts are not parsed as the name of one person."""

_LETTERS = re.compile(r"[^\W\d_]+")
_GROUP_WORDS = frozenset(
    _LETTERS.findall(
        "collaboration collaborations consortium consortia team teams group groups workgroup"
        " project projects experiment experiments survey surveys network networks observatory"
        " observatories institut institute institutes instituto university universities"
        " laboratory laboratories lab labs committee members authors others alliance workshop"
        " initiative association society center centers centre centres department foundation"
        " academy agency corporation partnership federation commission telescope detector"
        " research developers contributors community council coalition union company college"
        " hospital facility program programme bureau ministry investigators and"
    )
)
_GROUP_SPELLINGS = frozenset(
    _LETTERS.findall(
        "of for by with Google DeepMind Microsoft NVIDIA IBM OpenAI DeepSeek Huawei Tencent Alibaba"
    )
)
"""In this case only; the names are those that authors append a word to: Google Brain."""
# `The` in upper case may be a given name
_GROUP_PHRASE = re.compile(r"the\b|Fermi LAT\b|.*\bAI$|.*\bet al\.?$")
# a colon inside a word belongs to it, as in the Swedish S:t
_COLON = re.compile(r"\N{FULLWIDTH COLON}|:(?!\S)|(?<!\S):")

_SUFFIX = re.compile(r"(?:(?i:jr|sr|jnr|snr)|II|III|IV|VI{1,3}|IX|[2-9](?:nd|rd|th))\.?")
_PARTICLE = re.compile(
    r"a[fv]|al|ben|bin|d[aeiou]|das|de[imnrs]|d[ae]l|d[ae]ll[aeo]|degli|d[io]e?s|die|el|ibn|la|las"
    r"|le|los|op|te[nr]?|tot|v[ao]n|vom|zu[mr]?|[dv]\.|['\u2019][st]"
)
"""Needed only in names without capitals; elsewhere every lower-case word is a particle."""
# neither Van nor Le alone, which are parts of Vietnamese given names; Arabic bin and ibn
_CAPITAL_PARTICLE = re.compile(
    r"D(?:e|ei|el|ell[aeo]|egli|i|os)|Von|Ma?c|\u0628\u0646|\u0627\u0628\u0646"
)
_CAPITAL_PARTICLES = re.compile(r"(?:Van|Von) (?:[Dd]e[nr]?|[Hh]et|'t)|De [Ll](?:a|as|os)")
_CONJUNCTIONS = {"e", "i", "y"}
"""Between two surnames: Ortega y Gasset."""

_FORBIDDEN = re.compile(r"[*\u2020\u2021\xa7\xb6\[\]<>;:/@#$%&=+|!?^\d_]")
"""What no name of a person contains, such as marks of footnotes."""
_SURNAME_START = re.compile(r"[^\W\d_]|[\\{'\u2018\u2019\u02bb\u02bc]")
_NOT_IN_SURNAMES = frozenset('()"\u201c\u201d')
"""Given names have them: Robert (Bob), Robert "Bob"."""

_TEX_COMMAND = re.compile(r"\\[A-Za-z]+|\\.")
_BRACED = r"\{(?:[^{}]|\{[^{}]*\})*+\}"
_WORD = re.compile(
    rf"(?:\\[A-Za-z]+ +(?=[^\W\d_]|\{{)|\\[\"'`^~=.] +(?=[^\W\d_])|\\.|{_BRACED}|[^\s~])+"
)
"""TeX: a space after a command ends the command and not the word; `~` is a space."""
_SPACED_HYPHEN = re.compile(
    r"(?<=\.) ?([-\u2010\u2011\u2013]) ?(?=[^\W\d_])|(?<=\w) ([-\u2010])(?=[^\W\d_])"
)
# Han, Hangul and Hiragana; names in Katakana are foreign, given names first
_SURNAME_FIRST_SCRIPT = re.compile(
    r"[\u1100-\u11ff\u3040-\u309f\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003134f\u3005\s]+"
)


class Authors(NamedTuple):
    """The authors of a paper, their affiliations in the same order, and those that are groups."""

    names: list[str]
    affiliations: list[list[str]]
    groups: list[str]


class PersonName(NamedTuple):
    """The parts of a person's name; particles and suffix may be empty."""

    given: str
    particles: str
    surname: str
    suffix: str

    @property
    def full_surname(self) -> str:
        """The surname with its particles."""
        return f"{self.particles} {self.surname}".lstrip()

    @property
    def is_surname_first(self) -> bool:
        """Whether the name is written surname first without a comma, as in Chinese and Korean."""
        return bool(_SURNAME_FIRST_SCRIPT.fullmatch(self.surname + self.given))


def split_authors(names: Sequence[str], affiliations: Sequence[list[str]] = ()) -> Authors:
    """Return the names that are names, and those before a colon as groups.

    arXiv splits `BigScience Workshop: Ada Example, Bo Sample` into names, one of which is a colon.
    Names without a letter or digit are left out.
    """
    if all(map(_is_plain, names)):
        known = [*affiliations[: len(names)], *([] for _ in names[len(affiliations) :])]
        return Authors([*names], known, [])
    authors = Authors([], [], [])
    for number, name in enumerate(names):
        pieces = [piece.strip() for piece in _COLON.split(name)]
        for position, piece in enumerate(pieces):
            if position and authors.names:
                authors.groups.append(authors.names[-1])
            if has_letter(piece):
                authors.names.append(piece)
                authors.affiliations.append([])
        if any(map(has_letter, pieces)) and number < len(affiliations):
            authors.affiliations[-1] = affiliations[number]
    return authors._replace(groups=list(dict.fromkeys(authors.groups)))


@lru_cache(2**15)
def _is_plain(name: str) -> bool:
    """Return whether the name is one, and none of a group."""
    return not _COLON.search(name) and has_letter(name) and name == name.strip()


def split_author_text(text: str) -> list[str]:
    """Return the names in a text as in `results.author`, where commas separate them."""
    names: list[str] = []
    for piece in filter(None, text.split(", ")):
        if names and _SUFFIX.fullmatch(piece):
            names[-1] += f", {piece}"
        else:
            names.append(piece)
    return names


def has_letter(name: str) -> bool:
    """Return whether the name contains a letter or a digit."""
    return any(map(str.isalnum, name))


def is_group(name: str) -> bool:
    """Return whether the name looks like that of a collaboration rather than of a person."""
    words = _LETTERS.findall(name)
    return (
        not _GROUP_WORDS.isdisjoint(map(str.lower, words))
        or not _GROUP_SPELLINGS.isdisjoint(words)
        or bool(_GROUP_PHRASE.match(name))
    )


def is_suffix(word: str) -> bool:
    """Return whether a word is a suffix such as Jr. or III."""
    return bool(_SUFFIX.fullmatch(word))


def ends_with_suffix(name: str) -> bool:
    """Return whether the last word is a suffix such as Jr. or III."""
    return bool(_SUFFIX.fullmatch(name.rpartition(" ")[2]))


def format_surname_first(name: str) -> str:
    """Return `Surname, Given, Suffix`, or the name unchanged if it has no such parts."""
    if person := parse_person(name):
        return ", ".join(filter(None, (person.full_surname, person.given, person.suffix)))
    return name


def format_given_first(name: str) -> str:
    """Return `Given Surname Suffix` if the name is written surname first, else it unchanged."""
    person = parse_person(name) if "," in name else None
    if person is None:
        return name
    parts = [person.given, person.full_surname]
    if person.is_surname_first:
        parts.reverse()
    return " ".join(filter(None, (*parts, person.suffix)))


def parse_person(name: str) -> PersonName | None:
    """Return the parts of a name; None if it has one part only, or is not a person's.

    A comma separates the surname, if that is one word with particles: `Example, Ada`. The last
    word is the surname otherwise. A single letter at the end is a surname, too: `Fred Sample V` is
    more likely a South Indian name, whose last initial stands for a name, than that of the fifth
    Fred Sample; BibTeX reads it in the same way.
    """
    if len(name) > _MAX_LENGTH or is_group(name):
        return None
    parts = [part.strip() for part in _join_hyphens(name).split(",")]
    if any(part.count("{") != part.count("}") for part in parts):
        return None  # a comma inside a TeX group
    match parts:
        case [text]:
            person = _parse_given_first(text)
        case [text, suffix] if _SUFFIX.fullmatch(suffix):
            person = _parse_given_first(f"{text} {suffix}")
        case [surname, given]:
            person = _parse_surname_first(surname, given)
        case [surname, suffix, given] if _SUFFIX.fullmatch(suffix):
            person = _parse_surname_first(f"{surname} {suffix}", given)
        case [surname, given, suffix] if _SUFFIX.fullmatch(suffix):
            person = _parse_surname_first(f"{surname} {suffix}", given)
        case _:
            person = None
    return person if person and _is_plausible(person) else None


def _join_hyphens(name: str) -> str:
    has_hyphen = "-" in name or not name.isascii()  # the pattern takes longer
    return _SPACED_HYPHEN.sub(r"\1\2", name) if has_hyphen else name


def _parse_given_first(text: str) -> PersonName | None:
    words, suffix = _split_suffix(text, min_words=2)
    if len(words) > 1 and _SURNAME_FIRST_SCRIPT.fullmatch(text):
        return PersonName(" ".join(words[1:]), "", words[0], suffix)
    start = _find_surname(words)
    return _create_person(words[:start], words[start:], suffix) if start > 0 else None


def _parse_surname_first(surname: str, given: str) -> PersonName | None:
    words, suffix = _split_suffix(surname, min_words=1)
    # a given name in the same case decides which lower-case words are particles
    if not words or _find_surname(["x" if _is_lower(words[-1]) else "X", *words]) > 1:
        return None
    return _create_person(split_words(given), words, suffix)


def split_words(text: str) -> list[str]:
    """Return the words of a name; a TeX command belongs to the word after it."""
    return _WORD.findall(text)


def _split_suffix(text: str, *, min_words: int) -> tuple[list[str], str]:
    """Return the words, and the suffix after at least so many of them."""
    words = split_words(text)
    if len(words) > min_words and _SUFFIX.fullmatch(words[-1]):
        return words[:-1], words[-1]
    return words, ""


def _create_person(given: list[str], surname: list[str], suffix: str) -> PersonName:
    return PersonName(" ".join(given), " ".join(surname[:-1]), surname[-1], suffix)


def _find_surname(words: list[str]) -> int:
    """Return the index of the first word of the surname, the last of which ends the name."""
    start = len(words) - 1
    while start > 0 and (number := _count_particles(words[:start])):
        start -= number
    return start


def _count_particles(words: list[str]) -> int:
    """Return how many of the last words belong to the surname that follows them."""
    *before, word = words
    if len(before) > 1 and (
        word in _CONJUNCTIONS or _CAPITAL_PARTICLES.fullmatch(f"{before[-1]} {word}")
    ):
        return 2
    if not _is_lower(word):
        return int(bool(before and _CAPITAL_PARTICLE.fullmatch(word)))
    has_capitals = not _is_lower(words[0]) and not word.endswith(".")
    return int(has_capitals or bool(_PARTICLE.fullmatch(word)))


def _is_lower(word: str) -> bool:
    """Return whether the first letter is in lower case, unless it is part of a TeX command."""
    letter = next(filter(str.isalpha, word), "")
    return letter.islower() and word[0] not in "\\{"


def _is_plausible(person: PersonName) -> bool:
    surname, given = person.full_surname, person.given
    if "\\" in surname or "\\" in given:
        surname, given = _TEX_COMMAND.sub("", surname), _TEX_COMMAND.sub("", given)
    return (
        any(map(str.isalpha, given))
        and not _SUFFIX.fullmatch(person.surname)
        and bool(_SURNAME_START.match(person.surname))
        and not _FORBIDDEN.search(f"{given} {surname}")
        and _NOT_IN_SURNAMES.isdisjoint(surname)
    )
