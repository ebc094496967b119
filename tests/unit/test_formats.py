"""Output formats, checked with independent parsers and arbitrary text."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import feedparser
import pytest
import rispy
from bibtexparser.entrypoint import parse_string as parse_bibtex
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct
from pybtex.database import Entry, Person
from pybtex.database.input.bibtex import Parser

from service.errors import InvalidParameter, NotAcceptable
from service.formats import FORMATS, FeedHead, Reference, ReferenceFormat, select_format
from service.formats.atom import Atom
from service.formats.bibtex import BibTeX
from service.formats.negotiation import MAX_MEMBERS, parse_media_type, select_offer
from service.formats.ris import Ris
from service.formats.serializer import Serializer
from service.formats.tabular import Csv, Json, Ndjson
from service.models.arxiv import Outcome

NOON = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
HEAD = FeedHead(
    title="What is new & good",
    uri="urn:arxiv-gateway:query:42",
    self_url="http://localhost/queries/42/feed?a=1&b=2",
    updated=NOON,
)

# Characters and words with a special meaning in some format, in any order.
_PIECES = st.sampled_from(
    [
        *("{", "}", "\\", "$", "$$", "\\{", "\\}", "\\\\", "\\(", "\\)", "\\]", "%", "#", "&"),
        *("_", "^", "~", '"', "'", ",", ";", "=", "@", "@misc{x,", "@comment", "\\begin", "--"),
        *("\r\n", "\n", "\r", "\t", " ", "\x00", "\x0b", "\x1f", "\x85", "\u2028", "\ufeff"),
        *("TY  - JOUR", "ER  - ", "\nER  - \n", "<b>", "&amp;", "]]>", "</entry>", "<!--"),
        *(" and ", "others", "Jr.", "III", "von", "\\alpha", "\\'e", "a", "B", "7", "\ud800"),
        *("é", "ł", "中文", "🧪", "שלום", "\u202e", "e\u0301", "\ufffe", "\U0001ffff"),
    ]
)
ANY = st.text(max_size=20) | st.lists(_PIECES, max_size=10).map("".join)
# Text without TeX: characters that people use literally.
PLAIN = st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\\{}$~\"'`-"),
    max_size=30,
)


def normalize(text: str) -> str:
    """Return the text as parsers return it: one line, without invalid characters."""
    valid = (
        c
        for c in text
        if c.isspace() or not (unicodedata.category(c) in {"Cc", "Cs"} or c in "\ufffe\uffff")
    )
    return " ".join("".join(valid).split())


def write_file(writer: Serializer[Any], *batches: Sequence[Any]) -> bytes:
    return b"".join([writer.begin(), *map(writer.serialize, batches), writer.end()])


def paper(**fields: Any) -> Reference:
    defaults = {"key": "1", "uri": "http://arxiv.org/abs/2101.00001v2", "kind": "paper"}
    return Reference(**(defaults | {"title": "T"} | fields))


FULL = paper(
    key="2101.00001v2",
    url="http://arxiv.org/abs/2101.00001v2",
    title=r"Ünïcode, $\alpha_s$ & 100% of {TeX} 中文 🧪",
    authors=["Jan van der Berg", "Łucja É. Nowak", "ATLAS and CMS Collaborations"],
    abstract='It costs 5% of a_b: "quoted"\nover lines <b>&amp;</b> שלום',
    journal="Phys. Rev. D 63 (2001) 1, no. 2",
    comment="12 pages; v2: typos",
    published=datetime(2020, 12, 31, tzinfo=UTC),
    updated=NOON,
    cited=datetime(2021, 1, 5, 23, 59, 59, tzinfo=UTC),
    dois=["10.1002/(SICI)1<7::A_b>3.0.CO;2-H", "10.1/second"],
    arxiv_id="2101.00001",
    primary_category="hep-ph",
    categories=["hep-ph", "hep-ex"],
)
BARE = paper(key="query42", uri="urn:uuid:1", kind="search", title="")

# Selection


@pytest.mark.parametrize("name", FORMATS)
def test_format_wins_over_accept(name: str) -> None:
    assert select_format(name, "text/html;q=x").name == name


def test_unknown_format_is_rejected() -> None:
    for name in ("", "xml", "JSON"):
        with pytest.raises(InvalidParameter, match="json, ndjson, csv, bibtex, ris, atom") as error:
            select_format(name, None)
        assert error.value.parameter == "format"


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/json; charset=utf-8", "json"),
        ("application/*", "json"),
        ("TEXT/CSV", "csv"),
        ("text/*", "csv"),
        ("text/csv;header=present", "csv"),
        ('text/csv; charset="UTF-8" ; q=0.5', "csv"),
        ("text/csv;header=absent, application/x-ndjson;q=0.1", "ndjson"),
        ("text/csv, */*", "csv"),
        ("text/csv, application/json", "json"),
        ("text/csv;q=0.9, application/json;q=0.8", "csv"),
        ("text/csv;q=0.009, application/json;q=0.008", "csv"),
        ("application/json;q=0, */*;q=0.1", "ndjson"),
        ("*/*;q=0.1, application/atom+xml", "atom"),
        ("*/*, application/json;q=0.1", "ndjson"),
        ("application/atom+xml;type=feed", "atom"),
        ("application/x-bibtex", "bibtex"),
        ("text/x-bibtex", "bibtex"),
        ("application/jsonl", "ndjson"),
        ("application/ndjson", "ndjson"),
        ("application/x-research-info-systems", "ris"),
        ("text/csv;q=high, application/x-ris;q=0.1", "ris"),
        ("text/csv;q=2, application/x-ris;q=0.1", "ris"),
        (",, ;q=1, text/csv", "csv"),
        ("text/csv;q=1;header=absent", "csv"),
    ],
)
def test_accept_selects_a_format(accept: str | None, name: str) -> None:
    assert select_format(None, accept).name == name


@pytest.mark.parametrize(
    "accept",
    ["text/html", "*/*;q=0", "application/json;q=0", "json", "application/atom+xml;type=x"],
)
def test_unavailable_media_type_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"application/json.*application/atom\+xml.*`format`"):
        select_format(None, accept)


def test_refused_accept_header_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def refuse(accept: str, _: object) -> None:
        parsed.append(accept)

    monkeypatch.setattr("service.formats.select_offer", refuse)
    for _ in range(3):
        with pytest.raises(NotAcceptable):
            select_format(None, "image/refused")

    assert parsed == ["image/refused"]


def test_first_hundred_members_of_accept_are_considered() -> None:
    offers = {"csv": [parse_media_type("text/csv")]}

    assert select_offer("a/b," * (MAX_MEMBERS - 1) + "text/csv", offers) == "csv"
    assert select_offer("a/b," * MAX_MEMBERS + "text/csv", offers) is None


@given(st.text(max_size=40) | st.lists(st.sampled_from([*"*/;=,.q01", "text", "csv"])).map("".join))
def test_any_accept_header_is_valid_or_rejected(accept: str) -> None:
    with suppress(NotAcceptable):
        select_format(None, accept)


# Tables


class Row(Struct):
    """A row with a column of each type."""

    number: int = 7
    text: str = "a"
    missing: str | None = None
    right: bool = True
    share: float = -0.5
    moment: datetime = NOON
    names: list[str] = []
    places: list[list[str]] = []


ROWS = [
    Row(text='é, "ł"\r\n中文 🧪', names=["A, B", "C"], places=[["é"], []]),
    Row(number=-1, right=False),
]
OBJECTS = [
    {
        "number": 7,
        "text": 'é, "ł"\r\n中文 🧪',
        "missing": None,
        "right": True,
        "share": -0.5,
        "moment": "2026-11-23T12:30:00Z",
        "names": ["A, B", "C"],
        "places": [["é"], []],
    },
    {
        "number": -1,
        "text": "a",
        "missing": None,
        "right": False,
        "share": -0.5,
        "moment": "2026-11-23T12:30:00Z",
        "names": [],
        "places": [],
    },
]
ALL = Row.__struct_fields__
BATCHES: list[list[list[Row]]] = [
    [],
    [[]],
    [ROWS],
    [[], ROWS[:1], [], ROWS[1:], []],
]


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("columns", [ALL, ("text",), ("text", "number"), ALL[::-1]])
def test_json_and_ndjson_have_the_selected_columns_in_order(
    batches: list[list[Row]], columns: tuple[str, ...]
) -> None:
    rows = [{name: row[name] for name in columns} for row in OBJECTS[: sum(map(len, batches))]]

    array = json.loads(write_file(Json(columns), *batches))
    lines = write_file(Ndjson(columns), *batches).decode().split("\n")

    assert [list(row.items()) for row in array] == [list(row.items()) for row in rows]
    assert lines.pop() == ""
    assert [list(json.loads(line).items()) for line in lines] == [list(r.items()) for r in rows]


def read_csv(file: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.decode(), newline=""), strict=True))


@pytest.mark.parametrize("batches", BATCHES)
def test_csv_has_a_header_and_one_record_per_row(batches: list[list[Row]]) -> None:
    expected = [
        ["7", 'é, "ł"\r\n中文 🧪', "", "true", "-0.5", "2026-11-23T12:30:00Z", "A, B; C"],
        ["-1", "a", "", "false", "-0.5", "2026-11-23T12:30:00Z", ""],
    ]

    header, *rows = read_csv(write_file(Csv(ALL), *batches))

    assert header == list(ALL)
    assert [row[:-1] for row in rows] == expected[: len(rows)]
    assert len(rows) == sum(map(len, batches))
    assert [json.loads(row[-1] or "[]") for row in rows] == [[["é"], []], []][: len(rows)]


def test_csv_follows_rfc_4180() -> None:
    file = write_file(Csv(("number", "text", "missing")), [Row()])

    assert file == b'"number","text","missing"\r\n7,"a",""\r\n'


def test_csv_contains_the_value_of_an_enum() -> None:
    assert read_csv(write_file(Csv(("text",)), [Row(text=Outcome.OK)]))[1] == ["ok"]


@given(ANY, ANY)
def test_csv_round_trips_any_text(first: str, second: str) -> None:
    file = write_file(Csv(("text", "names")), [Row(text=first, names=[second])])

    _, [text, names] = read_csv(file)
    for cell, expected in ((text, first), (names, second)):
        assert (
            cell.removeprefix("'" if not expected.startswith("'") else "")
            == expected.encode(errors="replace").decode()
        )


@pytest.mark.parametrize("before", ["", " ", "\t", "\n ", "\u00a0", "\u200b", "\ufeff", "\x00"])
@pytest.mark.parametrize("mark", "=+-@\uff1d\uff0b\uff0d\uff20")
def test_formulas_are_escaped_in_csv(before: str, mark: str) -> None:
    text = f"{before}{mark}HYPERLINK(1)"

    [_, [one, many]] = read_csv(
        write_file(Csv(("text", "names")), [Row(text=text, names=[text, "a"])])
    )

    assert one == f"'{text}"
    assert many == f"'{text}; a"


@pytest.mark.parametrize("text", ["\ta", "\ra", "\na"])
def test_csv_cells_do_not_begin_with_tab_or_line_end(text: str) -> None:
    assert read_csv(write_file(Csv(("text",)), [Row(text=text)]))[1] == [f"'{text}"]


@pytest.mark.parametrize("text", ["a=b", "1-2", "(-1)", "é", "中=", "", " a", "'=1", "$x$ = 1"])
def test_other_csv_cells_are_unchanged(text: str) -> None:
    assert read_csv(write_file(Csv(("text",)), [Row(text=text)]))[1] == [text]


# Bibliographies


@pytest.mark.parametrize("name", ["bibtex", "ris", "atom"])
def test_batch_boundaries_do_not_change_the_file(name: str) -> None:
    reference_format = FORMATS[name]
    assert isinstance(reference_format, ReferenceFormat)
    create = reference_format.create_serializer
    ignore_read_delay = write_file(create(HEAD), [FULL, BARE])

    assert write_file(create(HEAD), [], [FULL], [], [BARE], []) == ignore_read_delay


def read_bibtex(file: bytes) -> dict[str, Entry]:
    """The entries, where both readers accept the file and find the same ones.

    They count braces differently: pybtex as BibTeX does, bibtexparser leaves escaped ones out.
    """
    entries = dict(Parser().parse_bytes(file).entries.items())
    other = parse_bibtex(file.decode())
    assert other.failed_blocks == []
    assert other.comments == []
    assert [entry.key for entry in other.entries] == list(entries)
    return entries


def bibtex(reference: Reference) -> Entry:
    [entry] = read_bibtex(write_file(BibTeX(), [reference])).values()
    return entry


def people(*names: str) -> list[str]:
    persons: list[Person] = bibtex(paper(authors=list(names))).persons["author"]
    return [str(person) for person in persons]


def untex(text: str) -> str:
    """Return what TeX prints for text without commands."""
    text = text.replace(r"\textasciicircum{}", "^")
    return re.sub(r"\\([&%#_$])", r"\1", text)


def test_paper_in_bibtex() -> None:
    entry = bibtex(FULL)

    assert entry.type == "article"
    assert entry.key == "2101.00001v2"
    assert dict(entry.fields) == {
        "title": r"{Ünïcode, $\alpha_s$ \& 100\% of {TeX} 中文 🧪}",
        "year": "2021",
        "month": "January",
        "journal": "Phys. Rev. D 63 (2001) 1, no. 2",
        "eprint": "2101.00001",
        "archiveprefix": "arXiv",
        "primaryclass": "hep-ph",
        "doi": "10.1002/(SICI)1<7::A_b>3.0.CO;2-H",
        "url": "http://arxiv.org/abs/2101.00001v2",
        "abstract": r'It costs 5\% of a\_b: "quoted" over lines <b>\&amp;</b> שלום',
        "note": "12 pages; v2: typos",
    }
    assert [(person.prelast_names, person.last_names) for person in entry.persons["author"]] == [
        (["van", "der"], ["Berg"]),
        ([], ["Nowak"]),
        ([], ["{ATLAS and CMS Collaborations}"]),
    ]
    assert b"month = jan,\n" in write_file(BibTeX(), [FULL])


@pytest.mark.parametrize(
    ("arxiv_id", "dois", "cited"),
    [
        ("2101.00001", [], "10.48550/arXiv.2101.00001"),
        ("hep-th/9901001", [], "10.48550/arXiv.hep-th/9901001"),
        ("2101.00001", ["10.1000/182"], "10.1000/182"),
        (None, ["10.1000/182"], "10.1000/182"),
        (None, [], None),
    ],
)
def test_preprint_is_cited_by_the_doi_that_arxiv_registers(
    arxiv_id: str | None, dois: list[str], cited: str | None
) -> None:
    reference = paper(arxiv_id=arxiv_id, dois=dois)

    assert bibtex(reference).fields.get("doi") == cited
    assert read_ris(write_file(Ris(), [reference]))[0].get("doi") == cited
    assert b"10.48550" not in write_file(Atom(HEAD), [reference])


def test_citation_has_the_date_of_the_cited_version() -> None:
    dates = {"published": NOON.replace(year=2019), "updated": NOON.replace(year=2020)}
    reference, undated = paper(**dates, cited=NOON), paper(**dates)

    assert (bibtex(reference).fields["year"], bibtex(reference).fields["month"]) == (
        *("2026", "November"),
    )
    [record] = read_ris(write_file(Ris(), [reference]))
    assert (record["year"], record["date"]) == ("2026", "2026/11/23/")
    assert "year" not in bibtex(undated).fields
    assert "year" not in read_ris(write_file(Ris(), [undated]))[0]


def test_bibtex_entry_without_a_journal_is_misc() -> None:
    assert bibtex(paper()).type == "misc"
    assert bibtex(BARE).type == "misc"
    assert dict(bibtex(BARE).fields) == {"title": "{}"}


@given(st.lists(ANY, min_size=9, max_size=9), st.text(min_size=1, max_size=10))
@example(["{\\\\", "\\\\}", "\\{", "@misc{x,\n", "}", "\\", " and ", "~", ","], "a b,c{d}%")
def test_any_text_gives_valid_bibtex(texts: list[str], key: str) -> None:
    first, second, third, *rest = texts
    reference = paper(
        **dict(
            zip(("title", "abstract", "journal", "comment", "url", "arxiv_id"), rest, strict=True)
        ),
        key=key,
        authors=[first, second],
        dois=[third],
    )

    assert len(read_bibtex(write_file(BibTeX(), [reference, FULL]))) == 2
    assert len(bibtex(reference).persons.get("author", [])) == sum(
        bool(normalize(n)) for n in (first, second)
    )


@given(PLAIN)
def test_bibtex_round_trips_text_without_tex(text: str) -> None:
    fields = bibtex(paper(title=text, abstract=text, comment=text)).fields

    assert untex(fields["title"]) == "{" + normalize(text) + "}"
    assert untex(fields.get("abstract", "")) == normalize(text)
    assert untex(fields.get("note", "")) == normalize(text)


@pytest.mark.parametrize(
    "text",
    [
        r"$\alpha_s^2$ and $$x_1 = \{y\}$$",
        r"\(a_b\) \[c^d\]",
        r"Erd\H{o}s, G\"odel, {\'e}t\'e, \v{C}ech \& \$5 \% \# \_",
        r"{\em Herschel} {HII} \textit{a {nested} b}",
        r"$\begin{pmatrix} a & b \\ c & d \end{pmatrix}$",
        r"$x \mbox{ if $y_1$}$ and $a$$b$",
        r"Fig.~1 -- ``quoted''",
        "a line\\\\",
    ],
)
def test_valid_tex_is_kept(text: str) -> None:
    assert bibtex(paper(abstract=text)).fields["abstract"] == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% & more #1", r"50\% \& more \#1"),
        ("snake_case x^2", r"snake\_case x\textasciicircum{}2"),
        ("an { open", r"an \textbraceleft{} open"),
        ("a } closed", r"a \textbraceright{} closed"),
        ("$5", r"\$5"),
        ("$x$ for $5", r"$x$ for \$5"),
        ("{a $b}", r"{a \$b}"),
        (r"$\left\{ x \right.$", r"$\left\lbrace{} x \right.$"),
        ("$a & 5%$", r"$a \& 5\%$"),
        ("ends \\", r"ends \textbackslash{}"),
        ("\\é \\5", r"\textbackslash{}é \textbackslash{}5"),
        (r"\) \]", ") ]"),
        ("$}$$$", r"$\rbrace{}$\$\$"),
        ("$$a $ b$$", r"$$a \$ b$$"),
        (r"a\\{b}", r"a\\ {b}"),
        ("{" * 31 + "}" * 31, "{" * 30 + r"\textbraceleft{}" + "}" * 30 + r"\textbraceright{}"),
    ],
)
def test_invalid_tex_is_escaped(text: str, escaped: str) -> None:
    assert bibtex(paper(abstract=text)).fields["abstract"] == escaped


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Emmy Noether", "Noether, Emmy"),
        ("J. von Neumann", "von Neumann, J."),
        (r"Kurt G\"{o}del", r"G\"{o}del, Kurt"),
        ("Max Müller-Łoś", "Müller-Łoś, Max"),
        ("Sammy Davis Jr.", "Davis, Jr., Sammy"),
        ("Anderson Andrews", "Andrews, Anderson"),
        ("A. B& Jr.", r"{A. B\& Jr.}"),
        ("H1 Collaboration", "{H1 Collaboration}"),
        ("Smith, J.", "Smith, J."),
        ("Smith, J., K. Lee", "{Smith, J., K. Lee}"),
        ("Ben And Jerry", "{Ben And Jerry}"),
        ("others", "{others}"),
        ("et al.", "{et al.}"),
        ("A } and { B", r"{A \textbraceright{} and \textbraceleft{} B}"),
        ("...", "{...}"),
    ],
)
def test_bibtex_parses_a_name_as_one_person(name: str, read: str) -> None:
    assert people("Ada Lovelace", name, "A. B. C") == ["Lovelace, Ada", read, "C, A. B."]


def test_different_keys_have_different_bibtex_keys() -> None:
    keys = ["hep-th/9901001v1", "a b", "a,b", "a_b", "a_20_b", "é", "#%{}\\~"]

    entries = read_bibtex(write_file(BibTeX(), [paper(key=key) for key in keys]))

    assert len(entries) == len(keys)
    assert next(iter(entries)) == "hep-th/9901001v1"


def read_ris(file: bytes) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = rispy.loads(file.decode(), newline="\r\n")
    assert not any("unknown_tag" in record for record in records)
    return records


def test_paper_in_ris() -> None:
    file = write_file(Ris(), [FULL, paper(), BARE])

    records = read_ris(file)

    assert records[0] == {
        "type_of_reference": "JOUR",
        "id": "2101.00001v2",
        "authors": ["van der Berg, Jan", "Nowak, Łucja É.", "ATLAS and CMS Collaborations"],
        "title": FULL.title,
        "secondary_title": FULL.journal,
        "journal_name": FULL.journal,
        "year": "2021",
        "date": "2021/01/05/",
        "abstract": 'It costs 5% of a_b: "quoted" over lines <b>&amp;</b> שלום',
        "doi": FULL.dois[0],
        "urls": [FULL.url],
        "accession_number": "arXiv:2101.00001",
        "keywords": FULL.categories,
        "notes": [FULL.comment],
    }
    assert records[1] == {"type_of_reference": "MANSCPT", "id": "1", "title": "T"}
    assert records[2] == {"type_of_reference": "ELEC", "id": "query42"}
    assert file.count(b"\n") == file.count(b"\r\n")
    assert file.count(b"\r\nER  - \r\n") == 3


@given(ANY, ANY, ANY)
def test_ris_round_trips_any_text(title: str, abstract: str, comment: str) -> None:
    reference = paper(title=title, abstract=abstract, comment=comment, journal=title)

    found, last = read_ris(write_file(Ris(), [reference, FULL]))

    texts = [
        found.get("title", ""),
        found.get("abstract", ""),
        "".join(found.get("notes", [])),
        found.get("secondary_title", ""),
    ]
    assert texts == [normalize(text) for text in (title, abstract, comment, title)]
    assert last["id"] == FULL.key


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Emmy Noether", "Noether, Emmy"),
        ("E. A. Noether", "Noether, E. A."),
        ("Jean-Pierre A.-B. O'Neil", "O'Neil, Jean-Pierre A.-B."),
        ("Maria da Silva", "da Silva, Maria"),
        ("Gabriel García Márquez", "Márquez, Gabriel García"),
        ("Sammy Davis Jr.", "Davis, Sammy, Jr."),
        ("Henry III", "Henry III"),
        ("王 伟", "王, 伟"),
        ("Plato", "Plato"),
        ("Smith, J.", "Smith, J."),
        (r"Kurt G\"odel", r"G\"odel, Kurt"),
        ("Planck Collaboration", "Planck Collaboration"),
        ("the Authors", "the Authors"),
    ],
)
def test_ris_has_the_surname_of_a_person_first(name: str, read: str) -> None:
    assert read_ris(write_file(Ris(), [paper(authors=[name])]))[0]["authors"] == [read]


def read_atom(file: bytes) -> Any:
    feed = feedparser.parse(file, sanitize_html=False)
    assert not feed.bozo, feed.get("bozo_exception")
    assert feed.version == "atom10"
    return feed


def test_paper_in_atom() -> None:
    feed = read_atom(write_file(Atom(HEAD), [FULL]))

    assert (feed.feed.id, feed.feed.title) == (HEAD.uri, HEAD.title)
    assert feed.feed.updated == "2026-11-23T12:30:00Z"
    assert [(link.rel, link.href) for link in feed.feed.links] == [("self", HEAD.self_url)]
    [entry] = feed.entries
    assert (entry.id, entry.link, entry.title) == (FULL.uri, FULL.url, FULL.title)
    assert (entry.updated, entry.published) == ("2026-11-23T12:30:00Z", "2020-12-31T00:00:00Z")
    assert [author.name for author in entry.authors] == FULL.authors
    assert entry.summary == 'It costs 5% of a_b: "quoted" over lines <b>&amp;</b> שלום'
    assert [(tag.term, tag.scheme) for tag in entry.tags] == [
        (category, "http://arxiv.org/schemas/atom") for category in FULL.categories
    ]
    assert [(link.title, link.href) for link in entry.links if link.rel == "related"] == [
        ("doi", "https://doi.org/10.1002/(SICI)1%3C7::A_b%3E3.0.CO;2-H"),
        ("doi", "https://doi.org/10.1/second"),
    ]
    assert entry.arxiv_journal_ref == FULL.journal
    assert entry.arxiv_comment == FULL.comment
    assert entry.arxiv_primary_category["term"] == "hep-ph"


ATOM = "{http://www.w3.org/2005/Atom}"


def test_atom_has_the_required_elements_for_minimal_references() -> None:
    file = write_file(Atom(HEAD), [BARE, paper(published=NOON.replace(year=1))])

    feed = ET.fromstring(file)  # noqa: S314 - of our own making
    search, old = feed.iterfind(f"{ATOM}entry")

    assert feed.findtext(f"{ATOM}author/{ATOM}name") == "arxiv-gateway"
    assert search.findtext(f"{ATOM}updated") == "2026-11-23T12:30:00Z"
    assert search.find(f"{ATOM}title") is not None
    assert search.find(f"{ATOM}content") is not None
    assert search.find(f"{ATOM}published") is None
    assert old.findtext(f"{ATOM}updated") == "0001-11-23T12:30:00Z"


def test_feed_without_entries_is_valid() -> None:
    assert read_atom(write_file(Atom(HEAD))).entries == []


@given(ANY, ANY, ANY)
def test_atom_round_trips_any_text(title: str, abstract: str, name: str) -> None:
    reference = paper(
        title=title, abstract=abstract, url="http://x/", authors=[name], categories=[title]
    )

    file = write_file(Atom(HEAD), [reference])

    [entry] = ET.fromstring(file).iterfind(f"{ATOM}entry")  # noqa: S314 - of our own making
    assert (entry.findtext(f"{ATOM}title") or "") == normalize(title)
    assert (entry.findtext(f"{ATOM}summary") or "") == normalize(abstract)
    assert (entry.findtext(f"{ATOM}author/{ATOM}name") or "") == normalize(name)
    assert [category.get("term") for category in entry.iterfind(f"{ATOM}category")] == [
        normalize(title)
    ]
    assert len(read_atom(file).entries) == 1
