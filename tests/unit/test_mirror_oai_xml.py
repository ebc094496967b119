"""Responses of OAI-PMH become pages of records, or errors with the reason."""

import gzip
import re
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import untrusted_xml
from service.mirror.oai_xml import OaiPage, parse_page
from service.models.mirror import Source
from service.untrusted_xml import RECOVERED, InvalidResponse
from tests.support.mirror_data import OAI, get_format, needs_data, read_oai

OAI_NAMESPACE = "http://www.openarchives.org/OAI/2.0/"

VERSION = (
    '<version version="v1"><date>Fri, 17 Jul 2009 03:36:56 GMT</date><size>1183kb</size></version>'
)
RAW = (
    f"<submitter>Ada Example</submitter>{VERSION}<title>A title</title>"
    "<authors>Ada Example and Bo Sample</authors><categories>cs.AI</categories>"
    "<abstract>An abstract.</abstract>"
)
SPLIT = (
    "<created>2009-07-17</created><authors><author><keyname>Example</keyname>"
    "<forenames>Ada</forenames></author></authors><title>A title</title>"
    "<categories>cs.AI math.CO</categories><abstract>An abstract.</abstract>"
)


def make_record(
    metadata: str = RAW,
    arxiv_id: str = "0907.2974",
    *,
    kind: str = "arXivRaw",
    header: str | None = None,
    attributes: str = "",
) -> str:
    identifier = f"<identifier>oai:arXiv.org:{arxiv_id}</identifier>"
    header = f"{identifier}<datestamp>2015-12-31</datestamp>" if header is None else header
    inner = f'<{kind} xmlns="http://arxiv.org/OAI/{kind}/"><id>{arxiv_id}</id>{metadata}</{kind}>'
    return f"<record><header{attributes}>{header}</header><metadata>{inner}</metadata></record>"


def make_page(
    content: str, *, verb: str = "ListRecords", date: str = "2026-11-29T20:59:13Z", head: str = ""
) -> bytes:
    return (
        f'{head}<OAI-PMH xmlns="{OAI_NAMESPACE}"><responseDate>{date}</responseDate>'
        f'<request verb="{verb}" set="cs">https://oaipmh.arxiv.org/oai</request>'
        f"<{verb}>{content}</{verb}></OAI-PMH>"
    ).encode()


def parse(content: str, kind: Any = "arXivRaw") -> OaiPage:
    return parse_page(make_page(content), verb="ListRecords", metadata_prefix=kind)


def parse_one(metadata: str, kind: Any = "arXivRaw") -> Any:
    page = parse(make_record(metadata, kind=kind), kind)
    assert page.invalid == []
    return page.records[0]


def read_reason(body: bytes | bytearray) -> str:
    with pytest.raises(InvalidResponse) as refused:
        parse_page(body, verb="ListRecords", metadata_prefix="arXivRaw")
    return str(refused.value)


# Records


def test_raw_record_has_the_history() -> None:
    second = (
        VERSION.replace("v1", "v2")
        .replace("2009", "2010")
        .replace("1183kb</size>", "0kb</size><source_type>I</source_type>")
    )
    record = parse_one(RAW.replace(VERSION, second + VERSION))
    assert (record.source, record.version) == (Source.ARXIV_RAW, 2)
    assert [version.version for version in record.versions] == [1, 2]
    assert [version.size_kb for version in record.versions] == [1183, 0]
    assert (record.published, record.updated) == (1247801816, 1279337816)
    assert record.withdrawn
    assert record.submitter == "Ada Example"


def test_submitter_has_no_tex() -> None:
    record = parse_one(RAW.replace("<submitter>Ada", "<submitter>Ad\\'{e}le"))
    assert record.submitter == "Adéle Example"


def test_split_record_has_neither_versions_nor_times() -> None:
    record = parse_one(SPLIT, "arXiv")
    assert (record.source, record.version, record.versions) == (Source.ARXIV, None, [])
    assert (record.published, record.updated, record.datestamp) == (None, None, 1451520000)
    assert record.authors == ["Ada Example"]
    assert (record.primary_category, record.categories) == ("cs.AI", ["cs.AI", "math.CO"])


