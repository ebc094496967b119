"""arXiv's feeds are parsed in every form, and other documents are rejected."""

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from demo import feed as demo_feed
from demo.papers import Paper, generate
from service import untrusted_xml
from service.arxiv_xml import parse_feed
from service.metadata.dois import format_doi_url
from service.models.arxiv import Entry, Feed, Link
from service.models.records import INT4_MAX
from service.untrusted_xml import InvalidResponse
from tests.support.captures import captured, catalogued
from tests.support.measure import assert_cpu_below
from tests.support.process import ROOT

ATOM = "http://www.w3.org/2005/Atom"
ARXIV = "http://arxiv.org/schemas/atom"
OPENSEARCH = "http://a9.com/-/spec/opensearch/1.1/"

# Building feeds


@dataclass
class Prefixes:
    """Namespace prefixes of a feed; Atom may be the default namespace."""

    atom: str = ""
    arxiv: str = "arxiv:"
    opensearch: str = "opensearch:"

    def declared(self) -> str:
        names = [(self.atom, ATOM), (self.arxiv, ARXIV), (self.opensearch, OPENSEARCH)]
        return "".join(
            f' xmlns{":" if prefix else ""}{prefix.rstrip(":")}="{uri}"' for prefix, uri in names
        )


USUAL = Prefixes()


def feed(
    *entries: str,
    total: object = 1,
    title: str | None = "arXiv Query: search_query=all:x",
    link: str = '<link href="https://arxiv.org/api/query?search_query=all:x"/>',
    prefixes: Prefixes = USUAL,
    declaration: str = "<?xml version='1.0' encoding='UTF-8'?>\n",
) -> bytes:
    """Return a feed with these entries."""
    a, o = prefixes.atom, prefixes.opensearch
    counts = "" if total is None else f"<{o}totalResults>{total}</{o}totalResults>"
    heading = "" if title is None else f"<{a}title>{escape(title)}</{a}title>"
    body = "".join(entries)
    text = f"{declaration}<{a}feed{prefixes.declared()}>{heading}{link}{counts}{body}</{a}feed>"
    return text.encode()


def one(*parts: str, **options: Any) -> Entry:
    """Parse an entry with these elements."""
    [entry] = parse_feed(feed(f"<entry>{''.join(parts)}</entry>", **options)).entries
    return entry


def without_sent(entry: Entry) -> Entry:
    """The entry without the texts as arXiv sent them, which test_arxiv_feed.py covers."""
    return structs.replace(entry, sent=None)


def identified(text: str) -> tuple[str | None, int | None]:
    entry = one(f"<id>{text}</id>")
    return entry.arxiv_id, entry.version


NEW_ENTRY = """
  <entry>
    <id>http://arxiv.org/abs/2405.01234v3</id>
    <title>On the regularity of glacier flow</title>
    <updated>2024-06-07T08:09:10Z</updated>
    <link href="https://arxiv.org/abs/2405.01234v3" rel="alternate" type="text/html"/>
    <link href="https://arxiv.org/pdf/2405.01234v3" rel="related" type="application/pdf"
      title="pdf"/>
    <summary>We measure &lt;f_c&gt; &amp; more.</summary>
    <category term="physics.geo-ph" scheme="http://arxiv.org/schemas/atom"/>
    <category term="math.AP" scheme="http://arxiv.org/schemas/atom"/>
    <published>2024-05-02T03:04:05Z</published>
    <arxiv:comment>12 pages, 3 figures</arxiv:comment>
    <arxiv:primary_category term="physics.geo-ph"/>
    <arxiv:journal_ref>J. Imag. Ice 7 (2024) 1-12</arxiv:journal_ref>
    <author><name>Ada Nov\u00e1k</name></author>
    <author>
      <name>B. O'Rourke</name>
      <arxiv:affiliation>University of Northmere</arxiv:affiliation>
      <arxiv:affiliation>Port Alder College</arxiv:affiliation>
    </author>
    <arxiv:doi>10.5555/ice.7</arxiv:doi>
    <link rel="related" href="https://doi.org/10.5555/ice.7" title="doi"/>
    <arxiv:doi>10.5555/ice.7.erratum</arxiv:doi>
    <link rel="related" href="https://doi.org/10.5555/ice.7.erratum" title="doi"/>
  </entry>
"""
OLD_FEED = f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="{ATOM}">
  <link href="http://arxiv.org/api/query?search_query%3Dall%3Aice" rel="self"
    type="application/atom+xml"/>
  <title type="html">ArXiv Query: search_query=all:ice&amp;id_list=&amp;start=0</title>
  <id>http://arxiv.org/api/made/up+by/hand</id>
  <updated>2019-01-04T00:00:00-05:00</updated>
  <opensearch:totalResults xmlns:opensearch="{OPENSEARCH}">71</opensearch:totalResults>
  <opensearch:startIndex xmlns:opensearch="{OPENSEARCH}">0</opensearch:startIndex>
  <opensearch:itemsPerPage xmlns:opensearch="{OPENSEARCH}">1</opensearch:itemsPerPage>
  <entry>
    <id>http://arxiv.org/abs/hep-th/9901001v2</id>
    <updated>1999-02-03T04:05:06Z</updated>
    <published>1999-01-01T00:00:01Z</published>
    <title>A title that the old server broke
  in two</title>
    <summary>  A padded abstract
with its own lines.

  And a paragraph.
</summary>
    <author>
      <name> Meridian Collaboration</name>
      <arxiv:affiliation xmlns:arxiv="{ARXIV}">Institute of
  Ice</arxiv:affiliation>
    </author>
    <arxiv:doi xmlns:arxiv="{ARXIV}">10.5555/old</arxiv:doi>
    <link title="doi" href="http://dx.doi.org/10.5555/old" rel="related"/>
    <arxiv:comment xmlns:arxiv="{ARXIV}">4 pages,
  no figures</arxiv:comment>
    <arxiv:journal_ref xmlns:arxiv="{ARXIV}">Ann. Ice
  1 (1999) 1</arxiv:journal_ref>
    <link href="http://arxiv.org/abs/hep-th/9901001v2" rel="alternate" type="text/html"/>
    <arxiv:primary_category xmlns:arxiv="{ARXIV}" term="hep-th" scheme="{ARXIV}"/>
    <category term="hep-th" scheme="{ARXIV}"/>
    <category term="35J20, 35B38" scheme="{ARXIV}"/>
  </entry>
