"""The stand-in speaks OAI-PMH like arXiv's server, whose responses were captured."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from demo.arxiv import StandIn
from demo.authors import format_line, split_name
from demo.oai import OaiServer
from demo.oai_records import render_record
from demo.papers import ODD_PAPERS, Author, Paper, Upload, generate
from demo.tex import decode_tex, encode_tex
from tests.support.captures import TEST_DATA

OAI = TEST_DATA / "data" / "oai"
URL = "http://127.0.0.1/oai"
NS = {
    "o": "http://www.openarchives.org/OAI/2.0/",
    "a": "http://arxiv.org/OAI/arXiv/",
    "r": "http://arxiv.org/OAI/arXivRaw/",
}
needs_captures = pytest.mark.skipif(not OAI.is_dir(), reason=f"captures are missing: {OAI}")
PAPERS = generate(300)


def list_captures(pattern: str) -> pytest.MarkDecorator:
    missing = pytest.param(OAI, marks=pytest.mark.skip(reason=f"captures are missing: {OAI}"))
    return pytest.mark.parametrize(
        "path", sorted(OAI.glob(pattern)) or [missing], ids=lambda path: path.stem
    )


def server(papers: list[Paper], max_records: int = 2_500) -> OaiServer:
    oai = OaiServer(max_records=max_records, max_identifiers=max_records)
    oai.set_papers(papers)
    return oai


def ask(oai: OaiServer, **params: str) -> etree._Element:
    named = [(name.rstrip("_"), value) for name, value in params.items()]
    return etree.fromstring(oai.answer(named))


def read_pages(oai: OaiServer, **params: str) -> list[etree._Element]:
    """Return all pages of a list."""
    pages = [ask(oai, **params)]
    while token := pages[-1].findtext(".//o:resumptionToken", None, NS):
        pages.append(ask(oai, verb=params["verb"], resumptionToken=token))
    return pages


def list_ids(pages: list[etree._Element]) -> list[str]:
    return [
        (found.text or "").removeprefix("oai:arXiv.org:")
        for page in pages
        for found in page.iterfind(".//o:identifier", NS)
    ]


def error_of(root: etree._Element) -> tuple[str, str]:
    (error,) = root.iterfind("o:error", NS)
    return error.get("code", ""), (error.text or "").partition("Reason: ")[2]


def hide_times(content: bytes) -> bytes:
    return re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"(time)", content)


def hide_authors(content: bytes) -> bytes:
    """Hide what the stand-in decides by itself.

    Whether a line of authors has "and" depends on the id. The day in `updated` is the datestamp,
    but on arXiv it may be another one.
    """
    return re.sub(rb"<(authors|updated)>[^\n]+</\1>", b"(hidden)", content)


# Captured responses


def read_record(record: etree._Element) -> Paper:
    """Return a paper that has such a record in arXiv's own formats."""
    metadata = record.find("o:metadata", NS)[0]  # type: ignore[index]

    def text(name: str) -> str | None:
        return metadata.findtext(f"{{*}}{name}")

    versions = metadata.findall("{*}version")
    day = text("created") or "2009-07-17"
    return Paper(
        arxiv_id=text("id") or "",
        title=text("title") or "",
        abstract=text("abstract") or "",
        authors=tuple(
            Author(
                " ".join(
                    filter(None, map(author.findtext, ("{*}forenames", "{*}keyname", "{*}suffix")))
                )
            )
            for author in metadata.iterfind("{*}authors/{*}author")
        )
        or (Author("Ada"),),
        categories=tuple((text("categories") or "").split()),
        versions=tuple(
            parsedate_to_datetime(version.findtext("{*}date", "")) for version in versions
        )
        or (datetime.fromisoformat(day).replace(tzinfo=UTC),),
        comment=text("comments"),
        journal_ref=text("journal-ref"),
        report_number=text("report-no"),
        dois=tuple((text("doi") or "").split()),
        msc_class=text("msc-class"),
        acm_class=text("acm-class"),
        license=text("license"),
        proxy=text("proxy"),
        submitter=text("submitter") or "",
        uploads=tuple(
            Upload(
                int(version.findtext("{*}size", "").removesuffix("kb")),
                version.findtext("{*}source_type", ""),
            )
            for version in versions
        ),
        changed=date.fromisoformat(record.findtext("o:header/o:datestamp", "", NS)),
    )


