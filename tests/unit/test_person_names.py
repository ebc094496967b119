"""Names of persons and groups: one parser, which BibTeX, RIS and the author filter share."""

import json
from typing import Any

import pytest
import rispy
from bibtexparser.middlewares import NameParts
from bibtexparser.middlewares.names import parse_single_name_into_parts
from hypothesis import given
from hypothesis import strategies as st
from pybtex.database import Person

from service import arxiv_xml
from service.formats import Reference
from service.formats.bibtex import BibTeX
from service.formats.ris import Ris
from service.metadata.person_names import (
    format_given_first,
    format_surname_first,
    is_group,
    parse_person,
    split_author_text,
    split_authors,
)
from service.models.records import ResultRow
from tests.support.captures import TEST_DATA
from tests.support.cases import CASES

needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are missing: {CASES}")

# Name as arXiv sends it; surname with particles, given name, suffix.
PERSONS = {
    "Ada Example": ("Example", "Ada", ""),
    "E. A. Noether": ("Noether", "E. A.", ""),
    "J. -P. Example": ("Example", "J.-P.", ""),
    "J.-P. Sample": ("Sample", "J.-P.", ""),
    "Ch. -É. Sample": ("Sample", "Ch.-É.", ""),
    "J. \N{EN DASH}P. Example": ("Example", "J.\N{EN DASH}P.", ""),
    "X. - Y. Probe": ("Probe", "X.-Y.", ""),
    "Jean -Pierre Test": ("Test", "Jean-Pierre", ""),
    "Jean-Pierre A.-B. O'Neil": ("O'Neil", "Jean-Pierre A.-B.", ""),
    "Gabriel García Márquez": ("Márquez", "Gabriel García", ""),
    "The Anh Example": ("Example", "The Anh", ""),
    "The Example": ("Example", "The", ""),
    # suffixes
    "Ada Example Jr.": ("Example", "Ada", "Jr."),
    "Ada Example Jr": ("Example", "Ada", "Jr"),
    "Ada Example, Jr": ("Example", "Ada", "Jr"),
    "Ada Example,Jr.": ("Example", "Ada", "Jr."),
    "A. B. Sample Sr.": ("Sample", "A. B.", "Sr."),
    "Bo Test Snr": ("Test", "Bo", "Snr"),
    "Guy Test II": ("Test", "Guy", "II"),
    "Guy Test III": ("Test", "Guy", "III"),
    "Fred Sample IV": ("Sample", "Fred", "IV"),
    "Fred Sample VII": ("Sample", "Fred", "VII"),
    "Guy Test 2nd": ("Test", "Guy", "2nd"),
    "Guy Test 3rd": ("Test", "Guy", "3rd"),
    "Ludwig van der Example Jr.": ("van der Example", "Ludwig", "Jr."),
    "Jr-Shin Example": ("Example", "Jr-Shin", ""),
    # a trailing initial is a surname, as in South Indian names
    "Fred Sample V": ("V", "Fred Sample", ""),
    "Karthik Kumar S.": ("S.", "Karthik Kumar", ""),
    # particles
    "Ludwig van der Example": ("van der Example", "Ludwig", ""),
    "Ana de la Sample": ("de la Sample", "Ana", ""),
    "Gerard 't Test": ("'t Test", "Gerard", ""),
    "Gerard \u2019t Test": ("\u2019t Test", "Gerard", ""),
    "Anna von dem Beispiel": ("von dem Beispiel", "Anna", ""),
    "Bell von Trap": ("von Trap", "Bell", ""),
    "Maria da Silva": ("da Silva", "Maria", ""),
    "Maria De Luca": ("De Luca", "Maria", ""),
    "Saunders Mac Example": ("Mac Example", "Saunders", ""),
    "Sean Mc Example": ("Mc Example", "Sean", ""),
    "Jan Van der Berg": ("Van der Berg", "Jan", ""),
    "Juan De La Cruz": ("De La Cruz", "Juan", ""),
    "Ali bin Example": ("bin Example", "Ali", ""),
    "Mario dalla Prova": ("dalla Prova", "Mario", ""),
    "José Ortega y Gasset": ("Ortega y Gasset", "José", ""),
    "Thi Van Example": ("Example", "Thi Van", ""),
    "bell hooks": ("hooks", "bell", ""),
    "ludwig van der example": ("van der example", "ludwig", ""),
    # scripts
    "Иван Иванович Петров": ("Петров", "Иван Иванович", ""),
    "محمد علي": ("علي", "محمد", ""),
    "محمد بن علي": ("بن علي", "محمد", ""),
    "김 철수": ("김", "철수", ""),
    "王 伟": ("王", "伟", ""),
    "Đặng Văn Example": ("Example", "Đặng Văn", ""),
    "Ö. Ünal": ("Ünal", "Ö.", ""),
    "Flann O\u2019Example": ("O\u2019Example", "Flann", ""),
    # TeX
    r"Kurt G\"{o}del": (r"G\"{o}del", "Kurt", ""),
    r"Jos\'e Mu\~noz": (r"Mu\~noz", r"Jos\'e", ""),
    r"\O ystein Pr\o ve": (r"Pr\o ve", r"\O ystein", ""),
    r"Mirko Ko\v c": (r"Ko\v c", "Mirko", ""),
    r"K. \" Unal": (r"\" Unal", "K.", ""),
    r"Bo Sample\dag": (r"Sample\dag", "Bo", ""),
    "Ada {Example}": ("{Example}", "Ada", ""),
    "Ada {van Example}": ("{van Example}", "Ada", ""),
    "Paul R.~Example": ("Example", "Paul R.", ""),
    # surname first
    "Smith, J.": ("Smith", "J.", ""),
    "Müller, José": ("Müller", "José", ""),
    "Example, Jr., Ada": ("Example", "Ada", "Jr."),
    "Example, Ada, III": ("Example", "Ada", "III"),
    "Example Jr., Ada": ("Example", "Ada", "Jr."),
    "van der Example, Ludwig": ("van der Example", "Ludwig", ""),
    "De Luca, Maria": ("De Luca", "Maria", ""),
    "김, 철수": ("김", "철수", ""),
    'Robert (Bob) "B" Example': ("Example", 'Robert (Bob) "B"', ""),
}
UNDIVIDED = [
    *("Madonna", "李明", "von Neumann", "Henry III", "Ada Jr.", "", ":", "...", "Jr."),
    *("Emmy Noether, Felix Klein", "felix klein, emmy noether", "A, B, C", "A, B, C, D", ", Ada"),
    *("Ada Example*", "Ada Example1", "Cy Test [MIT]", "Di Probe (1)", "Ed Trial; Flo Check"),
    *("Ben And Jerry", "A and B", "Ada {Example, Jr}", "A. B& Jr.", "Example,", "word " * 100),
]
GROUPS = [
    *("The LIGO Example Collaboration", "the VIRGO Example Collaboration", "the Authors"),
    *("for the ABC Collaboration", "Planck Collaboration", "on behalf of ABC", "et al."),
    *("ATLAS and CMS Collaborations", "Institute of This and That", "R&D Lab", "Fermi LAT"),
    *(
        "BigScience Workshop",
        "DeepSeek-AI",
        "Mistral AI",
        "Google DeepMind",
        "GAMBIT Cosmology Workgroup",
    ),
    *("The Example Developers", "with an appendix by Bo Sample", "Example Contributors"),
    *("Event Horizon Example Alliance", "Microsoft Research", "The Example Team", "OpenAI"),
]


