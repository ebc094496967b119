"""Likely mistakes in searches that found nothing, each as a sentence with the correction."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from . import arxiv_query_parser as parser
from .arxiv_query_parser import Node, Term
from .metadata import categories
from .metadata.arxiv_ids import ArxivId, parse_arxiv_id
from .metadata.dois import parse_dois
from .metadata.person_names import format_given_first
from .models.arxiv import Search
from .query_spelling import shorten

MAX_CORRECTIONS = 10
MAX_WORDS = 100
"""Words of a text that are checked."""
FIRST_YEAR, LAST_YEAR = 1991, 2099
"""Four digits between them are probably a year; arXiv began in 1991."""

_PARAMETERS = ("author", "title", "journal", "abstract", "comment", "any")
"""The parameters of /arxiv that hold words."""
_QUERY_FIELDS = {"ti", "au", "abs", "co", "jr", "all"}
"""The fields of arXiv's query language that hold words."""
_DATED = {"journal", "comment", "jr", "co"}
"""Parameters and fields in which a year is an ordinary word."""
_OPERATORS = {"AND", "OR", "NOT", "ANDNOT"}

_PHRASE = re.compile(r'"[^"]*"')
_WORD = re.compile(r'[^\s"()]+')
_YEAR = re.compile(r"\d{4}", re.ASCII)
_FIELD = re.compile(
    r"(?:ti|title|au|author|abs|abstract|co|jr|cat|rn|id|doi|all|note):\S", re.IGNORECASE
)
_LITERAL_PLUS = re.compile(r"\w\+\w")
_ENCODED_SIGN = re.compile(r"%[0-9A-Fa-f]{2}")
_INNER_WILDCARD = re.compile(r"[*?]\w")
_NAME_SEPARATOR = re.compile(r";|\s(?:and|&)\s", re.IGNORECASE)
_SURNAME_FIRST = re.compile(r"(?P<surname>[^\W\d_][\w'-]+),? (?P<initials>(?:[A-Z]\.?[ -]?){1,3})")


class _Text(NamedTuple):
    """A text that holds words, with its parameter, and its field if that is `query`."""

    parameter: str
    field: str
    value: str


class _Remedies(NamedTuple):
    """The parameters or paths that select what is not a word."""

    paper: str
    query: str
    first_day: str
    last_day: str


_SEARCH = _Remedies("id_list=", "query=", "submitted_from", "submitted_to")
_LIST = _Remedies("/papers/", "/arxiv?query=", "since", "until")


def suggest_corrections(search: Search) -> list[str]:
    """Return likely mistakes in a valid search of arXiv."""
    texts = _create_texts({name: getattr(search, name) for name in _PARAMETERS})
    terms = _collect_terms(search.query)
    query_texts = [_Text("query", *term) for term in terms if term.field in _QUERY_FIELDS]
    return _limit(
        *(_check_syntax(text, "query") for text in texts),
        *(_check_words(text, _SEARCH) for text in [*texts, *query_texts]),
        _check_names(search.author or "", "query", "au", " AND "),
        *(_check_term_name(term.value) for term in terms if term.field == "au"),
        _check_categories(term.value for term in terms if term.field == "cat"),
    )


def suggest_list_corrections(
    q: str | None, author: str | None, title: str | None, journal: str | None
) -> list[str]:
    """Return likely mistakes in the filters of a list of papers."""
    texts = _create_texts({"author": author, "title": title, "journal": journal})
    return _limit(
        _check_operators(q or ""),
        *(_check_syntax(text, "q") for text in texts),
        *(_check_words(text, _LIST) for text in [*_create_texts({"q": q}), *texts]),
        _check_names(author or "", "q", "author", " "),
        _check_name_order(author or ""),
    )


def _create_texts(parameters: dict[str, str | None]) -> list[_Text]:
    return [_Text(name, name, value) for name, value in parameters.items() if value]


def _limit(*corrections: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(islice(chain(*corrections), MAX_CORRECTIONS)))


def _collect_terms(query: str | None) -> list[Term]:
    nodes: list[Node] = [parser.parse_query(query)] if query and query.strip() else []
    terms: list[Term] = []
    while nodes:
        node = nodes.pop()
        if isinstance(node, Term):
            terms.append(node)
        else:
            nodes += [node.right, node.left]
    return terms


def _check_syntax(text: _Text, language: str) -> Iterator[str]:
    """Find operators and fields in plain words; `language` is the parameter that has them."""
    words = text.value.split()
    operators = {word for word in words if word in _OPERATORS or word.lower() == "andnot"}
    if operators and not text.value.isupper():
        found = f"{text.parameter}: {_join(operators)} is searched as a word"
        yield f"{found}; use {language} for operators"
    fields = [word for word in words if _FIELD.match(word)]
    if fields:
        found = f"{text.parameter}: {shorten(fields[0])} is searched as words"
        yield f"{found}; use {language} for fields"