@list_captures("new*Record*_arXiv*.xml")
def test_records_have_the_bytes_of_captured_ones(path: Path) -> None:
    content = path.read_bytes()
    found = list(etree.fromstring(content).iterfind(".//o:record", NS))
    captured = re.findall(rb"<record>.*?</record>\n", content, re.DOTALL)
    assert len(found) == len(captured)

    for record, expected in zip(found, captured, strict=True):
        prefix = etree.QName(record.find("o:metadata", NS)[0]).localname  # type: ignore[index]
        rendered = render_record(read_record(record), prefix).strip().encode() + b"\n"
        assert hide_authors(rendered) == hide_authors(expected)


@list_captures("newcode_GetRecord_arXiv*.xml")
def test_response_with_a_record_has_the_bytes_of_a_captured_one(path: Path) -> None:
    content = path.read_bytes()
    root = etree.fromstring(content)
    (record,) = root.iterfind(".//o:record", NS)
    oai = server([read_record(record)])

    response = oai.answer([*root.find("o:request", NS).attrib.items()])  # type: ignore[union-attr]

    assert hide_authors(hide_times(response)) == hide_authors(hide_times(content))


@needs_captures
@pytest.mark.parametrize("name", ["0907.2974", "cs_0001024"])
def test_dublin_core_has_the_bytes_of_a_captured_response(name: str) -> None:
    paths = [
        OAI / f"newcode_GetRecord_{kind}_{name}.xml" for kind in ("arXiv", "arXivRaw", "oai_dc")
    ]
    of_arxiv, of_raw, captured = (etree.fromstring(path.read_bytes()) for path in paths)
    paper = replace(
        read_record(of_raw.find(".//o:record", NS)),  # type: ignore[arg-type]
        authors=read_record(of_arxiv.find(".//o:record", NS)).authors,  # type: ignore[arg-type]
    )
    subjects = [found.text for found in captured.iterfind(".//{*}subject")]
    paper = replace(paper, acm_class=subjects[-1])
    attributes = captured.find("o:request", NS).attrib  # type: ignore[union-attr]

    response = server([paper]).answer([*attributes.items()])

    assert hide_times(response) == hide_times(paths[2].read_bytes())


@needs_captures
@pytest.mark.parametrize("verb", ["Identify", "ListSets", "ListMetadataFormats"])
def test_description_of_the_server_has_the_bytes_of_a_captured_one(verb: str) -> None:
    response = server(PAPERS).answer([("verb", verb)])

    assert hide_times(response) == hide_times((OAI / f"newcode_{verb}.xml").read_bytes())


LIST = {"verb": "ListRecords", "metadataPrefix": "arXiv"}
ERRORS = {
    "BadArgument_date": LIST | {"from": "2011-03-01T00:00:00Z"},
    "BadArgument_from_after_until": LIST | {"from": "2011-03-02", "until": "2011-03-01"},
    "BadArgument_no_prefix": {"verb": "ListRecords"},
    "BadArgument_old_unknown_param": LIST | {"identifier": "oai:arXiv.org:0806.4129"},
    "BadArgument_start_too_early": LIST | {"from": "1999-01-01"},
    "BadArgument_unknown_set": LIST | {"set": "moo"},
    "BadArgument_until_too_late": LIST | {"from": "2011-01-01", "until": "2099-01-01"},
    "BadResumptionToken": {"verb": "ListRecords", "resumptionToken": "496549|96001"},
    "BadResumptionToken_other_verb": {
        "verb": "ListRecords",
        "resumptionToken": "verb%3DListIdentifiers%26metadataPrefix%3DarXiv%26skip%3D12",
    },
    "BadVerb": {"verb": "Wah"},
    "BadVerb_none": {},
    "CannotDisseminateFormat": {
        "verb": "GetRecord",
        "identifier": "oai:arXiv.org:0806.4129",
        "metadataPrefix": "marcxml",
    },
    "IdDoesNotExist": {
        "verb": "GetRecord",
        "identifier": "oai:arXiv.org:0813.2274",
        "metadataPrefix": "arXivRaw",
    },
    "IdDoesNotExist_malformed": {
        "verb": "GetRecord",
        "identifier": "oai:arXiv.org:dead.beef",
        "metadataPrefix": "arXiv",
    },
    "IdDoesNotExist_prefix": {
        "verb": "GetRecord",
        "identifier": "0806.4129",
        "metadataPrefix": "arXiv",
    },
    "NoRecordsMatch": LIST | {"from": "2019-01-01", "until": "2019-01-02"},
}