@pytest.mark.parametrize(("name", "parts"), PERSONS.items())
def test_name_of_a_person_has_parts(name: str, parts: tuple[str, str, str]) -> None:
    person = parse_person(name)

    assert person
    assert (person.full_surname, person.given, person.suffix) == parts
    assert format_surname_first(name) == ", ".join(filter(None, parts))


@pytest.mark.parametrize("name", [*UNDIVIDED, *GROUPS])
def test_other_names_are_left_whole(name: str) -> None:
    assert parse_person(name) is None
    assert format_surname_first(name) == format_given_first(name) == name


@pytest.mark.parametrize("name", GROUPS)
def test_group_is_recognized(name: str) -> None:
    assert is_group(name)
    assert write_bibtex(name) == f"{{{name}}}".replace("&", r"\&")
    assert write_ris(name) == name


@pytest.mark.parametrize("name", PERSONS)
def test_person_is_not_taken_for_a_group(name: str) -> None:
    assert not is_group(name)


@pytest.mark.parametrize("name", PERSONS)
def test_surname_first_form_is_read_as_the_same_name(name: str) -> None:
    assert name.startswith("Ada {") or parse_person(format_surname_first(name)) == parse_person(
        name
    )


@pytest.mark.parametrize(
    ("text", "given_first"),
    [
        ("Müller, José", "José Müller"),
        ("müller,josé", "josé müller"),
        ("van der Example, Ludwig", "Ludwig van der Example"),
        ("'t Test, Gerard", "Gerard 't Test"),
        ("Example, Ada, Jr.", "Ada Example Jr."),
        ("Example, Jr., Ada", "Ada Example Jr."),
        ("Ada Example, Jr.", "Ada Example Jr."),
        ("Noether, E. A.", "E. A. Noether"),
        ("김, 철수", "김 철수"),
        ("Emmy Noether, Felix Klein", "Emmy Noether, Felix Klein"),
        ("emmy noether, felix klein", "emmy noether, felix klein"),
        ("Emmy Noether", "Emmy Noether"),
        ("J. -P. Example", "J. -P. Example"),
        ("Institute of Examples, Berlin", "Institute of Examples, Berlin"),
        ("A, B, C", "A, B, C"),
        ("", ""),
    ],
)
def test_surname_first_is_one_word_with_particles_before_a_comma(
    text: str, given_first: str
) -> None:
    assert format_given_first(text) == given_first