</feed>
""".encode()


def test_new_feed_is_parsed_completely() -> None:
    found = parse_feed(feed(NEW_ENTRY, total=230))

    assert found == Feed(
        query="search_query=all:x",
        link="https://arxiv.org/api/query?search_query=all:x",
        total=230,
        error=None,
        entries=[
            Entry(
                arxiv_id="2405.01234",
                version=3,
                authors=["Ada Nov\u00e1k", "B. O'Rourke"],
                affiliations=[[], ["University of Northmere", "Port Alder College"]],
                title="On the regularity of glacier flow",
                journal="J. Imag. Ice 7 (2024) 1-12",
                summary="We measure <f_c> & more.",
                comment="12 pages, 3 figures",
                published=datetime(2024, 5, 2, 3, 4, 5, tzinfo=UTC),
                updated=datetime(2024, 6, 7, 8, 9, 10, tzinfo=UTC),
                dois=["10.5555/ice.7", "10.5555/ice.7.erratum"],
                primary_category="physics.geo-ph",
                categories=["physics.geo-ph", "math.AP"],
                links=[
                    Link("https://arxiv.org/abs/2405.01234v3", "alternate", None, "text/html"),
                    Link("https://arxiv.org/pdf/2405.01234v3", "related", "pdf", "application/pdf"),
                    Link("https://doi.org/10.5555/ice.7", "related", "doi"),
                    Link("https://doi.org/10.5555/ice.7.erratum", "related", "doi"),
                ],
            )
        ],
    )


def test_old_feed_is_parsed_completely() -> None:
    found = parse_feed(OLD_FEED)

    [entry] = found.entries
    assert structs.replace(found, entries=[without_sent(entry)]) == Feed(
        query="search_query=all:ice&id_list=&start=0",
        link="http://arxiv.org/api/query?search_query%3Dall%3Aice",
        updated=datetime(2019, 1, 4, 5, tzinfo=UTC),
        total=71,
        items_per_page=1,
        start=0,
        error=None,
        entries=[
            Entry(
                arxiv_id="hep-th/9901001",
                version=2,
                authors=["Meridian Collaboration"],
                affiliations=[["Institute of Ice"]],
                title="A title that the old server broke in two",
                journal="Ann. Ice 1 (1999) 1",
                summary="A padded abstract with its own lines. And a paragraph.",
                comment="4 pages, no figures",
                published=datetime(1999, 1, 1, 0, 0, 1, tzinfo=UTC),
                updated=datetime(1999, 2, 3, 4, 5, 6, tzinfo=UTC),
                dois=["10.5555/old"],
                primary_category="hep-th",
                categories=["hep-th", "35J20, 35B38"],
                links=[
                    Link("https://doi.org/10.5555/old", "related", "doi"),
                    Link("http://arxiv.org/abs/hep-th/9901001v2", "alternate", None, "text/html"),
                ],
            )
        ],
    )


def test_feed_without_entries_is_parsed() -> None:
    assert parse_feed(feed(total=0)) == Feed(
        query="search_query=all:x",
        link="https://arxiv.org/api/query?search_query=all:x",
        total=0,
        entries=[],
        error=None,
    )


# Single elements


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["arxiv.org", "export.arxiv.org", "www.arxiv.org"])
@pytest.mark.parametrize(
    ("text", "arxiv_id", "version"),
    [
        ("2405.01234v3", "2405.01234", 3),
        ("2405.01234", "2405.01234", None),
        ("0704.0001v12", "0704.0001", 12),
        ("hep-th/9901001v1", "hep-th/9901001", 1),
        ("hep-th/9901001", "hep-th/9901001", None),
        ("math.GT/0309136v1", "math/0309136", 1),
        ("math.gt/0309199v12", "math/0309199", 12),
        ("cond-mat.mes-hall/0309136", "cond-mat/0309136", None),
        ("solv-int/9901001v100", "solv-int/9901001", 100),
    ],
)
def test_id_and_version_are_separated(
    scheme: str, host: str, text: str, arxiv_id: str, version: int | None
) -> None:
    assert identified(f"{scheme}://{host}/abs/{text}") == (arxiv_id, version)
    assert identified(f"\n  {scheme}://{host}/abs/{text}\n ") == (arxiv_id, version)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2405.01234v1",
            "http://arxiv.org/",
            "http://arxiv.org/abs/",
            "ftp://arxiv.org/abs/1",
        ),
        *(
            "http://arxiv.org/pdf/2405.01234",
            "http://example.org/abs/1",
            "http://notarxiv.org/abs/1",
        ),
        *(
            "http://arxiv.org.example.org/abs/1",
            "http://arxiv.org/abs/1 2",
            "x http://arxiv.org/abs/1",
        ),
    ],
)
def test_url_of_other_page_has_no_id(text: str) -> None:
    assert identified(text) == (None, None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-02T03:04:05Z", datetime(2024, 5, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-05-02T03:04:05+00:00", datetime(2024, 5, 2, 3, 4, 5, tzinfo=UTC)),
        ("2019-01-04T00:00:00-05:00", datetime(2019, 1, 4, 5, tzinfo=UTC)),
        ("2024-05-02T03:04:05.250Z", datetime(2024, 5, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2024-05-02T03:04:05", datetime(2024, 5, 2, 3, 4, 5, tzinfo=UTC)),
        (" 2024-02-29T00:00:00Z\n", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2023-02-29T00:00:00Z", None),
        ("2024-13-01T00:00:00Z", None),
        ("2024-05-02T25:00:00Z", None),
        ("2016-12-31T23:59:60Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("9999-12-31T23:59:59-05:00", None),
        ("0000-00-00T00:00:00Z", None),
        ("yesterday", None),
        ("1714618245", None),
        ("", None),
    ],
)
def test_dates_are_converted_to_utc_or_none(text: str, moment: datetime | None) -> None:
    entry = one(f"<published>{text}</published><updated>{text}</updated>")

    assert entry.published == entry.updated == moment
    assert moment is None or entry.published.tzinfo is UTC  # type: ignore[union-attr]


def test_empty_entry_has_empty_fields() -> None:
    assert one() == Entry(
        arxiv_id=None,
        version=None,
        authors=[],
        affiliations=[],
        title="",
        journal=None,
        summary="",
        comment=None,
        published=None,
        updated=None,
        dois=[],
        primary_category=None,
        categories=[],
        links=[],
    )


def test_empty_elements_are_ignored() -> None:
    empty = one(
        "<id/><title/><summary> </summary><published/><updated/><author/>",
        "<author><name> </name><arxiv:affiliation>X</arxiv:affiliation></author>",
        "<arxiv:comment/><arxiv:journal_ref>\n</arxiv:journal_ref><arxiv:doi> </arxiv:doi>",
        '<category/><category term=" "/><arxiv:primary_category/><link/><link href=""/>',
    )

    assert without_sent(empty) == one()


def test_empty_affiliation_is_omitted() -> None:
    entry = one(
        "<author><name>A</name><arxiv:affiliation/></author>",
        "<author><arxiv:affiliation>X</arxiv:affiliation><name>B</name></author>",
    )

    assert entry.authors == ["A", "B"]
    assert entry.affiliations == [[], ["X"]]


@pytest.mark.parametrize("text", ["0", "00", "False", "None"])
def test_falsy_looking_text_is_kept(text: str) -> None:
    entry = one(
        f"<title>{text}</title><summary>{text}</summary><arxiv:comment>{text}</arxiv:comment>",
        f"<arxiv:journal_ref>{text}</arxiv:journal_ref>",
        f"<author><name>{text}</name><arxiv:affiliation>{text}</arxiv:affiliation></author>",
        f'<category term="{text}"/><arxiv:primary_category term="{text}"/>',
    )

    assert {entry.title, entry.summary, entry.comment, entry.journal, entry.author} == {text}
    assert entry.affiliations == [[text]]
    assert entry.categories == [entry.primary_category] == [text]


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("a<!-- no -->b", "ab"),
        ("a <!-- no --> b", "a b"),
        ("<!-- no -->a", "a"),
        ("a<?no no?>b", "ab"),
        ("<![CDATA[a < b & c]]>", "a < b & c"),
        ("a <![CDATA[<b>]]> c", "a <b> c"),
        ("<!-- 1 -->a<![CDATA[b]]><?no?>c<!-- 2 -->", "abc"),
        ("x &lt;f_c&gt; &amp; &quot;y&quot; &#233; &#x1D518;", 'x <f_c> & "y" \u00e9 \U0001d518'),
        ("&amp;amp; &amp;lt;", "&amp; &lt;"),
        (r"$\mathcal{N}=2$ \&amp; $a &lt; b$", r"$\mathcal{N}=2$ \& $a < b$"),
        ("  a\n\t b\r\n  c  ", "a b c"),
        ("a&#10;&#13;&#9;b", "a b"),
        ("a\u00a0\u2003b\u2028c\u0085d", "a b c d"),
        ("a<sub>2</sub> b", "a2 b"),
        ("<i>a<b> b</b></i> c", "a b c"),
    ],
)
def test_text_is_joined_with_single_spaces(inside: str, text: str) -> None:
    entry = one(
        f"<title>{inside}</title><summary>{inside}</summary>",
        f"<arxiv:comment>{inside}</arxiv:comment><author><name>{inside}</name></author>",
    )

    assert [entry.title, entry.summary, entry.comment, *entry.authors] == [text] * 4


def test_unknown_elements_and_attributes_are_ignored() -> None:
    entry = one(
        '<rights>none</rights><x:title xmlns:x="urn:x">wrong</x:title>',
        '<title x:lang="en" xmlns:x="urn:x" xml:lang="en" type="text">right</title>',
        '<arxiv:title>wrong</arxiv:title><comment>wrong</comment><doi xmlns="">10.5555/wrong</doi>',
        '<source><id>http://arxiv.org/abs/1v1</id><title>wrong</title><link href="x"/></source>',
        '<x:category xmlns:x="urn:x" x:term="wrong"/><category label="wrong"/>',
    )

    assert entry == structs.replace(one(), title="right")


def test_elements_without_namespace_are_ignored() -> None:
    with pytest.raises(InvalidResponse):
        parse_feed(b"<feed><totalResults>1</totalResults></feed>")
    with pytest.raises(InvalidResponse):
        parse_feed(feed().replace(ATOM.encode(), b"http://purl.org/atom/ns#"))


PREFIXES = [
    Prefixes(atom="a:", arxiv="x:", opensearch="o:"),
    Prefixes(atom="atom:", arxiv="", opensearch="os:"),
    Prefixes(atom="arxiv:", arxiv="opensearch:", opensearch="atom:"),
]


@pytest.mark.parametrize("prefixes", PREFIXES)
def test_namespace_prefixes_are_arbitrary(prefixes: Prefixes) -> None:
    entry = parse_feed(feed(NEW_ENTRY)).entries[0]
    written = rendered(entry, prefixes=prefixes)

    found = parse_feed(feed(written, prefixes=prefixes, link="", title=None))
    assert structs.replace(found, entries=list(map(without_sent, found.entries))) == Feed(
        query=None, link=None, total=1, entries=[entry], error=None
    )


# Elements of the feed


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("arXiv Query: search_query=all:x&id_list=", "search_query=all:x&id_list="),
        ("ArXiv Query: search_query=ti:a AND au:b", "search_query=ti:a AND au:b"),
        ("ARXIV QUERY:\n  search_query=a\n  b", "search_query=a\n  b"),
        ("arXiv Query: arXiv Query: x", "arXiv Query: x"),
        ("arXiv Query: ", ""),
        ("arXiv Search Results", None),
        ("The arXiv Query: x", None),
        ("", None),
        (None, None),
    ],
)
def test_query_is_title_without_prefix(title: str | None, query: str | None) -> None:
    assert parse_feed(feed(title=title)).query == query


@pytest.mark.parametrize(
    ("link", "href"),
    [
        ('<link href="http://arxiv.org/api?a=b&amp;c"/>', "http://arxiv.org/api?a=b&c"),
        ('<link rel="self" href="x"/>', "x"),
        ("<link/>", None),
        ("", None),
    ],
)
def test_link_of_feed_is_parsed(link: str, href: str | None) -> None:
    assert parse_feed(feed(NEW_ENTRY, link=link)).link == href


@pytest.mark.parametrize("total", [0, 1, 214_881, INT4_MAX, " 7\n", "007", "<!-- -->5"])
def test_total_is_independent_of_entries(total: object) -> None:
    expected = int(re.sub("<.*>", "", str(total)))

    assert parse_feed(feed(NEW_ENTRY, NEW_ENTRY, total=total)).total == expected
    assert len(parse_feed(feed(NEW_ENTRY, NEW_ENTRY, total=total)).entries) == 2


@pytest.mark.parametrize(
    "total",
    [
        *(None, "", " ", "-1", "+1", "1.0", "1e3", "many", "1 2", "0x1F", INT4_MAX + 1, "9" * 5000),
        *("\u0661\u0662", "\u00b2", "1_000", "1,000", "NaN"),
    ],
)
def test_invalid_total_is_rejected(total: object) -> None:
    with pytest.raises(InvalidResponse, match=r"^totalResults is .* not a number of papers$"):
        parse_feed(feed(NEW_ENTRY, total=total))


# Errors


@pytest.mark.parametrize("family", ["new", "old"])
def test_error_feed_has_error_message(family: demo_feed.Family) -> None:
    body = demo_feed.error(
        "incorrect id format for x", f"{demo_feed.ERRORS}#incorrect_id", family=family
    )

    assert parse_feed(body).error == "incorrect id format for x"


@pytest.mark.parametrize(
    "name",
    [
        "http://arxiv.org/api/errors",
        "https://arxiv.org/api/errors",
        "http://arxiv.org/api/errors#incorrect_id_format_for_x",
        "https://export.arxiv.org/api/errors#start_must_be_an_integer",
        "\n https://arxiv.org/api/errors#x \n",
        "https://arxiv.org/help/api/user-manual#_details",
    ],
)
def test_error_is_recognized_by_id(name: str) -> None:
    entry = f"<entry><id>{name}</id><title>Fine</title><summary> a\n b </summary></entry>"

    assert parse_feed(feed(entry)).error == "a b"
    assert parse_feed(feed(NEW_ENTRY, entry)).error == "a b"


def test_error_without_message_is_an_error() -> None:
    assert parse_feed(feed("<entry><id>http://arxiv.org/api/errors</id></entry>")).error


def test_paper_titled_error_is_not_an_error() -> None:
    entry = "<entry><id>http://arxiv.org/abs/2405.00001v1</id><title>Error</title></entry>"

    assert parse_feed(feed(entry)).error is None


def test_nested_entry_is_ignored() -> None:
    inner = "<entry><id>http://arxiv.org/api/errors</id><title>inner</title></entry>"
    found = parse_feed(feed(f"<entry><source>{inner}</source><title>outer {inner}</title></entry>"))

    assert [entry.title for entry in found.entries] == ["outer http://arxiv.org/api/errorsinner"]
    assert found.error is None


def test_large_feed_is_parsed_in_any_encoding() -> None:
    """The size exceeds the buffers of the parser."""
    body = demo_feed.render(generate(100))
    wide = body.decode().replace("encoding='UTF-8'", "encoding='UTF-16'").encode("utf-16")

    assert parse_feed(wide) == parse_feed(body)


# Other documents

WHOLE = feed(NEW_ENTRY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"\0",
        b"Rate exceeded.",
        b"{}",
        b"<",
        b"<feed",
        b"<html><body>502 Bad Gateway</body></html>",
        b"<!doctype html><html><head><title>503</title></head><p>later<br></html>",
        b"<?xml version='1.0'?>",
        f'<entry xmlns="{ATOM}"><title>x</title></entry>'.encode(),
        f'<rss xmlns="{ATOM}" version="2.0"><channel/></rss>'.encode(),
        WHOLE + b"<more/>",
        WHOLE + b"more",
        b"more" + WHOLE,
        WHOLE.replace(b"</title>", b"</titel>", 1),
        WHOLE.replace(b"&amp;", b"&"),
        WHOLE.replace(b"&amp;", b"&nbsp;"),
        WHOLE.replace(b"glacier", b"gl\x08acier").replace(b"</title>", b"</titel>", 1),
        WHOLE.replace(b"glacier", b"gl\x08acier")[:-20],
        WHOLE.replace(b"<arxiv:comment>", b"<unknown:comment>"),
    ],
)
def test_other_documents_are_rejected(body: bytes) -> None:
    with pytest.raises(InvalidResponse) as refused:
        parse_feed(body)

    assert 0 < len(str(refused.value)) < 400


@pytest.mark.parametrize("length", [2**10, 2**15, 2**16])
def test_concatenated_documents_are_rejected(length: int) -> None:
    first = WHOLE[: WHOLE.index(b"</entry>")].replace(b"&amp;", b"&nbsp;")
    with pytest.raises(InvalidResponse, match="nbsp"):
        parse_feed(first + b" " * (length - len(first)) + WHOLE)


@pytest.mark.parametrize("part", range(1, 40))
def test_truncated_feed_is_rejected(part: int) -> None:
    with pytest.raises(InvalidResponse):
        parse_feed(WHOLE[: len(WHOLE) * part // 40])


def test_error_message_is_short() -> None:
    with pytest.raises(InvalidResponse) as refused:
        parse_feed(f"<{'x' * 40_000}></y>".encode())

    assert len(str(refused.value)) < 400


# Damaged characters


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (b"a\x01b", "ab"),
        (b"a\0b", "ab"),
        (b"a\x1fb\x0bc", "abc"),
        (b"a&#0;b", "ab"),
        (b"a&#31;b&#x1F;c&#x0001;d", "abcd"),
        (b"a&#xD800;b&#57343;c", "abc"),
        (b"a&#x110000;b&#99999999999;c", "abc"),
        (b"a&#xFFFE;b\xef\xbf\xbfc", "abc"),
        (b"a\xffb", "a\ufffdb"),
        (b"Caf\xe9 M\xfcller", "Caf\ufffd M\ufffdller"),
        (b"\x08 &#233;&#x1D518;&amp; \xc3\xa9 \xf0\x9d\x94\x98", "\xe9\U0001d518& \xe9 \U0001d518"),
    ],
)
@pytest.mark.parametrize("size", [2, 5, 2**16])
def test_forbidden_characters_are_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, damaged: bytes, text: str, size: int
) -> None:
    monkeypatch.setattr(untrusted_xml, "PIECE_BYTES", size)
    body = feed("<entry><title>@</title><summary>whole</summary></entry>", NEW_ENTRY, total=5)
    found = parse_feed(body.replace(b"@", damaged))
    whole = parse_feed(body)

    assert found.entries[0].title == text
    assert found.entries[0].summary == "whole"
    assert found.entries[1:] == whole.entries[1:]
    assert (found.total, found.query) == (whole.total, whole.query)
    assert (found.warnings, whole.warnings) == ([untrusted_xml.RECOVERED], [])


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("body", [b"WHOLE", b"OLD"])
def test_size_of_pieces_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, size: int, body: bytes
) -> None:
    content = WHOLE if body == b"WHOLE" else OLD_FEED
    whole = parse_feed(content)
    monkeypatch.setattr(untrusted_xml, "PIECE_BYTES", size)

    assert parse_feed(content) == whole


# Encodings

TITLE = "Stra\u00dfe \u00e9"


@pytest.mark.parametrize(
    ("declared", "real"),
    [
        ("UTF-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        (None, "utf-8"),
        (None, "utf-16"),
    ],
)
def test_declared_encoding_is_used(declared: str | None, real: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    entry = f"<entry><title>{TITLE}</title></entry>"
    body = feed(entry, declaration=head).decode().encode(real)

    assert parse_feed(body).entries[0].title == TITLE


@pytest.mark.parametrize(
    ("declared", "real"),
    [("US-ASCII", "utf-8"), ("UTF-16", "utf-8"), ("no-such", "utf-8")],
)
def test_wrong_encoding_is_rejected(declared: str, real: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    entry = f"<entry><title>{TITLE}</title></entry>"
    with pytest.raises(InvalidResponse):
        parse_feed(feed(entry, declaration=head).decode().encode(real))


# Attacks


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server on loopback that must not receive a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        yield server


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/x"


def assert_untouched(server: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        server.accept()


DTDS = [
    '<!DOCTYPE feed SYSTEM "{url}">',
    '<!DOCTYPE feed PUBLIC "-//X//Y" "{url}">',
    '<!DOCTYPE feed SYSTEM "{file}">',
    '<!DOCTYPE feed [<!ENTITY e "harmless">]>',
    '<!DOCTYPE feed [<!ENTITY e SYSTEM "{url}">]>',
    '<!DOCTYPE feed [<!ENTITY e SYSTEM "{file}">]>',
    '<!DOCTYPE feed [<!ENTITY e PUBLIC "-//X//Y" "{file}">]>',
    '<!DOCTYPE feed [<!ENTITY % p SYSTEM "{url}"> %p; <!ENTITY e "x">]>',
    '<!DOCTYPE feed [<!ENTITY % p SYSTEM "{file}"> %p; <!ENTITY e "x">]>',
    """<!DOCTYPE feed [<!ENTITY % f SYSTEM "{file}"><!ENTITY % p "<!ENTITY &#37; q SYSTEM
     '{url}?%f;'>"> %p; %q; <!ENTITY e "x">]>""",
    '<!DOCTYPE feed [<!ATTLIST entry term CDATA "default"><!ENTITY e "x">]>',
    "<!DOCTYPE feed>",
    "<!DOCTYPE feed []>",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("reference", ["", "&e;"])
@pytest.mark.parametrize("dtd", DTDS)
def test_document_type_is_rejected_and_nothing_is_opened(
    listener: socket.socket, tmp_path: Path, dtd: str, reference: str, encoding: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("<!ENTITY e 'the secret'>")
    os.utime(secret, (0, 1))  # reading the file would change atime
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    head += dtd.replace("{url}", url_of(listener)).replace("{file}", secret.as_uri())
    entry = f"<entry><title>{reference}</title></entry>"

    with pytest.raises(InvalidResponse) as refused:
        parse_feed(feed(entry, declaration=head).decode().encode(encoding))
    assert "the secret" not in str(refused.value)
    assert secret.stat().st_atime == 0
    assert_untouched(listener)


def test_inclusions_and_schemas_are_not_loaded(listener: socket.socket, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    include = "".join(
        f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{place}" parse="text"/>'
        for place in (secret.as_uri(), url_of(listener))
    )
    url = url_of(listener)
    schema = f'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="{ATOM} {url}"'
    styles = f'<?xml version="1.0"?><?xml-stylesheet href="{url}" type="text/xsl"?>'

    entry = one(f"<title {schema}>a{include}b</title>", declaration=styles)
    assert entry.title == "ab"
    assert_untouched(listener)


def _create_entity_bomb(depth: int, width: int) -> str:
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * width if n else "ha"}">' for n in range(depth)
    )
    return f"<!DOCTYPE feed [{entities}]>"


BOMBS = {
    "billion laughs": (_create_entity_bomb(10, 10), "&e9;"),
    "deep laughs": (_create_entity_bomb(60, 2), "&e59;"),
    "quadratic": (f'<!DOCTYPE feed [<!ENTITY q "{"a" * 50_000}">]>', "&q;" * 50_000),
    "endless": ('<!DOCTYPE feed [<!ENTITY a "&b;"><!ENTITY b "&a;">]>', "&a;"),
    "parameters": (
        '<!DOCTYPE feed [<!ENTITY % a "aaaaaaaaaa">'
        + "".join(f"<!ENTITY % b{n} '%a;'>" for n in range(1000))
        + "]>",
        "",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("place", ["text", "attribute"])
def test_entity_expansion_is_rejected(name: str, place: str) -> None:
    dtd, references = BOMBS[name]
    inside = {
        "text": f"<title>{references}</title>",
        "attribute": f'<category term="{references}"/>',
    }[place]
    body = feed(f"<entry>{inside}</entry>", declaration=f'<?xml version="1.0"?>{dtd}')

    def parse() -> None:
        with pytest.raises(InvalidResponse):
            parse_feed(body)

    assert_cpu_below(1, parse)


@pytest.mark.parametrize(
    "inside",
    [
        "<b>" * 100_000,
        "<b>" * 5_000 + "</b>" * 5_000,
        "x" * 20_000_000,
        f'<b c="{"x" * 20_000_000}"/>',
        f"<!--{'x' * 20_000_000}-->",
        f"<{'b' * 20_000_000}/>",
    ],
    ids=["unclosed", "deep", "text", "attribute", "comment", "name"],
)
def test_oversized_documents_are_rejected_quickly(inside: str) -> None:
    body = feed(f"<entry><title>{inside}</title></entry>")

    def parse() -> None:
        with pytest.raises(InvalidResponse):
            parse_feed(body)

    assert_cpu_below(2, parse)


LONG_RUN = "e" + "\u0301" * 48_000


@pytest.mark.parametrize(
    ("part", "field", "expected"),
    [
        ("<title>{}</title>", "title", "x" * 5_000),
        ("<summary>{}</summary>", "summary", "x" * 20_000),
        ("<arxiv:comment>{}</arxiv:comment>", "comment", "x" * 5_000),
        ("<arxiv:journal_ref>{}</arxiv:journal_ref>", "journal", "x" * 5_000),
        ("<arxiv:doi>10.5555/{}</arxiv:doi>", "dois", []),
        ("<author><name>{}</name></author>", "authors", ["x" * 1_000]),
        ('<category term="{}"/>', "categories", []),
        ('<arxiv:primary_category term="{}"/>', "primary_category", None),
        ('<link href="{}"/>', "links", []),
        ('<link href="a" title="{}"/>', "links", [Link("a", title="x" * 100)]),
        ("<id>http://arxiv.org/abs/{}</id>", "arxiv_id", None),
        ("<published>{}</published>", "published", None),
    ],
)
def test_length_of_every_field_is_bounded(part: str, field: str, expected: object) -> None:
    found = parse_feed(feed(f"<entry>{part.format('x' * 30_000)}</entry>"))

    assert getattr(found.entries[0], field) == expected
    assert len(found.warnings) == 1
    assert "too much text" in found.warnings[0]


@pytest.mark.parametrize(
    ("part", "field", "number"),
    [
        ("<author><name>A</name></author>", "authors", 10_000),
        ("<arxiv:doi>10.5555/{}</arxiv:doi>", "dois", 100),
        ('<category term="cs.SE"/>', "categories", 100),
        ('<link href="a"/>', "links", 100),
    ],
)
def test_number_of_items_is_bounded(part: str, field: str, number: int) -> None:
    parts = "".join(part.format(index) for index in range(number + 1))
    found = parse_feed(feed(f"<entry>{parts}</entry>"))

    assert len(getattr(found.entries[0], field)) == number
    assert len(found.warnings) == 1


def test_number_of_affiliations_is_bounded() -> None:
    places = "<arxiv:affiliation>P</arxiv:affiliation>" * 101
    entry = one(f"<author><name>A</name>{places}</author>")

    assert entry.affiliations == [["P"] * 100]


@pytest.mark.parametrize("title", ["x" * 200_001, "x" * 4_000_000])
def test_title_of_feed_that_is_too_long_is_ignored(title: str) -> None:
    long_link = f'<link href="{title * 5}"/>' if len(title) < 10**6 else ""
    found = parse_feed(feed(title=f"arXiv Query: {title}", link=long_link))

    assert (found.query, found.link) == (None, None)
    assert len(found.warnings) == 1


def test_one_warning_names_all_fields_that_were_cut() -> None:
    long = "x" * 30_000
    entry = f"<entry><title>{long}</title><summary>{long}</summary></entry>"
    found = parse_feed(feed(*[entry] * 50))

    assert [text.rpartition(" cut in ")[2] for text in found.warnings] == ["summary, title"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG_RUN, "e" + "\u0301" * 30),
        (LONG_RUN[:400] + "x" + "\u0308" * 31, "e" + "\u0301" * 30 + "x"),
        ("\u0301" * 20 + "\u0653" * 20, "\u0301" * 20 + "\u0653" * 10),
        ("a" + "\u0301" * 30, "a" + "\u0301" * 30),
        ("\u2500" * 100, "\u2500" * 100),
        ("\u0915\u094d\u0937" * 50, "\u0915\u094d\u0937" * 50),
    ],
)
def test_runs_of_combining_characters_are_cut(text: str, expected: str) -> None:
    entry = one(f"<summary>{text}</summary><title>{text}</title>")

    assert entry.summary.startswith(expected)
    assert entry.title.startswith(expected)
    assert len(entry.summary) <= max(len(expected), 2 * 31)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 6_000,
        "math/" + "1" * 8,
        "hep-th/990100",
        "2405.012345",
        "2405.\u0661\u0662\u0663\u0664\u0665",
        "2405.01234v00001",
        f"{'a' * 30}/9901001",
        "2405.01234/extra",
    ],
)
def test_id_that_is_not_of_arxiv_is_none(text: str) -> None:
    assert identified(f"http://arxiv.org/abs/{text}") == (None, None)