@needs_captures
@pytest.mark.parametrize(("name", "params"), ERRORS.items(), ids=ERRORS.keys())
def test_error_has_the_bytes_of_a_captured_one(name: str, params: dict[str, str]) -> None:
    response = server([]).answer([*params.items()])

    assert hide_times(response) == hide_times((OAI / f"newcode_Error{name}.xml").read_bytes())


@needs_captures
def test_repeated_parameter_is_the_error_of_a_captured_response() -> None:
    response = server([]).answer([*LIST.items(), ("metadataPrefix", "arXiv")])

    expected = (OAI / "newcode_ErrorBadArgument_repeated.xml").read_bytes()
    assert hide_times(response) == hide_times(expected)


def read_headers(path: Path) -> list[Paper]:
    return [
        Paper(
            arxiv_id=header.findtext("o:identifier", "", NS).removeprefix("oai:arXiv.org:"),
            title="",
            abstract="",
            authors=(),
            categories=tuple(
                ".".join((found.text or "").split(":")[1:])
                for found in header.iterfind("o:setSpec", NS)
            ),
            versions=(datetime(2011, 1, 1, tzinfo=UTC),),
            changed=date.fromisoformat(header.findtext("o:datestamp", "", NS)),
        )
        for header in etree.fromstring(path.read_bytes()).iterfind(".//o:header", NS)
    ]


@needs_captures
def test_pages_of_identifiers_have_the_bytes_of_captured_ones() -> None:
    first, second, last = (
        OAI / f"newcode_ListIdentifiers_arXiv_{page}.xml" for page in ("page1", "page2", "last")
    )
    oai = server([*read_headers(first), *read_headers(second), *read_headers(last)])
    oai.max_identifiers = len(read_headers(first))
    following = server(read_headers(last))
    token = etree.fromstring(last.read_bytes()).find("o:request", NS).get("resumptionToken")  # type: ignore[union-attr]

    page = oai.answer(
        [
            ("verb", "ListIdentifiers"),
            ("metadataPrefix", "arXiv"),
            ("from", "2011-03-01"),
            ("until", "2011-05-30"),
        ]
    )
    ending = following.answer([("verb", "ListIdentifiers"), ("resumptionToken", token or "")])

    assert hide_times(page) == hide_times(first.read_bytes())
    assert hide_times(ending) == hide_times(last.read_bytes())