# The real readers of BibTeX and RIS


def write(serializer: Any, name: str, **fields: Any) -> str:
    reference = Reference(key="1", uri="u", kind="paper", title="T", authors=[name], **fields)
    return str(serializer.serialize([reference]).decode())


def write_bibtex(name: str, **fields: Any) -> str:
    [line] = [x for x in write(BibTeX(), name, **fields).splitlines() if x.startswith("  author")]
    return line.removeprefix("  author = {").removesuffix("},")


def write_ris(name: str, **fields: Any) -> str:
    [record] = rispy.loads(write(Ris(), name, **fields), newline="\r\n")
    [author] = record["authors"]
    return str(author)


def read_pybtex(name: str) -> tuple[str, str, str]:
    person = Person(name)
    return (
        " ".join([*person.prelast_names, *person.last_names]),
        " ".join([*person.first_names, *person.middle_names]),
        " ".join(person.lineage_names),
    )


def read_bibtexparser(name: str) -> tuple[str, str, str]:
    parts: NameParts = parse_single_name_into_parts(name)
    return " ".join([*parts.von, *parts.last]), " ".join(parts.first), " ".join(parts.jr)


BRACED = {
    r"Pr\o ve": r"Pr{\o}ve",
    r"\O ystein": r"{\O}ystein",
    r"Ko\v c": r"Ko{\v c}",
    r"\" Unal": r"{\" U}nal",
    r"Mu\~noz": r"Mu{\~n}oz",
}
"""Where BibTeX would split a name."""


@pytest.mark.parametrize(("name", "parts"), PERSONS.items())
def test_bibtex_and_ris_readers_find_the_same_parts(name: str, parts: tuple[str, str, str]) -> None:
    surname, given, suffix = parts
    expected = (BRACED.get(surname, surname), BRACED.get(given, given), suffix)

    assert read_pybtex(write_bibtex(name)) == expected
    assert read_bibtexparser(write_bibtex(name)) == expected
    assert write_ris(name) == ", ".join(filter(None, parts))