def test_parts_of_a_name_are_joined_and_affiliations_stay() -> None:
    author = (
        "<author><keyname>Sample</keyname><forenames>Bo</forenames><suffix>Jr.</suffix>"
        "<affiliation>Paris</affiliation><affiliation>Rome,\n Italy</affiliation></author>"
    )
    record = parse_one(
        SPLIT.replace("</author></authors>", f"</author>{author}</authors>"), "arXiv"
    )
    assert record.authors == ["Ada Example", "Bo Sample Jr."]
    assert record.affiliations == [[], ["Paris", "Rome, Italy"]]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ("<msc-class>11G20</msc-class><acm-class>11G20</acm-class>", ("11G20", None)),
        ("<msc-class>11G20</msc-class><acm-class>F.2.2</acm-class>", ("11G20", "F.2.2")),
        ("<acm-class>None</acm-class>", (None, None)),
        ("<acm-class>F.2.2; I.2.7</acm-class>", (None, "F.2.2; I.2.7")),
        ("<msc-class>  </msc-class>", (None, None)),
    ],
)
def test_acm_class_is_used_unless_it_repeats_the_msc_class(
    elements: str, expected: tuple[str | None, str | None]
) -> None:
    record = parse_one(RAW + elements)
    assert (record.msc_class, record.acm_class) == expected


def test_optional_elements_are_read() -> None:
    record = parse_one(
        RAW + "<comments>3 pages</comments><journal-ref>J. Ex. 1</journal-ref><doi>10.5555/a"
        " 10.5555/b</doi><license>http://example.org/by</license><report-no>EX-1</report-no>"
    )
    assert (record.comment, record.journal, record.report_number) == ("3 pages", "J. Ex. 1", "EX-1")
    assert (record.dois, record.license) == (["10.5555/a", "10.5555/b"], "http://example.org/by")


def test_elements_without_the_namespace_of_the_format_are_read() -> None:
    content = make_record().replace(' xmlns="http://arxiv.org/OAI/arXivRaw/"', "")
    assert parse(content).records == parse(make_record()).records


# Pages


def test_page_has_token_request_and_dates() -> None:
    other = make_record(arxiv_id="0907.2975").replace("2015-12-31", "2016-01-01")
    page = parse(f"{other}{make_record()}<resumptionToken> a%3Db </resumptionToken>")
    assert [record.arxiv_id for record in page.records] == ["0907.2975", "0907.2974"]
    assert (page.token, page.error, page.warnings) == ("a%3Db", None, [])
    assert page.request == {"verb": "ListRecords", "set": "cs"}
    assert (page.response_date, page.newest_datestamp) == (1795985953, 1451606400)


@pytest.mark.parametrize(
    "token", ["<resumptionToken/>", "<resumptionToken> </resumptionToken>", ""]
)
def test_empty_token_ends_the_list(token: str) -> None:
    assert parse(make_record() + token).token is None


def test_deleted_records_are_named() -> None:
    header = (
        "<identifier>oai:arXiv.org:math.GT/0309199</identifier><datestamp>2016-01-02</datestamp>"
    )
    content = f'<record><header status="deleted">{header}</header></record>'
    page = parse(content + make_record())
    assert (page.deleted, len(page.records), page.invalid) == (["math/0309199"], 1, [])
    assert page.newest_datestamp == 1451692800


def test_error_of_the_server_is_returned() -> None:
    body = make_page("").replace(
        b"<ListRecords></ListRecords>", b"<error code='noRecordsMatch'>Nothing\n found</error>"
    )
    page = parse_page(body, verb="ListRecords", metadata_prefix="arXiv")
    assert page.error == ("noRecordsMatch", "Nothing found")
    assert (page.records, page.token) == ([], None)


INVALID: dict[str, tuple[str, str]] = {
    "no header": ("<record/>", "datestamp"),
    "no id": (make_record(header="<datestamp>2015-12-31</datestamp>"), "id is"),
    "unknown id": (make_record(arxiv_id="dead.beef"), "id is"),
    "other id": (make_record().replace("<id>0907.2974", "<id>0907.2975"), "0907.2975"),
    "no metadata": (re.sub("<metadata>.*</metadata>", "", make_record()), "no metadata"),
    "other format": (make_record(kind="arXivOld"), "format arXivRaw"),
    "no versions": (make_record(RAW.replace(VERSION, "")), "no versions"),
    "no version": (make_record(RAW.replace('version="v1"', "")), "version is"),
    "31 April": (make_record(RAW.replace("17 Jul", "31 Apr")), "date is"),
    "in the future": (make_record(RAW.replace("2009", "2999")), "date is"),
    "datestamp 30 February": (make_record().replace("2015-12-31", "2015-02-30"), "datestamp is"),
    "future datestamp": (make_record().replace("2015-12-31", "9999-12-31"), "datestamp is"),
    "no title": (make_record(RAW.replace("A title", " ")), "no title"),
    "long title": (make_record(RAW.replace("A title", "a" * 5001)), "5001"),
    "no categories": (make_record(RAW.replace("cs.AI", "")), "no categories"),
    "many versions": (make_record(RAW.replace(VERSION, VERSION * 2001)), "2001 versions"),
}