# Lists


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(1, 40),
    days=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    verb=st.sampled_from(["ListRecords", "ListIdentifiers"]),
)
def test_pages_together_contain_each_paper_once(size: int, days: list[int], verb: str) -> None:
    papers = [
        replace(paper, changed=date(2020, 1, 1) + timedelta(day))
        for paper, day in zip(PAPERS, days, strict=False)
    ]
    oai = server(papers, max_records=size)

    pages = read_pages(oai, verb=verb, metadataPrefix="arXiv")

    assert sorted(list_ids(pages)) == sorted(paper.arxiv_id for paper in papers)
    assert len(pages) == -(-len(papers) // size)


@pytest.mark.parametrize("prefix", ["arXiv", "arXivRaw", "arXivOld", "oai_dc"])
def test_every_format_has_every_paper(prefix: str) -> None:
    papers = [*PAPERS, *ODD_PAPERS]
    pages = read_pages(server(papers, max_records=70), verb="ListRecords", metadataPrefix=prefix)

    assert sorted(list_ids(pages)) == sorted(paper.arxiv_id for paper in papers)
    assert len(pages) == 5


def test_range_of_dates_includes_both_days() -> None:
    days = sorted(paper.datestamp for paper in PAPERS)
    first, last = days[120], days[200]
    pages = read_pages(server(PAPERS, 20), from_=str(first), until=str(last), **LIST)
    expected = [paper.arxiv_id for paper in PAPERS if first <= paper.datestamp <= last]

    assert sorted(list_ids(pages)) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "belongs"),
    [
        ("cs", lambda category: category.startswith("cs.")),
        ("cs:cs", lambda category: category.startswith("cs.")),
        ("cs:cs:AI", lambda category: category == "cs.AI"),
        ("physics:hep-th", lambda category: category == "hep-th"),
        ("math:math:MP", lambda category: category == "math-ph"),
        ("physics:nlin:SI", lambda category: category in {"nlin.SI", "solv-int"}),
    ],
)
def test_set_has_the_papers_of_its_categories(name: str, belongs: object) -> None:
    assert callable(belongs)
    papers = [*PAPERS, *ODD_PAPERS]
    expected = [paper.arxiv_id for paper in papers if any(map(belongs, paper.categories))]
    pages = read_pages(server(papers, max_records=9), set=name, **LIST)

    assert expected
    assert sorted(list_ids(pages)) == sorted(expected)


@pytest.mark.parametrize("name", ["cs:cs:XX", "math:cs", "cs:hep-th", "physics:cs:AI", "hep-th"])
def test_unknown_set_is_rejected(name: str) -> None:
    assert error_of(ask(server(PAPERS), set=name, **LIST)) == (
        "badArgument",
        "Set does not exist",
    )