def test_names_that_bibtex_divides_correctly_keep_their_order() -> None:
    assert write_bibtex("Ludwig van der Example") == "Ludwig van der Example"
    assert write_bibtex("J. -P. Example") == "J.-P. Example"
    assert write_bibtex("Ada Example Jr.") == "Example, Jr., Ada"
    assert write_bibtex("Maria De Luca") == "De Luca, Maria"


def test_known_group_is_whole_in_bibtex_and_ris() -> None:
    groups = ["Ada Example Workspace"]

    assert write_bibtex(groups[0], group_authors=groups) == "{Ada Example Workspace}"
    assert write_ris(groups[0], group_authors=groups) == groups[0]
    assert write_ris(groups[0]) == "Workspace, Ada Example"


CAPITAL = st.from_regex(r"[A-ZÉŁ][a-zéł]{2,8}(-[A-Z][a-z]{2,6})?", fullmatch=True).filter(
    lambda word: (
        not is_group(word)
        and word.lower() not in {"and", "von", "del", "dei", "dos"}
        and word not in {"Della", "Dello", "Delle", "Degli"}
    )
)
INITIAL = st.from_regex(r"[A-Z]\.( -[A-Z]\.)?", fullmatch=True)
PARTICLES = st.sampled_from(
    ["", "van", "van der", "van den", "von", "von der", "von dem", "zu", "de", "de la", "del",
     "della", "di", "da", "dos", "du", "le", "la", "ten", "ter", "'t", "af", "al", "el", "bin"]
)  # fmt: skip
SUFFIX = st.sampled_from(["", "Jr", "Jr.", "Sr.", "II", "III", "IV", "2nd", "3rd"])


@given(st.lists(CAPITAL | INITIAL, min_size=1, max_size=3), PARTICLES, CAPITAL, SUFFIX)
def test_generated_names_have_the_same_parts_everywhere(
    given_names: list[str], particles: str, last: str, suffix: str
) -> None:
    first, surname = " ".join(given_names), f"{particles} {last}".lstrip()
    name = f"{first} {surname} {suffix}".rstrip()
    parts = (surname, first.replace(" -", "-"), suffix)

    assert read_pybtex(write_bibtex(name)) == parts
    assert read_bibtexparser(write_bibtex(name)) == parts
    assert write_ris(name) == ", ".join(filter(None, parts))
    assert format_given_first(write_ris(name)) == name.replace(" -", "-")


@given(st.text(max_size=40) | st.lists(st.sampled_from([*" ,.{}\\'\"~-()", "Jr.", "de", "A", "é"]))
       .map("".join))  # fmt: skip
def test_any_text_is_parsed_or_left_whole(text: str) -> None:
    person = parse_person(text)
    assert person is None or (person.given and person.surname)
    assert person or format_surname_first(text) == text
    format_given_first(text)


# Lists of authors


