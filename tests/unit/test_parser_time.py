"""Every parser of client input and of arXiv's text takes time in proportion to its input.

A parser that a new module adds belongs into PARSERS, with the input that is worst for it.
"""

import json
import logging
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from html import escape
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from service import arxiv_query, arxiv_query_parser, arxiv_xml, paper_query, timestamps
from service.api_keys import ApiKeyCache, Rate
from service.api_query import MAX_QUERY_CHARS, parse_api_query, parse_parameters
from service.arxiv_query import encode_search, find_differences
from service.errors import LimitExceeded, ServiceError
from service.formats import Reference, select_format
from service.formats.arxiv_feed import render_entries
from service.formats.atom import Atom, FeedHead
from service.formats.bibtex import BibTeX
from service.formats.latex import escape_latex
from service.formats.ris import Ris
from service.formats.sanitize import to_single_line
from service.formats.tabular import Csv
from service.handlers.cache_headers import bypasses_cache
from service.handlers.params import parse_categories
from service.highlights import highlight, highlight_names
from service.json_request import decode_body
from service.lists import decode_cursor
from service.logging import start_logging
from service.metadata.arxiv_ids import parse_arxiv_id
from service.metadata.categories import spell_category
from service.metadata.dois import parse_dois
from service.metadata.person_names import format_surname_first, is_group, split_authors
from service.metadata.tex import tex_to_text
from service.metadata.withdrawal import is_withdrawn
from service.middleware.allowed_hosts import AllowedHostsMiddleware
from service.middleware.api_keys import ApiKeyMiddleware
from service.middleware.compression import choose_encoding
from service.middleware.conditional import matches_etag
from service.middleware.query_params import QueryParamsMiddleware
from service.middleware.request_log import RequestLogMiddleware
from service.middleware.request_timeout import RequestTimeoutMiddleware
from service.mirror import oai_xml, rss_xml
from service.mirror.snapshot import parse_line
from service.mirror.text_form import convert_tex, split_raw_authors, unescape
from service.models.arxiv import ApiQuery, Entry, Feed, Search, SentAuthor, SentFields
from service.models.requests import SearchRequest, WriteResultsRequest
from service.paper_query import find_terms
from service.request_target import begins_for_proxy, resolve_target
from service.search_index.analysis import locate_words, split_words
from service.search_params import MAX_TERM_LENGTH
from service.word_tsquery import build_word_tsqueries, unaccent_text
from tests.support.measure import assert_linear, measure_cpu, retry

LIMIT = 0.060
"""Seconds for an input of the largest size that the parser gets, on the reference machine.

Most parsers take a tenth of it, and none more than a third.
"""
REFERENCE_TIME = 0.0024
"""Seconds that `parse_reference` takes on a core of 2024 without other load."""
SIZES = (3_750, 15_000)
"""Bytes; the smaller one first, so that a parser of exponential time fails soon."""
LONGEST = 60_000
NOISE = 0.008
"""Seconds; shorter times are not compared: memory that a larger input needs takes time, too."""
REFERENCE_WORD, REFERENCE_TEXT = re.compile(r"(\w+) "), "word " * 4000


Inputs = dict[str, Callable[[int], Any]]
"""Functions that make an input of about so many bytes, by name."""


class Parser(NamedTuple):
    """A parser and the inputs that are worst for it."""

    name: str
    parse: Callable[[Any], object]
    inputs: Inputs
    bound: int = LONGEST
    """Bytes of the longest input that the parser gets."""


class Row(msgspec.Struct):
    text: str