def test_token_continues_on_the_last_day_and_expires_at_midnight() -> None:
    papers = [replace(PAPERS[n], changed=date(2020, 1, 1 + n // 2)) for n in range(7)]
    oai = server(papers, max_records=3)
    (token,) = ask(oai, from_="2019-12-31", **LIST).iterfind(".//o:resumptionToken", NS)

    assert token.text == (
        "verb%3DListRecords%26metadataPrefix%3DarXiv%26from%3D2020-01-02%26skip%3D1"
    )
    midnight = datetime.now(UTC).date() + timedelta(1)
    assert [*token.attrib.items()] == [("expirationDate", f"{midnight}T00:00:00Z")]


def test_list_on_one_page_has_no_token_and_the_last_page_an_empty_one() -> None:
    whole = ask(server(PAPERS), **LIST)
    pages = read_pages(server(PAPERS, max_records=200), **LIST)

    assert whole.find(".//o:resumptionToken", NS) is None
    (last,) = pages[-1].iterfind(".//o:resumptionToken", NS)
    assert (last.text, last.attrib.items()) == (None, [])


# Records


def test_names_have_accents_in_tex_only_in_the_raw_format() -> None:
    paper = replace(
        PAPERS[0],
        title="Über Čech",
        authors=(
            Author("Łucja Müller", ("École",)),
            Author("Jan de la Peña Jr.", ("École",)),
            Author("Nguyễn"),
        ),
    )
    oai = server([paper])
    identifier = f"oai:arXiv.org:{paper.arxiv_id}"
    raw = ask(oai, verb="GetRecord", identifier=identifier, metadataPrefix="arXivRaw")
    utf8 = ask(oai, verb="GetRecord", identifier=identifier, metadataPrefix="arXiv")

    assert raw.findtext(".//r:title", "", NS) == r"\"Uber \v{C}ech"
    authors = raw.findtext(".//r:authors", "", NS)
    assert re.sub(",? and ", ", ", authors) == (
        r"{\L}ucja M\"uller (\'Ecole), Jan de la Pe\~na Jr. (\'Ecole), Nguyễn"
    )
    assert utf8.findtext(".//a:title", "", NS) == "Über Čech"
    names = [
        [child.text for child in author] for author in utf8.iterfind(".//a:authors/a:author", NS)
    ]
    assert names == [["Müller", "Łucja"], ["Peña", "Jan de la", "Jr."], ["Nguyễn"]]


def test_affiliations_of_the_former_server_can_be_switched_on() -> None:
    paper = replace(PAPERS[0], authors=(Author("Ada Novák", ("École", "Institute")),))
    oai = server([paper])
    oai.has_affiliations = True
    found = ask(oai, **LIST).iterfind(".//a:affiliation", NS)

    assert [affiliation.text for affiliation in found] == ["École", "Institute"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Hana de la Peña", ("de la Peña", "Hana", "")),
        ("Jan van der Meer", ("van der Meer", "Jan", "")),
        ("A. da Rocha", ("da Rocha", "A.", "")),
        ("Waldyr A. Rodrigues Jr", ("Rodrigues", "Waldyr A.", "Jr")),
        ("Ružić", ("Ružić", "", "")),
        (" LUMEN Collaboration", ("LUMEN Collaboration", "", "")),
    ],
)
def test_name_is_split_as_by_arxiv(name: str, parts: tuple[str, str, str]) -> None:
    assert split_name(name) == parts


def test_several_affiliations_are_numbered() -> None:
    paper = replace(
        PAPERS[0],
        arxiv_id="2101.00001",
        authors=(Author("Ada Novák", ("A", "B")), Author("Bo Li", ("B",)), Author("Cy Rao")),
    )

    assert re.sub(",? and Cy", ", Cy", format_line(paper)) == (
        r"Ada Nov\'ak (1 and 2), Bo Li (2), Cy Rao ((1) A, (2) B)"
    )


@given(st.text("aAÄéèñçşłŁøßőąűễβωΩϕ_$<2 x{}", max_size=20))
def test_letters_survive_tex(text: str) -> None:
    encoded = encode_tex(text)

    assert decode_tex(encoded) == text
    assert not set(encoded) & set("Äéłβω")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("$β> 0$ and $λ_c$", r"$\beta > 0$ and $\lambda_c$"),
        ("ω-limits and β decay", r"\omega -limits and \beta{} decay"),
        ("λβ", r"\lambda \beta"),
    ],
)
def test_greek_letters_are_commands_in_tex(text: str, encoded: str) -> None:
    assert encode_tex(text) == encoded


def test_acm_class_shows_the_msc_class() -> None:
    paper = replace(PAPERS[0], msc_class="35J20", acm_class="G.1.8")
    other = replace(paper, arxiv_id="2101.00002", msc_class=None)
    for prefix in ("arXiv", "arXivRaw"):
        root = ask(server([paper, other]), verb="ListRecords", metadataPrefix=prefix)
        shown = [found.text for found in root.iterfind(".//{*}acm-class")]
        assert sorted(map(str, shown)) == ["35J20", "None"]


def test_generated_papers_have_the_metadata_of_other_sources() -> None:
    assert all(paper.datestamp >= paper.updated.date() for paper in PAPERS)
    assert all(paper.datestamp >= date(2005, 9, 16) for paper in PAPERS)
    assert all(len(paper.uploads) == paper.version for paper in PAPERS)
    late = [p for p in PAPERS if p.datestamp - p.updated.date() > timedelta(365)]
    assert 20 < len(late) < 200
    assert {paper.license is None for paper in PAPERS} == {True, False}
    assert any(paper.msc_class and paper.acm_class for paper in generate(1000))
    assert any(paper.uploads[-1].source_type == "I" for paper in PAPERS)


# Requests


def client(stand_in: StandIn) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=stand_in))