def _check_operators(q: str) -> Iterator[str]:
    words = dict.fromkeys(_WORD.findall(_PHRASE.sub(" ", q)))
    small = {word for word in words if word.upper() in _OPERATORS and not word.isupper()}
    if small:
        yield f"q: {_join(small)} is searched as a word; write operators in capital letters"
    for word in filter(_INNER_WILDCARD.search, words):
        yield f"q: {shorten(word)} is searched without the wildcard, which has to end a word"


def _check_words(text: _Text, remedies: _Remedies) -> Iterator[str]:
    """Find what is not a word; the whole text may be an identifier that contains spaces."""
    name, value = text.parameter, text.value.strip()
    if paper := parse_arxiv_id(value):
        yield _describe_paper(name, value, paper, remedies)
        return
    if _LITERAL_PLUS.search(value):
        yield f"{name}: contains literal plus signs; encode a space as + or %20, not as %2B"
    if _ENCODED_SIGN.search(value):
        yield f"{name}: contains percent-encoded characters; encode the value once, not twice"
    # a DOI may contain what separates words
    for doi in parse_dois([value]):
        yield _describe_doi(name, doi, remedies)
        value = value.replace(doi, " ")
    for word in _WORD.findall(value)[:MAX_WORDS]:
        yield from _check_word(text, word.strip(".,;-"), remedies)


def _check_word(text: _Text, word: str, remedies: _Remedies) -> Iterator[str]:
    name, plain = text.parameter, word.rpartition(":")[2]
    if paper := parse_arxiv_id(word):
        yield _describe_paper(name, word, paper, remedies)
    elif _is_year(plain) and text.field not in _DATED:
        dates = f"{remedies.first_day}={plain}-01-01 and {remedies.last_day}={plain}-12-31"
        yield f"{name}: {plain} is searched as a word; use {dates}"
    elif category := _find_category(plain):
        yield f"{name}: {plain} is searched as a word; use category={category}"


def _describe_paper(name: str, text: str, paper: ArxivId, remedies: _Remedies) -> str:
    arxiv_id = paper.name if paper.version is None else f"{paper.name}v{paper.version}"
    remedy = f"use {remedies.paper}{arxiv_id}"
    return f"{name}: {shorten(text)} is an identifier, but is searched as words; {remedy}"


def _describe_doi(name: str, doi: str, remedies: _Remedies) -> str:
    if paper := parse_arxiv_id(doi):
        return _describe_paper(name, doi, paper, remedies)
    remedy = f'use {remedies.query}doi:"{doi}"'
    return f"{name}: {shorten(doi)} is a DOI, but is searched as words; {remedy}"


def _is_year(word: str) -> bool:
    return bool(_YEAR.fullmatch(word)) and FIRST_YEAR <= int(word) <= LAST_YEAR


def _find_category(word: str) -> str | None:
    """Return the category that a word is, unless it is an ordinary word such as math."""
    name = categories.spell_category(word)
    return name if name in categories.CATEGORIES and not name.isalpha() else None


def _check_categories(values: Iterable[str]) -> Iterator[str]:
    """Check the categories in a query, which are sent to arXiv as they are."""
    for value in values:
        if categories.has_subject_classes(value) and value not in categories.CATEGORIES:
            yield f"query: cat:{value} does not include subject classes; write cat:{value}.*"
        elif not categories.is_known(value):
            alternatives = categories.describe_alternatives(value)
            yield f"query: {shorten(value)} is not a category; {alternatives}"


def _check_name_order(author: str) -> Iterator[str]:
    if match := _SURNAME_FIRST.fullmatch(author.strip()):
        surname, initials = match["surname"], match["initials"].strip()
        yield (
            "author: names are stored with the given name first, mostly in full;"
            f" use {surname} or {initials} {surname}"
        )


def _check_names(author: str, language: str, field: str, separator: str) -> Iterator[str]:
    """Find several names in a parameter that takes one."""
    names = [format_given_first(name.strip()) for name in _NAME_SEPARATOR.split(author)]
    if len(names) > 1 and all(names):
        query = separator.join(f'{field}:"{name}"' for name in names)
        yield f"author: takes one name; use {language}={shorten(query)}"


def _check_term_name(name: str) -> Iterator[str]:
    if (given_first := format_given_first(name)) != name:
        remedy = f'write au:"{shorten(given_first)}"'
        yield f'query: au:"{shorten(name)}" has the surname first; {remedy}'


def _join(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