@pytest.mark.parametrize(("content", "reason"), INVALID.values(), ids=INVALID)
def test_bad_record_is_reported_and_does_not_stop_the_page(content: str, reason: str) -> None:
    page = parse(
        content + make_record(arxiv_id="0907.2976") + "<resumptionToken>x</resumptionToken>"
    )
    assert [record.arxiv_id for record in page.records] == ["0907.2976"]
    assert page.token is not None
    [(name, found)] = page.invalid
    assert reason in found
    assert name.startswith("oai:arXiv.org:") or name == "record 1"


def test_name_of_a_bad_record_is_one_line() -> None:
    [(name, _)] = parse(make_record(arxiv_id="dead\n\nbeef")).invalid
    assert name == "oai:arXiv.org:dead beef"


# Damaged and hostile responses


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
NOT_PAGES: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<html><body>Retry after 10 seconds</body></html>",
    "HTML 5": b"<!DOCTYPE html><html><body>Maintenance</body></html>",
    "text": b"Service unavailable",
    "JSON": b'{"records": []}',
    "gzip": gzip.compress(make_page(make_record())),
    "cut": make_page(make_record())[:-20],
    "half": make_page(make_record() * 500)[:200_000],
    "other root": b'<feed xmlns="http://www.w3.org/2005/Atom"/>',
    "no namespace": make_page(make_record()).replace(OAI_NAMESPACE.encode(), b"x:y"),
    "other verb": make_page("", verb="Identify"),
    "page within": b"<x>" + make_page(make_record()) + b"</x>",
    "no date": make_page(make_record(), date=""),
    "impossible date": make_page(make_record(), date="2026-02-30T00:00:00Z"),
    "document type": make_page(make_record(), head="<!DOCTYPE OAI-PMH>"),
    "entity": make_page(make_record(), head='<!DOCTYPE OAI-PMH [<!ENTITY e "x">]>'),
    "bomb": make_page(
        make_record(RAW.replace("A title", "&e8;")),
        head=f'<!DOCTYPE OAI-PMH [<!ENTITY e0 "ha">{BOMB}]>',
    ),
    "undeclared entity": make_page(make_record(RAW.replace("A title", "&nbsp;"))),
    "deeply nested": make_page("<record>" + "<a>" * 5_000 + "</a>" * 5_000 + "</record>"),
    "large record": make_page(make_record(RAW.replace("A title", "a" * 9_000_000))),
    "many elements": make_page(f"<record>{'<a/>' * 250_000}</record>"),
    "long token": make_page(f"<resumptionToken>{'a' * 5_001}</resumptionToken>"),
    "two documents": make_page(make_record()) * 2,
}


@pytest.mark.parametrize("body", NOT_PAGES.values(), ids=NOT_PAGES)
def test_other_bytes_are_rejected_with_a_reason(body: bytes) -> None:
    assert 0 < len(read_reason(body)) < 400