@pytest.mark.parametrize(
    ("sent", "names", "groups"),
    [
        (["BigScience Workshop", ":", "Ada Example"], ["BigScience Workshop", "Ada Example"], [0]),
        (["DeepSeek-AI:", "Ada Example"], ["DeepSeek-AI", "Ada Example"], [0]),
        (["DeepSeek-AI :", "Ada Example"], ["DeepSeek-AI", "Ada Example"], [0]),
        (["DeepSeek-AI", ": Ada Example"], ["DeepSeek-AI", "Ada Example"], [0]),
        (["ABC Survey: Ada Example"], ["ABC Survey", "Ada Example"], [0]),
        (["ABC Survey\N{FULLWIDTH COLON}Ada Example"], ["ABC Survey", "Ada Example"], [0]),
        (["A B", "X", ":", "C D", "Y", ":", "E F"], ["A B", "X", "C D", "Y", "E F"], [1, 3]),
        ([":", "Ada Example", ":", ":"], ["Ada Example"], [0]),
        (
            ["Ada Example", "*", "", " ", "&", "\u2020", "Bo Sample"],
            ["Ada Example", "Bo Sample"],
            [],
        ),
        (["Karl S:t Example", "0"], ["Karl S:t Example", "0"], []),
        ([":"], [], []),
        ([], [], []),
    ],
)
def test_colon_marks_the_name_before_it_as_a_group(
    sent: list[str], names: list[str], groups: list[int]
) -> None:
    authors = split_authors(sent, [[f"of {number}"] for number in range(len(sent))])

    assert authors.names == names
    assert authors.groups == [names[number] for number in groups]
    assert len(authors.affiliations) == len(names)


def test_affiliations_stay_with_their_authors() -> None:
    names = ["Group", ":", "Ada", "-", "Team: Bo", "Cy"]
    affiliations = [["g"], ["lost"], ["a"], ["lost"], ["b"]]

    assert split_authors(names, affiliations).affiliations == [["g"], ["a"], [], ["b"], []]


@given(st.lists(st.text(max_size=8) | st.sampled_from([":", "A:", "B", ": C", "D: E"])))
def test_split_authors_are_names_and_are_not_split_again(names: list[str]) -> None:
    authors = split_authors(names, [[] for _ in names])

    assert all(any(map(str.isalnum, name)) for name in authors.names)
    assert set(authors.groups) <= set(authors.names)
    assert len(authors.affiliations) == len(authors.names)
    assert split_authors(authors.names).names == authors.names


def test_colon_in_results_of_earlier_versions_marks_a_group() -> None:
    author = "Ada Example Lounge, :, Bo Sample, Jr."
    result = ResultRow(author, "T", None, 7, 0, 0, None, None)
    reference = Reference.from_result(result, "https://gateway.example/")

    assert reference.authors == ["Ada Example Lounge", "Bo Sample, Jr."]
    assert reference.group_authors == ["Ada Example Lounge"]


def test_suffix_after_a_comma_stays_with_its_author() -> None:
    assert split_author_text("Ada Example, Jr., Bo Sample, III, Cy Test") == [
        *("Ada Example, Jr.", "Bo Sample, III", "Cy Test"),
    ]
    assert split_author_text("") == []


# Real and unusual metadata


@needs_cases
def test_every_name_of_the_cases_has_a_defined_value() -> None:
    feed = (CASES / "caseaut.atom").read_bytes().replace(b"{{MAX}}", b"100")
    known = {*PERSONS, *UNDIVIDED, *GROUPS, "NVIDIA"}
    names = {name for entry in arxiv_xml.parse_feed(feed).entries for name in entry.authors}

    undefined = names - known - {f"{given} {last}" for given in GIVEN for last in LAST}
    assert undefined == set()


GIVEN = ["Ada", "Bo", "Jean-Pierre", "Иван", "Flann", "Łukasz"]
LAST = ["Example", "Sample", "Test", "Петров", "O'Example", "Żak"]


def test_parts_are_those_that_arxiv_publishes() -> None:
    """arXiv's own snapshot has the parts of each name: surname, given name, suffix."""
    path = TEST_DATA / "data" / "kaggle" / "snapshot_first150.jsonl"
    if not path.exists():
        pytest.skip(f"the snapshot is missing: {path}")
    papers = map(json.loads, path.read_text().splitlines())
    published = [tuple(author[:3]) for paper in papers for author in paper["authors_parsed"]]

    assert len(published) > 300
    for surname, given_name, suffix in published:
        name = " ".join(filter(None, (given_name, surname, suffix)))
        person = parse_person(name)
        parts = (person.full_surname, person.given, person.suffix) if person else (name, "", "")
        assert parts == (surname, given_name.replace(". -", ".-"), suffix)