def test_entries_beyond_the_requested_number_are_counted_only() -> None:
    found = parse_feed(demo_feed.render(generate(50)), 7)

    assert found.entries == parse_feed(demo_feed.render(generate(50))).entries[:7]
    assert found.num_ignored == 43


def test_parsing_ends_at_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        parse_feed(WHOLE, deadline=time.monotonic() - 1)
    endless = feed(*["<entry/>"] * 2_000_000)

    def parse() -> None:
        with pytest.raises(TimeoutError):
            parse_feed(endless, deadline=time.monotonic() + 0.2)

    assert_cpu_below(1, parse)  # of several


# prints the peak of the resident memory in MiB
MEASURE = """
import re, sys
from service import arxiv_xml, untrusted_xml
head = (b'<feed xmlns="http://www.w3.org/2005/Atom" xmlns:o="http://a9.com/-/spec/opensearch/1.1/">'
        b'<title>arXiv Query: x</title><o:totalResults>3</o:totalResults>')
before, part, after, size = (eval(text) for text in sys.argv[1:])
body = head + before + part * (size // len(part)) + after + b'</feed>'
try:
    arxiv_xml.parse_feed(bytearray(body), 2000, 60 + __import__("time").monotonic())
except (untrusted_xml.InvalidResponse, TimeoutError):
    pass
print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("before", "part", "after", "size"),
    [
        (b"", b"<entry/>", b"", 2**25),
        (b"<entry/>", b"<x/>", b"<entry/>", 2**25),
        (b"<entry/>", b"<x/>a", b"<entry/>", 2**25),
        (b"<entry>", b"<author><name>ab</name></author>", b"</entry>", 2**25),
        (b"<entry><a ", b'b="1" ', b"/></entry>", 2**25),
        (b"", b"<entry><feed/></entry>", b"", 2**25),
        (b"<entry>", b"<b>", b"", 2**25),
        (b"<title>", b"x" * 1024, b"</title>", 2**22),
        (b"", b"x" * 1024, b"", 2**25),
        (b"", b" " * 1024, b"", 2**25),
        (b"<entry>\x01</entry>", b"<entry/>", b"", 2**25),
    ],
    ids=[
        *("entries", "elements between", "mixed", "authors", "attributes", "feeds", "nesting"),
        *("title", "text", "spaces", "repaired"),
    ],
)
@pytest.mark.thorough
def test_memory_for_a_hostile_feed_is_bounded(
    before: bytes, part: bytes, after: bytes, size: int
) -> None:
    command = [sys.executable, "-c", MEASURE, *map(repr, (before, part, after, size))]
    measured = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    assert int(measured.stdout) < 256


def test_papers_of_large_collaborations_are_parsed_completely() -> None:
    author = (
        "<author><name>Ada B. Name{0}</name>"
        "<arxiv:affiliation>Place {0}</arxiv:affiliation></author>"
    )
    authors = "".join(author.format(number) for number in range(3000))
    entry = f"<entry><id>http://arxiv.org/abs/2101.00001v1</id>{authors}</entry>"
    found = parse_feed(feed(*[entry] * 60))

    assert {len(entry.authors) for entry in found.entries} == {3000}
    assert found.warnings == []


def test_paper_with_thousands_of_authors_is_parsed() -> None:
    author = "<author><name>A{0}</name><arxiv:affiliation>P{0}</arxiv:affiliation></author>"
    entry = one(*(author.format(n) for n in range(2000)))

    assert entry.authors == [f"A{n}" for n in range(2000)]
    assert entry.affiliations == [[f"P{n}"] for n in range(2000)]


def test_largest_response_is_parsed_quickly() -> None:
    papers = generate(2000)
    body = demo_feed.render(papers)

    found = parse_feed(body)
    assert_cpu_below(3, lambda: parse_feed(body))
    assert [entry.arxiv_id for entry in found.entries] == [paper.arxiv_id for paper in papers]


# Properties


def rendered(entry: Entry, order: random.Random | None = None, prefixes: Prefixes = USUAL) -> str:
    """Return an entry as XML with its elements in the given order.

    Repeated elements keep their relative order, which has a meaning.
    """
    a, x = prefixes.atom, prefixes.arxiv

    def text(prefix: str, tag: str, value: str | None) -> list[str]:
        return [] if value is None else [f"<{prefix}{tag}>{escape(value)}</{prefix}{tag}>"]

    name = f"http://arxiv.org/abs/{entry.arxiv_id}{f'v{entry.version}' if entry.version else ''}"
    kinds = [
        text(a, "id", name if entry.arxiv_id else None),
        text(a, "title", entry.title),
        text(a, "summary", entry.summary),
        text(a, "published", entry.published.isoformat() if entry.published else None),
        text(a, "updated", entry.updated.isoformat() if entry.updated else None),
        text(x, "comment", entry.comment),
        text(x, "journal_ref", entry.journal),
        [part for doi in entry.dois for part in text(x, "doi", doi)],
        [
            f"<{a}author>{''.join([*text(a, 'name', author)])}"
            f"{''.join(part for place in places for part in text(x, 'affiliation', place))}"
            f"</{a}author>"
            for author, places in zip(entry.authors, entry.affiliations, strict=True)
        ],
        [f"<{a}category term={quoteattr(term)}/>" for term in entry.categories],
        [
            f"<{x}primary_category term={quoteattr(term)}/>"
            for term in [entry.primary_category]
            if term
        ],
        [
            f"<{a}link {' '.join(f'{k}={quoteattr(v)}' for k, v in attributes)}/>"
            for link in entry.links
            for attributes in [[(k, v) for k, v in structs.asdict(link).items() if v is not None]]
        ],
    ]
    turns = [kind for kind, parts in enumerate(kinds) for _ in parts]
    if order:
        order.shuffle(turns)
    waiting = [iter(parts) for parts in kinds]
    inside = "\n".join(next(waiting[kind]) for kind in turns)
    return f"<{a}entry>{inside}</{a}entry>"


_LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"])
_TEXT = st.text(_LETTERS, max_size=30).map(lambda text: " ".join(text.split()))
_SOME = _TEXT.filter(bool)
_MOMENT = st.datetimes(datetime(1986, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_HREF = st.from_regex(r"https?://[a-z.]{1,9}/[a-z0-9?&='<%]{0,9}", fullmatch=True)
_NAME = _SOME.filter(lambda name: any(map(str.isalnum, name)) and {*":\uff1a"}.isdisjoint(name))
"""Others are not stored as names."""
_ID = st.from_regex(
    r"(1[0-9])(0[1-9]|1[0-2])\.[0-9]{4,5}|(math|hep-th)/(9[1-9]|0[0-6])(0[1-9]|1[0-2])[0-9]{3}",
    fullmatch=True,
)
_DOI = st.from_regex(r"10\.[0-9]{4}/[a-z0-9_.<>()]{0,9}[a-z]", fullmatch=True)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    authors = draw(st.lists(_NAME, max_size=4))
    arxiv_id = draw(st.none() | _ID)
    dois = draw(st.lists(_DOI, max_size=3, unique=True))
    links = st.builds(Link, _HREF, st.none() | _SOME, st.none() | _SOME, st.none() | _SOME)
    return Entry(
        arxiv_id=arxiv_id,
        version=draw(st.none() | st.integers(1, 999)) if arxiv_id else None,
        authors=authors,
        affiliations=[draw(st.lists(_SOME, max_size=2)) for _ in authors],
        title=draw(_TEXT),
        journal=draw(st.none() | _SOME),
        summary=draw(_TEXT),
        comment=draw(st.none() | _SOME),
        published=draw(st.none() | _MOMENT),
        updated=draw(st.none() | _MOMENT),
        dois=dois,
        primary_category=draw(st.none() | _SOME),
        categories=draw(st.lists(_SOME, max_size=3)),
        links=draw(st.lists(links, max_size=4))
        + [Link(format_doi_url(doi), "related", "doi") for doi in dois],
    )


@settings(deadline=None)
@given(
    st.lists(entries(), max_size=3),
    st.randoms(use_true_random=False),
    st.sampled_from([USUAL, *PREFIXES]),
)
def test_elements_are_parsed_in_any_order(
    papers: list[Entry], order: random.Random, prefixes: Prefixes
) -> None:
    written = [rendered(paper, order, prefixes) for paper in papers]

    found = parse_feed(feed(*written, link="", prefixes=prefixes)).entries
    assert list(map(without_sent, found)) == papers


def parsed_or_refused(body: bytes) -> None:
    try:
        found = parse_feed(body)
    except InvalidResponse as error:
        assert 0 < len(str(error)) < 400  # noqa: PT017
    else:
        assert 0 <= found.total <= INT4_MAX


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_parsed_or_rejected(body: bytes) -> None:
    parsed_or_refused(body)


@settings(max_examples=200)
@given(
    st.sampled_from([WHOLE, OLD_FEED]),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_feed_is_parsed_or_rejected(
    body: bytes, damages: list[tuple[float, int, bytes]]
) -> None:
    for place, length, instead in damages:
        at = int(place * len(body))
        body = body[:at] + instead + body[at + length :]

    parsed_or_refused(body)


_PARTS = re.findall(rb"<[^>]*>|[^<]+", WHOLE)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(_PARTS), max_size=30), st.randoms(use_true_random=False))
def test_misplaced_elements_are_parsed_or_rejected(
    extra: list[bytes], order: random.Random
) -> None:
    parts = [*_PARTS]
    for part in extra:
        parts.insert(order.randrange(1, len(parts)), part)

    parsed_or_refused(b"".join(parts))


# Feeds of the stand-in


def create_expected_entry(paper: Paper, family: demo_feed.Family) -> Entry:
    """Return the entry expected for a paper of the stand-in, without its links."""

    def collapse_spaces(text: str) -> str:
        return re.sub(r"\s+", " ", text).strip()

    return Entry(
        arxiv_id=paper.arxiv_id,
        version=paper.version,
        authors=[collapse_spaces(author.name) for author in paper.authors],
        affiliations=[
            [collapse_spaces(place) for place in author.affiliations] for author in paper.authors
        ],
        title=collapse_spaces(paper.title),
        journal=paper.journal_ref and collapse_spaces(paper.journal_ref),
        summary=collapse_spaces(paper.abstract),
        comment=paper.comment and collapse_spaces(paper.comment),
        published=paper.submitted,
        updated=paper.updated,
        dois=list(paper.dois),
        primary_category=paper.categories[0],
        categories=[*paper.categories, *(paper.classes if family == "old" else ())],
        links=[],
    )


@pytest.mark.parametrize("family", ["new", "old"])
def test_generated_papers_are_parsed_back(family: demo_feed.Family) -> None:
    papers = generate(300)
    found = parse_feed(demo_feed.render(papers, query='ti:"a b"', total=5000, family=family))

    assert found.total == 5000
    assert found.error is None
    assert found.query == 'search_query=ti:"a b"&id_list=&start=0&max_results=300'
    assert found.link
    for entry, paper in zip(found.entries, papers, strict=True):
        assert normalize_entry(structs.replace(entry, links=[], sent=None)) == normalize_entry(
            create_expected_entry(paper, family)
        )
        name = f"{paper.arxiv_id}v{paper.version}"
        assert [link.href.split("://")[1] for link in entry.links if link.title != "doi"] == [
            f"arxiv.org/abs/{name}",
            f"arxiv.org/pdf/{name}",
        ]
        dois = [link.href.split("/", 3)[3] for link in entry.links if link.title == "doi"]
        assert list(map(unquote, dois)) == entry.dois


def normalize_entry(entry: Entry) -> Entry:
    """Return the entry in whole seconds and without the line breaks of old feeds after hyphens."""
    assert entry.published
    assert entry.updated
    texts = {
        name: text and text.replace("- ", "-")
        for name in ("title", "summary", "comment", "journal")
        for text in [getattr(entry, name)]
    }
    moments = {
        "published": entry.published.replace(microsecond=0),
        "updated": entry.updated.replace(microsecond=0),
    }
    return structs.replace(entry, **texts, **moments)


# Captured feeds


@captured
def test_captured_feed_matches_catalogue(path: Path) -> None:
    row = catalogued(path)
    found = parse_feed(path.read_bytes())

    assert len(found.entries) == int(row["entries"])
    assert found.total == int(row["totalResults"])
    is_error = row["special"].startswith("ERROR ENTRY: ")
    assert found.error == (
        row["special"].removeprefix("ERROR ENTRY: ").split(";")[0] if is_error else None
    )
    prefix, colon, query = row["title"].partition(" Query: ")
    assert found.query == (query if colon else None)
    assert prefix.lower().startswith("arxiv")


@captured
def test_captured_paper_has_mandatory_fields(path: Path) -> None:
    found = parse_feed(path.read_bytes())
    if found.error is not None:
        assert all(entry.arxiv_id is None for entry in found.entries)
        return

    for entry in found.entries:
        assert entry.arxiv_id
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}", entry.arxiv_id)
        assert entry.version
        assert entry.title
        assert entry.authors
        assert entry.summary
        assert entry.published
        assert entry.updated
        assert entry.published <= entry.updated
        assert entry.primary_category in entry.categories
        assert {link.rel for link in entry.links} >= {"alternate"}
        texts = [entry.title, entry.summary, entry.comment or "", entry.journal or ""]
        texts += [
            *entry.authors,
            *entry.categories,
            *entry.dois,
            *chain.from_iterable(entry.affiliations),
        ]
        for text in texts:
            assert text == text.strip()
            assert not re.search(r"\s\s|[^\S ]", text)


@dataclass
class SecondReading:
    """Parse a feed with the standard library."""

    element: ET.Element
    names: dict[str, str] = field(default_factory=lambda: {"a": ATOM, "x": ARXIV})

    def texts(self, path: str) -> list[str]:
        found = self.element.findall(path, self.names)
        return [re.sub(r"\s+", " ", "".join(each.itertext())).strip() for each in found]

    def text(self, path: str) -> str | None:
        return (self.texts(path) or [None])[0]  # type: ignore[list-item]

    def terms(self, path: str) -> list[str]:
        return [each.attrib["term"] for each in self.element.findall(path, self.names)]

    def moment(self, path: str) -> datetime | None:
        text = self.text(path)
        if not text:
            return None
        offset = timedelta()
        if not text.endswith("Z"):
            sign, hours, minutes = text[19], int(text[20:22]), int(text[23:25])
            offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
        local = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
        return local.replace(tzinfo=timezone(offset))

    def entry(self) -> Entry:
        name = (self.text("a:id") or "").split("arxiv.org/abs/")
        arxiv_id, _, version = name[1].rpartition("v") if len(name) > 1 else (None, "", "")
        authors = [SecondReading(author) for author in self.element.findall("a:author", self.names)]
        return Entry(
            arxiv_id=arxiv_id,
            version=int(version) if version else None,
            authors=[author.text("a:name") or "" for author in authors],
            affiliations=[author.texts("x:affiliation") for author in authors],
            title=self.text("a:title") or "",
            journal=self.text("x:journal_ref"),
            summary=self.text("a:summary") or "",
            comment=self.text("x:comment"),
            published=self.moment("a:published"),
            updated=self.moment("a:updated"),
            dois=self.texts("x:doi"),
            primary_category=(self.terms("x:primary_category") or [None])[0],  # type: ignore[list-item]
            categories=self.terms("a:category"),
            links=[
                Link(
                    link["href"].replace("http://dx.doi.org/", "https://doi.org/"),
                    link.get("rel"),
                    link.get("title"),
                    link.get("type"),
                )
                for link in (each.attrib for each in self.element.findall("a:link", self.names))
            ],
        )


@captured
def test_captured_paper_matches_feedparser(path: Path) -> None:
    body = path.read_bytes()
    second = SecondReading(ET.fromstring(body))  # noqa: S314 - trusted files

    found = [
        SecondReading(entry).entry() for entry in second.element.findall("a:entry", second.names)
    ]
    assert list(map(without_sent, parse_feed(body).entries)) == found
