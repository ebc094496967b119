"""`/abs/{arxiv_id}`: the page of a paper."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from bibtexparser.entrypoint import parse_string as parse_bibtex
from lxml import html
from psycopg.sql import SQL, Identifier, Placeholder
from psycopg.types.json import Jsonb

from demo.arxiv import StandIn
from service.db.reader import RecordReader
from service.models.records import PaperRow
from service.settings import Settings
from tests.conftest import Gateway, Serve
from tests.support.cases import case_transport
from tests.support.indexing import papers_are_indexed
from tests.support.mirror import fill_mirror
from tests.support.pages import parse, read_form
from tests.support.runs import Runs

MakeSettings = Callable[..., Settings]
VERSION_ROWS = "//div[@class='table']//tbody/tr"


async def fetch(client: Gateway, path: str, status: int = 200) -> html.HtmlElement:
    response = await client.get(path)
    assert response.status_code == status, response.text
    return parse(response)


def read_meta(page: html.HtmlElement, name: str) -> list[str]:
    return [str(value) for value in page.xpath(f"//meta[@name='{name}']/@content")]


def read_facts(page: html.HtmlElement) -> dict[str, str]:
    names = [term.text_content() for term in page.xpath("//dl[@class='facts abs-facts']/dt")]
    values = [
        " ".join(each.text_content().split())
        for each in page.xpath("//dl[@class='facts abs-facts']/dd")
    ]
    return dict(zip(names, values, strict=True))


def add_paper(
    db: psycopg.Connection, arxiv_id: str = "2101.00001", version: int = 1, **fields: Any
) -> None:
    values = {
        "arxiv_id": arxiv_id, "version": version, "timestamp": 1, "first_timestamp": 1,
        "title": "A title", "authors": ["Emmy Noether"], "abstract": "An abstract.",
        "published": 1_600_000_000, "updated": 1_600_000_000 + version,
        "primary_category": "math.DG", "categories": ["math.DG"],
    } | fields  # fmt: skip
    columns = SQL(", ").join(map(Identifier, values))
    places = SQL(", ").join(map(Placeholder, values))
    statement = SQL("insert into papers ({}) values ({})").format(columns, places)
    db.execute(statement, values)


async def test_everything_that_is_known_is_shown(
    client: Gateway, arxiv: StandIn, database: str, db: psycopg.Connection
) -> None:
    sample = next(paper for paper in arxiv.papers if paper.dois and paper.comment)
    await fill_mirror(database, [sample])
    db.execute(
        "update paper_details"
        " set msc_class = '53A55', acm_class = 'F.2.2', report_number = 'IPPP/1'"
    )
    db.execute(
        "insert into announcements"
        " (date, arxiv_id, version, type, primary_category, cross_categories)"
        " values ('2026-11-23', %s, 1, 'new', 'cs.AI', '{}')",
        [sample.arxiv_id],
    )
    page = await fetch(client, f"/abs/{sample.arxiv_id}")
    facts = read_facts(page)

    assert page.xpath("//h1")[0].text_content()
    assert facts["DOI"] == ", ".join(sample.dois)
    assert facts["MSC class"] == "53A55"
    assert facts["ACM class"] == "F.2.2"
    assert facts["Report number"] == "IPPP/1"
    assert facts["Submitter"] == sample.authors[0].name
    assert facts["License"] == "arXiv.org non-exclusive license to distribute (1.0)"
    assert facts["Announced"] == "2026-11-23: new, v1"
    assert facts["Categories"].startswith(sample.categories[0])
    links = page.xpath("//a/@href")
    assert f"https://arxiv.org/pdf/{sample.arxiv_id}v{sample.version}" in links
    assert f"https://arxiv.org/html/{sample.arxiv_id}v{sample.version}" in links
    assert f"https://doi.org/{sample.dois[0]}" in links
    rows = page.xpath(VERSION_ROWS)
    assert len(rows) == len(sample.versions)
    assert "12 kB" in rows[0].text_content()
    assert "OAI-PMH (arXivRaw)" in page.xpath("//details//table")[0].text_content()


@pytest.mark.parametrize(
    ("spelling", "path"),
    [
        ("arXiv:2101.00001", "/abs/2101.00001"),
        ("2101.00001.pdf", "/abs/2101.00001"),
        ("2101.00001V1", "/abs/2101.00001v1"),
        ("2101.00001/", "/abs/2101.00001"),
        ("HEP-TH/9901001v2", "/abs/hep-th/9901001v2"),
        ("math.GT/0309136", "/abs/math/0309136"),
        ("2101.00001%E2%80%8B", "/abs/2101.00001"),
        ("https://arxiv.org/abs/2101.00001?context=cs", "/abs/2101.00001?context=cs"),
    ],
)
async def test_other_spellings_redirect_to_the_path_on_arxiv(
    client: Gateway, spelling: str, path: str
) -> None:
    response = await client.get(f"/abs/{spelling}")
    assert response.status_code == 308
    assert response.headers["location"] == path


@pytest.mark.parametrize("name", ["2101.00001", "hep-th/9901001"])
async def test_a_paper_has_the_same_path_as_on_arxiv(
    client: Gateway, db: psycopg.Connection, name: str
) -> None:
    add_paper(db, name, 1)
    add_paper(db, name, 2, title="Another title", withdrawn=True)
    latest = await fetch(client, f"/abs/{name}?utm_source=x")
    assert latest.xpath("//h1")[0].text_content() == "Another title"
    assert latest.xpath("//link[@rel='canonical']/@href") == [f"http://gateway/abs/{name}"]
    assert latest.find_class("paper-withdrawn")
    first = await fetch(client, f"/abs/{name}v1")
    assert first.xpath("//h1")[0].text_content() == "A title"
    assert first.xpath("//link[@rel='canonical']/@href") == [f"http://gateway/abs/{name}v1"]
    assert "newer version" in first.text_content()
    changes = [row.text_content().split() for row in first.xpath(VERSION_ROWS)]
    assert [row[0] for row in changes] == ["v2", "v1"]
    assert changes[0][2:] == ["title,", "withdrawal"]


@pytest.mark.parametrize("text", ["something", "%00", "%FF", "2101.00001v0", "x" * 5000, "<b>"])
async def test_what_is_no_identifier_is_an_error_page(client: Gateway, text: str) -> None:
    page = await fetch(client, f"/abs/{text}", 400)
    assert "is not an arXiv id" in page.text_content()


async def test_unknown_paper_can_be_retrieved_from_arxiv(client: Gateway, arxiv: StandIn) -> None:
    name = arxiv.papers[0].arxiv_id
    page = await fetch(client, f"/abs/{name}", 404)
    [form] = page.forms
    refused = await client.post(f"/abs/{name}", data={"csrf_token": "x"})
    assert refused.status_code == 403
    response = await client.post(form.action, data=dict(form.form_values()))
    assert response.status_code == 303
    assert response.headers["location"] == f"/abs/{name}"
    assert len(arxiv.requests) == 1
    shown = await fetch(client, f"/abs/{name}")
    assert shown.xpath("//ol[@class='searches']//a")[0].text_content() == name


async def test_paper_that_arxiv_does_not_have_is_not_found(client: Gateway) -> None:
    page = await fetch(client, "/abs/0704.9999", 404)
    [form] = page.forms
    response = await client.post(form.action, data=dict(form.form_values()))
    assert response.status_code == 404
    assert "arXiv does not have a paper 0704.9999" in response.text


async def test_failed_retrieval_is_explained_on_the_page(client: Gateway, arxiv: StandIn) -> None:
    name = arxiv.papers[0].arxiv_id
    form = read_form(await client.get(f"/abs/{name}"), f"/abs/{name}")
    arxiv.redirect_url = "https://example.org/"
    response = await client.post(f"/abs/{name}", data=form)
    assert response.status_code == 502
    page = parse(response)
    assert page.get_element_by_id("error").text_content().startswith("Error: ")
    assert "/searches/1" in page.xpath("//main//a/@href")


async def test_versions_that_are_not_stored_name_those_that_are(
    client: Gateway, db: psycopg.Connection
) -> None:
    add_paper(db)
    page = await fetch(client, "/abs/2101.00001v7", 404)
    assert "/abs/2101.00001v1" in page.xpath("//a/@href")


async def test_searches_that_found_a_paper_are_listed_latest_first(
    client: Gateway, arxiv: StandIn
) -> None:
    name = arxiv.papers[5].arxiv_id
    for start in range(12):
        ids = ",".join(sorted({name, arxiv.papers[6 + start].arxiv_id}))
        assert (await client.get(f"/arxiv?id_list={ids}")).status_code == 200
    await client.get(f"/arxiv?id_list={arxiv.papers[40].arxiv_id}")
    page = await fetch(client, f"/abs/{name}")
    links = page.xpath("//ol[@class='searches']//a")
    assert [link.get("href") for link in links] == [f"/searches/{n}" for n in range(12, 2, -1)]


async def test_similar_papers_are_linked(client: Gateway, settings: MakeSettings) -> None:
    await client.get("/arxiv?title=testing&max_results=50")
    made = settings()
    await papers_are_indexed(made.database_ro_url or "", made.index_path)
    names = [row["arxiv_id"] for row in (await client.get("/papers")).json()["papers"]]
    page = await fetch(client, f"/abs/{names[0]}")
    similar = page.xpath("//section[@aria-labelledby='similar']//h3/a/@href")
    expected = (await client.get(f"/papers/{names[0]}/similar?items_per_page=5")).json()["papers"]
    assert similar == [f"/abs/{each['arxiv_id']}v{each['version']}" for each in expected]
    assert similar


async def test_page_does_not_need_the_search_index(
    gateway: Serve, db: psycopg.Connection, tmp_path: Any
) -> None:
    add_paper(db)
    (tmp_path / "index").write_text("not a folder")
    async with gateway(settle=1.0) as client:
        page = await fetch(client, "/abs/2101.00001")
    assert "cannot be looked up" in page.text_content()


async def test_reference_managers_find_the_citation(
    client: Gateway, db: psycopg.Connection
) -> None:
    add_paper(
        db,
        title='Schr\\"odinger & $x^2$ </script><b>',
        authors=["Emmy Noether", "José García López", "LHCb Collaboration"],
        group_authors=["LHCb Collaboration"],
        dois=["10.1000/a<b>"],
        journal="Phys. Rev. D 1",
    )
    page = await fetch(client, "/abs/2101.00001")
    assert read_meta(page, "citation_title") == ["Schrödinger & $x^2$ </script><b>"]
    authors = ["Noether, Emmy", "López, José García", "LHCb Collaboration"]
    assert read_meta(page, "citation_author") == authors
    assert read_meta(page, "citation_date") == ["2020/09/13"]
    assert read_meta(page, "citation_doi") == ["10.1000/a<b>"]
    assert read_meta(page, "citation_arxiv_id") == ["2101.00001"]
    assert read_meta(page, "citation_pdf_url") == ["https://arxiv.org/pdf/2101.00001v1"]
    [data] = page.xpath("//script[@type='application/ld+json']/text()")
    linked = json.loads(data)
    assert linked["@type"] == "ScholarlyArticle"
    assert linked["name"] == "Schrödinger & $x^2$ </script><b>"
    assert [author["@type"] for author in linked["author"]] == ["Person", "Person", "Organization"]
    assert page.xpath("//meta[@property='og:title']/@content") == read_meta(page, "citation_title")
    for kind in ("bibtex", "ris"):
        [link] = page.xpath(f"//a[@download][contains(@href, '{kind}')]/@href")
        response = await client.get(link)
        assert response.status_code == 200
    assert page.xpath("//a[@data-copy='BibTeX']/@href") == ["/papers/2101.00001v1?format=bibtex"]
    [entry] = parse_bibtex((await client.get("/papers/2101.00001v1?format=bibtex")).text).entries
    assert entry["eprint"] == "2101.00001"


async def test_reference_managers_find_no_tex_outside_of_formulas(
    client: Gateway, db: psycopg.Connection
) -> None:
    add_paper(
        db,
        title=r"Poincar\'e and $x^2$",
        abstract=r"By Poincar\'e, $x^2$",
        authors=[r"Paul Erd\H{o}s", r"J. {van der B{\o}rg}", r"Caf\'e Collaboration"],
        group_authors=[r"Caf\'e Collaboration"],
        journal=r"Ann. Poincar\'e \textbf{1}",
    )
    page = await fetch(client, "/abs/2101.00001")
    assert read_meta(page, "citation_author") == [
        "Erdős, Paul",
        "van der Børg, J.",
        "Café Collaboration",
    ]
    assert read_meta(page, "citation_journal_title") == ["Ann. Poincaré 1"]
    assert read_meta(page, "citation_abstract") == ["By Poincaré, $x^2$"]
    [data] = page.xpath("//script[@type='application/ld+json']/text()")
    linked = json.loads(data)
    names = [author["name"] for author in linked["author"]]
    assert names == ["Paul Erdős", "J. van der Børg", "Café Collaboration"]
    assert linked["name"] == "Poincaré and $x^2$"
    assert linked["abstract"] == "By Poincaré, $x^2$"
    bibtex = await client.get("/papers/2101.00001v1?format=bibtex")
    assert r"Erd\H{o}s" in bibtex.text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\u202eright to left\u2066",
        "x" * 100_000,
        "$\\frac{</math><script>alert(1)</script>$ $\\href{javascript:alert(1)}{x}$ \\end{",
        '" onmouseover="alert(1)',
        "{{ 7 * 7 }} {% raw %}",
    ],
    ids=["markup", "bidirectional", "long", "tex", "attribute", "template"],
)
async def test_hostile_texts_are_shown_as_text(
    client: Gateway, db: psycopg.Connection, text: str
) -> None:
    add_paper(
        db, title=text, abstract=text, comment=text, journal=text, authors=[text], dois=[text]
    )
    db.execute(
        "insert into paper_details (arxiv_id, version, source, datestamp, license, submitter)"
        " values ('2101.00001', 1, 'snapshot', 0, 'javascript:alert(1)', %s)",
        [text],
    )
    page = await fetch(client, "/abs/2101.00001")
    scripts = page.xpath("//script[not(@type='application/ld+json')]")
    assert [script.get("src", "")[:8] for script in scripts] == ["/static/"]
    assert not page.xpath("//img")
    assert not page.xpath("//@*[starts-with(name(), 'on')]")
    assert all(
        href.startswith(("/", "#", "https://arxiv.org/", "https://doi.org/"))
        for href in page.xpath("//main//a/@href")
    )
    assert read_facts(page)["Submitter"] == " ".join(text.split())


async def test_static_files_of_the_page_are_served(client: Gateway, db: psycopg.Connection) -> None:
    add_paper(db)
    page = await fetch(client, "/abs/2101.00001")
    paths = page.xpath("//script/@src | //link[@rel='stylesheet' or @rel='icon']/@href")
    assert len(paths) == 3
    for path in paths:
        response = await client.get(path)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]


async def test_long_lists_of_authors_are_folded(client: Gateway, db: psycopg.Connection) -> None:
    names = [f"Author {'X' * number}" for number in range(1, 41)]
    add_paper(db, authors=names, affiliations=Jsonb([["Here & <there>"], *[[]] * 39]))
    page = await fetch(client, "/abs/2101.00001")
    shown, folded = page.find_class("paper-authors")
    links = [link.text_content() for link in page.xpath("//*[@class='paper-authors']//a")]
    assert links == names
    assert len(shown.xpath(".//a")) == 30
    assert folded.tag == "details"
    assert "Author X: Here & <there>" in page.text_content()


async def test_formulas_are_mathml(client: Gateway, db: psycopg.Connection) -> None:
    add_paper(db, title="On $E = mc^2$", abstract=r"Costs $5 and $6, with \(a\) and $\foo$")
    page = await fetch(client, "/abs/2101.00001")
    assert [math.get("alttext") for math in page.xpath("//h1//math")] == ["E = mc^2"]
    assert [math.get("alttext") for math in page.xpath("//p[@class='abs-text']//math")] == ["a"]
    assert "Costs $5 and $6" in page.find_class("abs-text")[0].text_content()
    assert page.xpath("//title")[0].text.startswith("On $E = mc^2$ (2101.00001v1)")


async def test_unusual_metadata_is_shown(gateway: Serve, db: psycopg.Connection) -> None:
    async with gateway(case_transport()) as client:
        for name in ("caseaut", "casedoi", "casettl", "casecjk", "casejrn", "casewdr"):
            assert (await client.get("/arxiv", params={"title": name})).status_code == 200
        for arxiv_id, version in db.execute("select arxiv_id, version from papers").fetchall():
            suffix = f"v{version}" if version else ""
            await fetch(client, f"/abs/{arxiv_id}{suffix}")


async def test_retrieved_paper_is_shown_as_soon_as_it_can_be_read(
    gateway: Serve, arxiv: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_versions, path = RecordReader.fetch_versions, f"/abs/{arxiv.papers[0].arxiv_id}"
    late = iter(range(5))

    async def fetch_late(self: RecordReader, arxiv_id: str, **options: Any) -> list[PaperRow]:
        is_late = is_retrieved and next(late, None) is not None
        return [] if is_late else await fetch_versions(self, arxiv_id, **options)

    async with gateway(settle=60) as client:
        is_retrieved = False
        monkeypatch.setattr(RecordReader, "fetch_versions", fetch_late)
        form = read_form(await client.get(path), path)
        is_retrieved = True
        response = await client.post(path, data=form)
        assert response.status_code == 303
        assert (await client.get(response.headers["location"])).status_code == 200


async def test_classes_of_other_schemes_are_no_links(
    client: Gateway, db: psycopg.Connection
) -> None:
    add_paper(db, primary_category="I.2.7", categories=["I.2.7", "math.DG"])
    for path in ("/abs/2101.00001", "/search?order=newest"):
        links = (await fetch(client, path)).xpath("//main//a/@href")
        assert not [link for link in links if "category=I.2.7" in link]


async def test_searches_that_found_it_are_shown_as_recorded(
    client: Gateway, db: psycopg.Connection
) -> None:
    add_paper(db)
    runs = Runs(db)
    runs.add("2101.00001v1", query='search_query=all:"a+b" AND ti:100%25&id_list=')
    page = await fetch(client, "/abs/2101.00001")
    [link] = page.xpath("//ol[@class='searches']//a")
    assert link.text_content() == 'all:"a+b" AND ti:100%25'