def repeat(text: str, *, before: str = "", after: str = "") -> Callable[[int], str]:
    """Make inputs that repeat a text."""
    return lambda size: before + text * (size // len(text)) + after


def encoded(make_text: Callable[[int], str]) -> Callable[[int], bytes]:
    return lambda size: make_text(size).encode()


def in_long_names(make_text: Callable[[int], str]) -> Callable[[int], str]:
    """Put the JSON into objects whose names fill half of the input."""
    name = '{"%s":' % ("a" * 93)
    return lambda size: name * (size // 200) + make_text(size // 2) + "}" * (size // 200)


def in_list(make_text: Callable[[int], str]) -> Callable[[int], list[str]]:
    return lambda size: [make_text(size)]


def change(change_one: Callable[[Any], Callable[[int], Any]], inputs: Inputs) -> Inputs:
    return {name: change_one(make) for name, make in inputs.items()}


# Headers and the query string, which only middleware reads


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    with suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("the coroutine waits")


async def receive() -> Any:
    raise AssertionError("nothing is received")


async def send(_: Any) -> None:
    pass


async def respond(_: Scope, __: Receive, ___: Send) -> None:
    pass


def create_scope(query: str = "", **headers: str) -> Any:
    return {
        "type": "http",
        "method": "GET",
        "path": "/papers",
        "raw_path": b"/papers",
        "path_template": "/papers",
        "path_params": {},
        "route_handler": SimpleNamespace(opt={}),
        "query_string": query.encode("latin-1"),
        "headers": [
            (name.replace("_", "-").encode(), text.encode("latin-1"))
            for name, text in headers.items()
        ],
        "client": ("192.0.2.1", 1),
    }


def pass_header(middleware: ASGIMiddleware, name: str) -> Callable[[str], None]:
    """Send a request with this header through the middleware."""
    app: ASGIApp = respond
    return lambda text: run(middleware.handle(create_scope(**{name: text}), receive, send, app))


def pass_query(text: str) -> None:
    run(QueryParamsMiddleware(lambda _: {}).handle(create_scope(text), receive, send, respond))


def check_cache_control(text: str) -> bool:
    return bypasses_cache(Request(create_scope(cache_control=text)))


async def find_no_key(_: list[bytes]) -> dict[bytes, Any]:
    return {}


KEYS = ApiKeyMiddleware(ApiKeyCache(find_no_key), Rate(10**6, 1))


# arXiv's responses


def compare_title(title: str) -> list[str]:
    sent = {"search_query": 'ti:"a"', "id_list": "", "start": "0", "max_results": "10"}
    feed = Feed(query=title, link=None, total=1, entries=[], error=None)
    return find_differences(sent, feed)


def compare_link(query: str) -> list[str]:
    sent = {"search_query": 'ti:"a"', "id_list": "", "start": "0", "max_results": "10"}
    link = f"https://arxiv.org/api/query?search_query={query}"
    feed = Feed(query=None, link=link, total=1, entries=[], error=None)
    return find_differences(sent, feed)


def compare_query(query: str) -> list[str]:
    sent = {"search_query": query, "id_list": "", "start": "0", "max_results": "10"}
    return find_differences(sent, Feed(query=query, link=None, total=1, entries=[], error=None))


def read_api_ids(id_list: str) -> ApiQuery:
    return parse_api_query({"id_list": id_list})


def make_feed(entry: Callable[[int], str]) -> Callable[[int], bytes]:
    head = (
        '<feed xmlns="http://www.w3.org/2005/Atom"'
        ' xmlns:a="http://arxiv.org/schemas/atom"'
        ' xmlns:o="http://a9.com/-/spec/opensearch/1.1/"><o:totalResults>1</o:totalResults>'
    )
    return lambda size: f"{head}<entry>{entry(size)}</entry></feed>".encode()


def make_oai_page(element: str) -> Callable[[Callable[[int], str]], Callable[[int], bytes]]:
    """Put texts into an element of a record."""
    head = (
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
        "<responseDate>2026-11-29T20:59:13Z</responseDate><ListRecords><record><header>"
        "<identifier>0907.2974</identifier><datestamp>2015-12-31</datestamp></header><metadata>"
        '<arXivRaw><id>0907.2974</id><version version="v1"><date>Fri, 17 Jul 2009 03:36:56 GMT'
        f"</date></version><categories>cs.AI</categories><{element}>"
    )
    end = "<title>a</title></arXivRaw></metadata></record></ListRecords></OAI-PMH>"
    return lambda make: (
        lambda size: f"{head}{escape(make(size))}</{element}>{end}".encode("utf-8", "replace")
    )


def make_rss_item(make: Callable[[int], str]) -> Callable[[int], bytes]:
    head = (
        '<rss xmlns:arxiv="http://arxiv.org/schemas/atom"><channel>'
        "<lastBuildDate>Thu, 28 Nov 2024 14:47:20 +0000</lastBuildDate>"
        "<pubDate>Thu, 28 Nov 2024 00:00:00 -0500</pubDate><item><title>a</title>"
        "<guid>2411.17701</guid><category>cs.AI</category>"
        "<arxiv:announce_type>new</arxiv:announce_type><description>"
    )
    return lambda size: f"{head}{escape(make(size))}</description></item></channel></rss>".encode(
        "utf-8", "replace"
    )


def make_line(make: Callable[[int], str]) -> Callable[[int], bytes]:
    line = {
        "id": "0907.2974",
        "title": "a",
        "categories": "cs.AI",
        "update_date": "2015-12-31",
        "versions": [{"version": "v1", "created": "Fri, 17 Jul 2009 03:36:56 GMT"}],
    }
    return lambda size: json.dumps(
        line | {"authors_parsed": [[text] for text in make(size).split(",")]}
    ).encode()


def parse_oai_page(body: bytes) -> object:
    return oai_xml.parse_page(body, verb="ListRecords", metadata_prefix="arXivRaw")


# Output


def write_bibtex(text: str) -> bytes:
    return BibTeX().serialize([create_reference(text)])


def write_ris(text: str) -> bytes:
    return Ris().serialize([create_reference(text)])


def write_atom(text: str) -> bytes:
    head = FeedHead(title="", uri="", self_url="", updated=datetime.now(UTC))
    return Atom(head).serialize([create_reference(text)])


def write_api_feed(text: str) -> bytes:
    sent = SentFields(title=text, authors=[SentAuthor(text)], dois=[text])
    entry = Entry(
        arxiv_id="2101.00001",
        version=1,
        title="",
        authors=[],
        affiliations=[],
        journal=text,
        summary=text,
        comment=None,
        published=None,
        updated=None,
        dois=[],
        primary_category=None,
        categories=[],
        links=[],
        sent=sent,
    )
    return render_entries([entry])


def create_reference(text: str) -> Reference:
    return Reference(key="x", uri="urn:x", kind="paper", title="", authors=[text], dois=[text])


def write_csv(text: str) -> bytes:
    return Csv(("text",)).serialize([Row(text)])


def parse_body(body_type: type[msgspec.Struct]) -> Callable[[str], msgspec.Struct]:
    return lambda text: msgspec.convert(decode_body(text.encode()), body_type, strict=False)


def format_log_line(style: Any) -> Callable[[str], str]:
    def format_line(text: str) -> str:
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        try:
            with start_logging("INFO", style):
                formatter = root.handlers[0].formatter
        finally:
            root.handlers = handlers
            root.setLevel(level)
        assert formatter
        return formatter.format(logging.LogRecord("x", logging.INFO, "", 0, text, None, None))

    return format_line


MAX_QUERY = arxiv_query.MAX_QUERY_LENGTH
MAX_TIME, MAX_CURSOR, MAX_ID = 64, 1000, 100
MAX_CATEGORIES = 20 * 20
MAX_AUTHORS = 12_000  # 1,500 authors take 20 ms; longer lists occur, but no request waits for them
MAX_NAME, MAX_COMMENT, MAX_ABSTRACT = 1000, 5000, 20_000
MAX_MARKED = 10_000  # arXiv accepts abstracts of 1,920 characters

ACCEPT: Inputs = {
    "commas": repeat(","),
    "types": repeat("a/b,"),
    "weights": repeat("text/csv;q=0.1,"),
    "parameters": repeat(";a=b", before="text/csv"),
    "semicolons": repeat(";", before="text/csv"),
    "blanks": repeat(" ", before="text/csv", after="x"),
    "quotes": repeat('"', before="text/csv;a="),
    "digits": repeat("9", before="text/csv;q=0."),
}
QUERIES: Inputs = {
    "trailing blanks": repeat(" ", before="testing"),
    "leading blanks": repeat(" ", after="testing"),
    "blanks before an operator": repeat(" ", before="ti:a", after='AND"'),
    "open parentheses": repeat("("),
    "closing parentheses": repeat(")"),
    "nested parentheses": lambda size: "(" * (size // 2) + "ti:a" + ")" * (size // 2),
    "parentheses in a word": repeat("a()", before="ti:"),
    "open parentheses in a word": repeat("a(", before="ti:"),
    "quotes": repeat('"'),
    "pairs of quotes": repeat('""'),
    "an open quote": repeat("a", before='ti:"'),
    "date ranges": repeat("submittedDate:["),
    "a date range and blanks": repeat(" ", before="submittedDate:["),
    "a date range and digits": repeat("1", before="submittedDate:["),
    "blanks in a date range": repeat(" ", before="submittedDate:[1", after="TO 2"),
    "blanks before a date range": repeat(" ", before="submittedDate:", after="[1 TO 2"),
    "words": repeat("ti:a AND ", after="ti:a"),
    "words without operators": repeat("a "),
    "a long word": repeat("a"),
    "a long field": repeat("a", after=":"),
    "colons": repeat(":"),
    "fields": repeat("ti:"),
    "minus signs": repeat("-"),
    "minus signs before words": repeat("-a "),
    "plus signs": repeat("+"),
    "plus signs between words": repeat("ti:a+AND+"),
    "wildcards": repeat("*"),
    "operators": repeat("AND "),
    "negations": repeat("NOT ", after="a"),
    "backslashes": repeat("\\"),
    "underscores": repeat("_", before="doi:10.1/a"),
    "combining marks": repeat("\u0301", before="a"),
    "typographic quotes": repeat("\u201c"),
    "invisible characters": repeat("\u200b", before="a", after="b"),
    "dotted words": repeat("a-", after=".AI"),
}
NAMES: Inputs = {
    "initials": repeat("A. ", after="!"),
    "joined initials": repeat("A.", after="!"),
    "hyphenated initials": repeat("A.-", after="!"),
    "hyphens": repeat("-", before="A", after="!"),
    "words": repeat("Ada ", after="!"),
    "particles": repeat("van ", before="Ada ", after="!"),
    "a long word": repeat("a", before="A", after="!"),
    "commas": repeat(","),
    "colons": repeat(":"),
    "blanks": repeat(" ", before="Ada", after="Lovelace!"),
    "suffixes": repeat("Jr. ", before="Ada Lovelace "),
    "the": repeat("the "),
    "groups": repeat("team"),
    "braces": repeat("{"),
    "pairs of braces": repeat("{}"),
    "dots": repeat("."),
    "punctuation": repeat("!"),
    "punctuation and a letter": repeat("!", after="a"),
    "backslashes": repeat("\\"),
    "accents": repeat('{\\"a}'),
}
IDS: Inputs = {
    "digits": repeat("1"),
    "letters": repeat("a"),
    "hyphens": repeat("a-"),
    "slashes": repeat("/"),
    "a prefix and blanks": repeat(" ", before="arxiv:", after="x"),
    "prefixes": repeat("arxiv:"),
    "a host": repeat("a", before="https://", after=".arxiv.org/abs/2101.00001!"),
    "dots in the host": repeat("a.", after="arxiv.org/abs/2101.00001!"),
    "questions": repeat("?", before="https://arxiv.org/abs/2101.00001"),
    "endings": repeat(".pdf", before="https://arxiv.org/abs/2101.00001"),
    "slashes in a URL": repeat("/", before="https://arxiv.org/abs/", after="x\n"),
    "brackets": repeat("<"),
    "versions": repeat("v1", before="2101.00001"),
    "blanks at the end": repeat(" ", before="2101.00001"),
}
DOIS: Inputs = {
    "prefixes": repeat("10."),
    "DOIs": repeat("10.1000/a "),
    "DOIs separated by commas": repeat("10.1000/a,"),
    "commas": repeat(",", before="10.1000/a"),
    "commas and a letter": repeat(",", before="10.1000/a", after="b"),
    "resolvers": repeat("https://doi.org/"),
    "parentheses": repeat("(", before="10.1000/a"),
    "closing parentheses": repeat(")", before="10.1000/a"),
    "angle brackets": repeat("<", before="10.1000/a"),
    "blanks": repeat(" ", before="10.1000/a", after="x"),
    "digits": repeat("1", before="10.", after="/x"),
    "percent signs": repeat("%2f", before="10.1000/a"),
    "quotes": repeat('"', before="10.1000/a"),
    "dots": repeat(".", before="10.1000/a"),
}
TEX: Inputs = {
    "dollars": repeat("$"),
    "pairs of dollars": repeat("$ "),
    "runs of dollars": repeat("$$$ "),
    "opening braces": repeat("{"),
    "closing braces": repeat("}"),
    "nested braces": lambda size: "{" * (size // 2) + "}" * (size // 2),
    "pairs of braces": repeat("{}"),
    "backslashes": repeat("\\"),
    "backslashes and a letter": repeat("\\", after="a"),
    "escaped braces": repeat("\\{"),
    "formulas": repeat("\\("),
    "displayed formulas": repeat("\\["),
    "open formulas in braces": repeat("{$"),
    "dollars in nested braces": lambda size: "{" * 40 + "$" * size,
    "special characters": repeat("&%#_^"),
    "begin": repeat("\\begin"),
    "accents": repeat("\\'"),
    "accents and blanks": repeat(" ", before="\\'"),
    "accents in braces": repeat('{\\"{a}}'),
    "open accents": repeat('\\"{'),
    "commands": repeat("\\emph{"),
    "a long command": repeat("a", before="\\"),
    "blanks": repeat(" ", before="a", after="b"),
    "dashes": repeat("-"),
    "apostrophes": repeat("'"),
    "grave accents": repeat("`"),
    "tildes": repeat("~"),
    "control characters": repeat("\x00"),
    "surrogates": repeat("\ud800"),
}
COMMENTS: Inputs = {
    "letters": repeat("a"),
    "withdrawn": repeat("withdrawn "),
    "withdraw": repeat("withdraw "),
    "replaced": repeat("replaces "),
    "corrected": repeat("corrects a"),
    "versions": repeat("version "),
    "claims": repeat("claims of "),
    "comments": repeat("comment on "),
    "previous versions": repeat("previous version "),
    "this": repeat("this "),
    "has been": repeat("version 1 has been been "),
    "identifiers": repeat("arxiv:a, "),
    "a long identifier": repeat("a", before="arxiv:"),
    "negations": repeat("not "),
    "dots": repeat("."),
    "dots in words": repeat("a."),
    "blanks": repeat(" ", before="withdrawn", after="x"),
    "punctuation": repeat("!"),
    "commas": repeat("by the author, "),
    "pages": repeat("12 pages, "),
    "due to": repeat("due to an error "),
}
TIMES: Inputs = {
    "digits": repeat("1"),
    "a fraction": repeat("1", before="2026-11-23T20:15:00."),
    "blanks": repeat(" ", before="2026-11-23"),
    "blanks at the end": repeat(" ", before="2026-11-23T20:15:00"),
    "hyphens": repeat("-"),
    "colons": repeat("1:"),
}


HOSTS = AllowedHostsMiddleware(frozenset({"example.org"}), exempt_backend=True)
TIMEOUT = RequestTimeoutMiddleware()
LOG = RequestLogMiddleware()


def in_short_texts(make: Callable[[int], str]) -> Callable[[int], list[str]]:
    return lambda size: [make(20)] * (size // 20)


def in_id(make: Callable[[int], str]) -> Callable[[int], str]:
    return lambda size: f"<id>{escape(make(size))}</id>"


def in_title(make: Callable[[int], str]) -> Callable[[int], str]:
    return lambda size: f"search_query={make(size)}&id_list=&start=0&max_results=10"


def search_title(text: str) -> object:
    return encode_search(Search(title=text), "", 10)


def search_author(text: str) -> object:
    return encode_search(Search(author=text), "", 10)


def search_category(text: str) -> object:
    return encode_search(Search(category=(text,)), "", 10)


def search_ids(text: str) -> object:
    return encode_search(Search(id_list=(text,)), "", 10)


TERMS = find_terms(paper_query.parse_query('testing "a a" e and* ada van'), "title")


def mark_words(text: str) -> str | None:
    return highlight(text, TERMS)


def mark_names(text: str) -> list[str] | None:
    return highlight_names(text.split(","), TERMS)


def parse_start(text: str) -> int:
    return timestamps.parse_range_start(text, UTC)


def parse_end(text: str) -> int:
    return timestamps.parse_range_end(text, UTC)


def parse_cursor(text: str) -> object:
    return decode_cursor(text, "/papers?", (int, str, int))


HEADER: Inputs = ACCEPT | {
    "dots": repeat("a."),
    "hyphens": repeat("-", before="a"),
    "colons": repeat(":", before="a"),
    "digits and a letter": repeat("1", after="x"),
    "a bearer token": repeat("a", before="Bearer ag_"),
    "a bearer token after blanks": repeat(" ", before="Bearer", after="ag_"),
    "credentials of Basic": repeat("YTpi", before="Basic "),
    "colons in Basic": repeat("Ojo6", before="Basic "),
    "malformed credentials of Basic": repeat("=", before="Basic "),
    "letters in brackets": repeat("a", before="[", after="]"),
    "colons in brackets": repeat(":", before="[", after="]"),
    "no-cache": repeat("no-cache, "),
    "entity tags": repeat('"a",'),
    "weak entity tags": repeat('W/"a", '),
    "the start of a weak tag": repeat("W/"),
    "stars": repeat("*"),
}
QUERY_STRINGS: Inputs = {
    "separators": repeat("&"),
    "equals signs": repeat("="),
    "parameters": repeat("a=b&"),
    "a name": repeat("a"),
    "plus signs": repeat("+"),
    "percent signs": repeat("%"),
    "encoded characters": repeat("%41"),
    "invalid UTF-8": repeat("%ff"),
    "semicolons": repeat("a;"),
}
LINKS: Inputs = {
    "lists": repeat("&id_list="),
    "starts": repeat("&start="),
    "queries": repeat("&search_query="),
    "percent signs": repeat("%"),
}
ID_LISTS: Inputs = {
    "ids": repeat("2101.00001,"),
    "ids and blanks": repeat("2101.00001 "),
    "spaced prefixes": repeat("arXiv: "),
    "separated by commas": repeat(","),
    "separated by semicolons": repeat(";"),
}
CATEGORIES: Inputs = {
    "letters": repeat("a"),
    "hyphens": repeat("a-"),
    "dots": repeat("a."),
    "stars": repeat("*"),
}
CELLS: Inputs = {
    "blanks before a sign": repeat(" ", after="="),
    "blanks before a letter": repeat(" ", after="a"),
    "invisible characters": repeat("\u200b", after="a"),
    "signs": repeat("="),
    "line ends": repeat("\n"),
}
CURSORS: Inputs = {
    "letters": repeat("A"),
    "invalid characters": repeat("!"),
    "padding": repeat("="),
}
BODIES: Inputs = {
    "arrays": repeat("["),
    "objects": repeat('{"asked":'),
    "escapes": repeat("\\u0000", before='{"asked":{"title":"', after='"}}'),
    "digits": repeat("1", before='{"query_id":', after="}"),
    "results": repeat('{"authors":"a","title":"t"},', before='{"results":[', after="{}]}"),
    "a list in long names": in_long_names(repeat("0,", before="[", after='"\\u0000"]')),
}
ENTRIES: Inputs = {
    "links": repeat('<link href="https://doi.org/10.1/a"/>'),
    "names": repeat("<author><name>Ada</name></author>"),
    "colons": repeat("<author><name>:</name></author>"),
    "a long title": repeat("a ", before="<title>", after="</title>"),
    "blanks in a title": repeat(" ", before="<title>", after="</title>"),
    "elements in a title": repeat("<x/>", before="<title>", after="</title>"),
    "references": repeat("&amp;", before="<title>", after="</title>"),
    "digits in a date": repeat("2", before="<published>", after="</published>"),
    "categories": repeat('<category term="cs.AI"/>'),
    "blanks in nested elements": lambda size: "<a>" * 200 + " " * size + "</a>" * 200,
    "comments": repeat("<!-- -->"),
}

RAW_AUTHORS: Inputs = {
    "footnotes": repeat("\\thanks{"),
    "closed footnotes": repeat("\\thanks{a}"),
    "marks": repeat("*"),
    "marks before a letter": repeat("*", after="a"),
    "formulas": repeat("$^"),
    "exponents": repeat("^{"),
    "numbers": repeat("1, ", before="A ("),
    "numbers in parentheses": repeat("A (1), "),
    "numbers and a letter": repeat("1, ", before="A (", after="ab)"),
    "a long number": repeat("1", before="A (", after=")"),
    "list of affiliations": repeat("(1) Paris, ", before="A ((1) a, "),
    "short affiliations": repeat("1 a ", before="A (1 a, "),
    "open parentheses": repeat("("),
    "closing parentheses": repeat(")"),
    "pairs of parentheses": repeat("()"),
    "nested parentheses": lambda size: "A " + "(" * (size // 2) + ")" * (size // 2),
    "and": repeat("A and "),
    "commas": repeat("a,"),
    "et al": repeat("et al "),
    "suffixes": repeat("Jr, "),
}
"""Names in one text, with affiliations in parentheses."""
DUMPS: Inputs = {
    "line ends": repeat("\\n  "),
    "doubled backslashes": repeat("\\\\", after="\\n"),
    "Greek letters": repeat("\\alpha "),
    "Greek letters in braces": repeat("{\\alpha}"),
    "double braces": repeat("{{"),
    "closed double braces": repeat("{{a}}"),
}

TARGETS: Inputs = {
    "host": repeat("a.", before="http://"),
    "port": repeat("8", before="http://export.arxiv.org:"),
    "query": repeat("a=%2b&", before="http://export.arxiv.org/api/query?"),
    "blanks": repeat(" ", before="GET"),
    "method": repeat("G", after=" "),
}


def resolve_any_target(text: str) -> None:
    begins_for_proxy(text.encode())
    with suppress(LimitExceeded):
        resolve_target(text.encode(), frozenset({"*.example.org"}))


PARSERS = [
    Parser("Accept", lambda text: select_format(None, text), HEADER),
    Parser("Accept-Encoding", choose_encoding, HEADER),
    Parser("If-None-Match", lambda value: matches_etag(b'"b"', value), change(encoded, HEADER)),
    Parser("Cache-Control", check_cache_control, HEADER),
    Parser("target", resolve_any_target, TARGETS),
    Parser("Host", pass_header(HOSTS, "host"), HEADER),
    Parser("Request-Timeout", pass_header(TIMEOUT, "request_timeout"), HEADER),
    Parser("Authorization", pass_header(KEYS, "authorization"), HEADER),
    Parser("Proxy-Authorization", pass_header(KEYS, "proxy_authorization"), HEADER),
    Parser("X-Request-ID", pass_header(LOG, "x_request_id"), HEADER),
    Parser("query string", pass_query, QUERY_STRINGS),
    *(
        Parser(f"body as {body_type.__name__}", parse_body(body_type), BODIES)
        for body_type in (SearchRequest, WriteResultsRequest)
    ),
    Parser("query", arxiv_query_parser.parse_query, QUERIES, MAX_QUERY),
    Parser("query with fields", arxiv_query_parser.parse_fielded_query, QUERIES, MAX_QUERY),
    Parser("full text query", paper_query.parse_query, QUERIES | TEX),
    Parser("words of a filter", build_word_tsqueries, QUERIES | NAMES, MAX_TERM_LENGTH),
    Parser("normalized text", unaccent_text, QUERIES | NAMES | TEX, MAX_QUERY),
    Parser("words of a text", split_words, QUERIES | NAMES | TEX, MAX_ABSTRACT),
    Parser("places of words", locate_words, QUERIES | NAMES | TEX, MAX_MARKED),
    Parser("highlights", mark_words, QUERIES | TEX, MAX_MARKED),
    Parser("highlights in names", mark_names, QUERIES | NAMES | TEX, MAX_MARKED),
    Parser("title of a search", search_title, QUERIES | TEX, MAX_TERM_LENGTH),
    Parser("author of a search", search_author, QUERIES | NAMES, MAX_TERM_LENGTH),
    Parser("id", parse_arxiv_id, IDS, MAX_ID),
    Parser("id list", search_ids, IDS | ID_LISTS, MAX_QUERY),
    Parser("id list of arXiv's API", read_api_ids, IDS | ID_LISTS),
    Parser("query of arXiv's API", compare_query, QUERIES, MAX_QUERY_CHARS),
    Parser("parameters of arXiv's API", parse_parameters, change(encoded, QUERY_STRINGS)),
    Parser("category of a search", search_category, CATEGORIES),
    Parser("category", spell_category, CATEGORIES),
    Parser("category filter", parse_categories, change(in_list, CATEGORIES)),
    Parser("many categories", parse_categories, change(in_short_texts, CATEGORIES), MAX_CATEGORIES),
    Parser("start of a range", parse_start, TIMES, MAX_TIME),
    Parser("end of a range", parse_end, TIMES, MAX_TIME),
    Parser("time zone", timestamps.parse_zone, TIMES, MAX_TIME),
    Parser("cursor", parse_cursor, CURSORS, MAX_CURSOR),
    Parser("entry of a feed", arxiv_xml.parse_feed, change(make_feed, ENTRIES)),
    Parser("id of an entry", arxiv_xml.parse_feed, change(make_feed, change(in_id, IDS))),
    Parser("record of OAI-PMH", parse_oai_page, change(make_oai_page("abstract"), TEX | DUMPS)),
    Parser(
        "authors of OAI-PMH",
        parse_oai_page,
        change(make_oai_page("authors"), RAW_AUTHORS),
        MAX_AUTHORS,
    ),
    Parser("announcement", rss_xml.parse_feed, change(make_rss_item, TEX)),
    Parser("line of a snapshot", parse_line, change(make_line, NAMES | TEX), MAX_AUTHORS),
    Parser("authors in one text", split_raw_authors, RAW_AUTHORS | NAMES | TEX, MAX_AUTHORS),
    Parser("TeX as in arXiv's API", convert_tex, TEX | DUMPS),
    Parser("escapes of a dump", unescape, TEX | DUMPS),
    Parser("feed title", compare_title, change(in_title, QUERIES | LINKS), MAX_QUERY),
    Parser("feed link", compare_link, QUERIES | LINKS, MAX_QUERY),
    Parser("DOI", parse_dois, change(in_list, DOIS), MAX_COMMENT),
    Parser("many DOIs", parse_dois, change(in_short_texts, DOIS), MAX_COMMENT),
    Parser("author list", split_authors, change(in_list, NAMES)),
    Parser("many authors", split_authors, change(in_short_texts, NAMES)),
    Parser("person", format_surname_first, NAMES),
    Parser("group", is_group, NAMES),
    Parser("TeX", tex_to_text, TEX | NAMES, MAX_ABSTRACT),
    Parser("comment", is_withdrawn, COMMENTS, MAX_COMMENT),
    Parser("LaTeX", escape_latex, TEX, MAX_ABSTRACT),
    Parser("BibTeX", write_bibtex, NAMES, MAX_NAME),
    Parser("RIS", write_ris, NAMES),
    Parser("Atom", write_atom, NAMES),
    Parser("feed of arXiv's API", write_api_feed, NAMES | TEX | QUERIES),
    Parser("one line", to_single_line, TEX),
    Parser("CSV", write_csv, CELLS | TEX),
    Parser("text log", format_log_line("text"), CELLS | TEX, MAX_ABSTRACT),
    Parser("JSON log", format_log_line("json"), CELLS | TEX, MAX_ABSTRACT),
]


def parse_reference() -> None:
    """Do a fixed amount of work, to compare machines and their load."""
    for _ in range(3):
        REFERENCE_WORD.sub(lambda match: match[1].upper(), REFERENCE_TEXT)


class Timer:
    """Measures a parser with inputs that differ in each run, since some parsers cache."""

    def __init__(self, parse: Callable[[Any], object], make_input: Callable[[int], Any]) -> None:
        self._parse = parse
        self._make_input = make_input
        self._run = count()

    def parse(self, size: int) -> None:
        """Make and parse an input that was not parsed before."""
        self._parse_or_reject(self._make(size))

    def _make(self, size: int) -> Any:
        return self._make_input(size - next(self._run))

    def _parse_or_reject(self, data: Any) -> None:
        with suppress(ServiceError, ValueError, RecursionError):
            self._parse(data)

    def check_limit(self, size: int) -> None:
        """Raise AssertionError if a run takes too long for this machine."""
        taken = measure_cpu(partial(self._parse_or_reject, self._make(size)))
        if taken > LIMIT:  # other processes slow down both
            slowness = max(1, measure_cpu(parse_reference) / REFERENCE_TIME)
            assert taken <= LIMIT * slowness, f"{size} bytes: {taken:.4f} s"


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_parser_takes_time_in_proportion_to_its_input(parser: Parser) -> None:
    for make in parser.inputs.values():
        timer = Timer(parser.parse, make)
        for size in SIZES:
            assert_linear(timer.parse, size, noise=NOISE)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_parser_takes_milliseconds(parser: Parser) -> None:
    for make in parser.inputs.values():
        retry(partial(Timer(parser.parse, make).check_limit, parser.bound))