def test_forbidden_characters_are_left_out_with_a_warning() -> None:
    body = make_page(make_record(RAW.replace("A title", "A\x01 ti&#2;tle"))).replace(
        b"An abstract", b"An \xff abstract"
    )
    page = parse_page(body, verb="ListRecords", metadata_prefix="arXivRaw")
    assert page.records[0].title == "A title"
    assert page.records[0].abstract == "An \ufffd abstract."
    assert page.warnings == [RECOVERED]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_size_of_the_pieces_does_not_matter(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (
        make_record() + make_record(arxiv_id="0907.2975") + "<resumptionToken>x</resumptionToken>"
    )
    whole = parse(content)
    monkeypatch.setattr(untrusted_xml, "PIECE_BYTES", size)
    assert parse(content) == whole


def test_page_of_2500_records_is_parsed_in_bounded_memory() -> None:
    record = RAW.replace("An abstract.", "An abstract. " * 300)
    body = make_page("".join(make_record(record, f"0907.{n:04}") for n in range(1, 2501)))
    assert len(body) > 10_000_000
    tracemalloc.start()
    page = parse_page(body, verb="ListRecords", metadata_prefix="arXivRaw")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(page.records) == 2500
    assert peak < 2.5 * len(body)


def test_deadline_is_kept() -> None:
    with pytest.raises(TimeoutError):
        parse_page(
            make_page(make_record()),
            verb="ListRecords",
            metadata_prefix="arXivRaw",
            deadline=time.monotonic() - 1,
        )


# Captured responses


def parse_capture(path: Path) -> OaiPage:
    body = path.read_bytes()
    verb: Any = "GetRecord" if b"<GetRecord>" in body else "ListRecords"
    kind: Any = get_format(path)
    return parse_page(body, verb=verb, metadata_prefix=kind)


RECORDS = [
    path
    for path in OAI
    if re.search(rb"<(ListRecords|GetRecord)>.*<arXiv(Raw)? ", path.read_bytes(), re.DOTALL)
]
ERRORS = [path for path in OAI if "Error" in path.name]


@needs_data
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_captured_record_is_parsed(path: Path) -> None:
    page = parse_capture(path)
    assert page.invalid == []
    assert len(page.records) == path.read_bytes().count(b"<record>")
    assert all(record.title and record.authors and record.abstract for record in page.records)
    assert page.warnings == []


@needs_data
@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_every_captured_error_is_returned(path: Path) -> None:
    page = parse_capture(path)
    assert page.error is not None
    assert page.error.code
    assert page.error.message
    assert (page.records, page.token) == ([], None)


@needs_data
@pytest.mark.parametrize(
    "path", [path for path in OAI if path not in {*RECORDS, *ERRORS}], ids=lambda path: path.stem
)
def test_captured_responses_of_other_kinds_have_no_records(path: Path) -> None:
    with suppress(InvalidResponse):
        page = parse_capture(path)
        assert page.records == []
        assert page.invalid
        assert all("no metadata in the format" in reason for _, reason in page.invalid)


@needs_data
def test_withdrawn_paper_of_the_new_server_is_recognized() -> None:
    body = read_oai("newcode_GetRecord_arXivRaw_withdrawn_0903.0442")
    [record] = parse_page(body, verb="GetRecord", metadata_prefix="arXivRaw").records
    assert record.withdrawn
    assert record.version == 5
    assert "shown. In the present article" in record.abstract
    assert "$\\pm J$" in record.abstract


# Random input


def is_declared(body: bytes) -> None:
    """Parse; no other exception than the declared one is raised."""
    for kind in ("arXiv", "arXivRaw"):
        with suppress(InvalidResponse):
            parse_page(body, verb="ListRecords", metadata_prefix=kind)


@given(st.binary())
def test_random_bytes_raise_only_the_declared_exception(body: bytes) -> None:
    is_declared(body)


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_random_content_raises_only_the_declared_exception(content: str) -> None:
    is_declared(make_page(content))


BODIES: list[Callable[[], bytes]] = [
    lambda: make_page(make_record() + make_record(SPLIT, kind="arXiv"))
]
BODIES += [path.read_bytes for path in RECORDS if path.stat().st_size < 25_000]


@settings(max_examples=300)
@given(st.sampled_from(BODIES), st.floats(0, 1), st.binary(max_size=8), st.integers(0, 60))
def test_changed_pages_raise_only_the_declared_exception(
    read_body: Callable[[], bytes], place: float, data: bytes, removed: int
) -> None:
    body = read_body()
    start = int(place * len(body))
    is_declared(body[:start] + data + body[start + removed :])


ELEMENT = re.compile(rb"(?<=>)[^<>]+(?=</)")


@settings(max_examples=300)
@given(
    st.sampled_from(BODIES),
    st.floats(0, 0.999),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"])),
)
def test_changed_texts_raise_only_the_declared_exception(
    read_body: Callable[[], bytes], place: float, text: str
) -> None:
    body = read_body()
    texts = list(ELEMENT.finditer(body))
    match = texts[int(place * len(texts))]
    data = text.replace("&", "&amp;").replace("<", "&lt;").encode()
    is_declared(body[: match.start()] + data + body[match.end() :])