async def test_get_and_post_are_answered_and_recorded() -> None:
    stand_in = StandIn(PAPERS[:20])
    async with client(stand_in) as http:
        got = await http.get(URL, params=LIST)
        posted = await http.post(URL, data=LIST)

    assert (got.status_code, got.headers["content-type"]) == (200, "text/xml")
    assert hide_times(got.content) == hide_times(posted.content)
    assert [request.path for request in stand_in.requests] == ["/oai", "/oai"]
    assert [request.params for request in stand_in.requests] == [LIST, LIST]


async def test_interval_holds_for_api_oai_and_rss_together() -> None:
    stand_in = StandIn(PAPERS[:20], min_interval=5)
    async with client(stand_in) as http:
        statuses = [
            (await http.get(f"http://127.0.0.1{target}")).status_code
            for target in ("/oai?verb=Identify", "/rss/cs", "/api/query?search_query=a", "/atom/cs")
        ]

    assert statuses == [200, 429, 429, 429]
    assert len(stand_in.requests) == 4


async def test_papers_can_be_added_and_replaced_while_it_runs() -> None:
    stand_in = StandIn(PAPERS[:20])
    added = replace(PAPERS[30], title="Quite new")
    stand_in.add([added], date(2026, 3, 1))
    stand_in.replace(replace(PAPERS[0], title="Quite changed"))
    async with client(stand_in) as http:
        new = await http.get(URL, params=LIST | {"from": "2026-03-01", "until": "2026-03-01"})
        changed = await http.get(URL, params=LIST | {"from": str(datetime.now(UTC).date())})
        found = await http.get("http://127.0.0.1/api/query", params={"search_query": "ti:quite"})

    assert list_ids([etree.fromstring(new.content)]) == [added.arxiv_id]
    assert list_ids([etree.fromstring(changed.content)]) == [PAPERS[0].arxiv_id]
    assert b"<opensearch:totalResults>2<" in found.content
    assert len(stand_in.papers) == 21


# Faults


async def test_lists_with_unavailable_dates_get_503_until_reset() -> None:
    stand_in = StandIn(PAPERS)
    day = PAPERS[200].datestamp
    stand_in.oai.unavailable_dates = {day}
    async with client(stand_in) as http:
        refused = await http.get(URL, params=LIST)
        before = await http.get(URL, params=LIST | {"until": str(day - timedelta(1))})
        stand_in.reset()
        later = await http.get(URL, params=LIST)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "0")
    assert (before.status_code, later.status_code) == (200, 200)


def test_tokens_expire_a_number_of_times() -> None:
    oai = server(PAPERS, max_records=50)
    token = ask(oai, **LIST).findtext(".//o:resumptionToken", "", NS)
    oai.expired_tokens = 1
    expired = ask(oai, verb="ListRecords", resumptionToken=token)
    again = ask(oai, verb="ListRecords", resumptionToken=token)

    assert error_of(expired)[0] == "badResumptionToken"
    assert len(list_ids([again])) == 50


def test_token_can_be_repeated_for_ever() -> None:
    oai = server(PAPERS, max_records=50)
    oai.repeats_token = True
    token = ask(oai, **LIST).findtext(".//o:resumptionToken", "", NS)
    pages = [ask(oai, verb="ListRecords", resumptionToken=token) for _ in range(3)]

    assert {page.findtext(".//o:resumptionToken", "", NS) for page in pages} == {token}
    assert list_ids(pages[:1]) == list_ids(pages[1:2])


def test_another_request_can_be_answered() -> None:
    oai = server(PAPERS)
    oai.answered = LIST | {"metadataPrefix": "oai_dc"}
    root = ask(oai, from_="2020-01-01", **LIST)

    assert dict(root.find("o:request", NS).attrib) == oai.answered  # type: ignore[union-attr]


async def test_responses_can_be_truncated() -> None:
    stand_in = StandIn(PAPERS[:20])
    stand_in.truncates = True
    async with client(stand_in) as http:
        response = await http.get(URL, params=LIST)

    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(response.content)
