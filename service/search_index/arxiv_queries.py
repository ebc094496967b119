"""Searches in arXiv's query language, with the meaning that arXiv gives to it.

As at arXiv, only the latest version of each paper matches. `docs/mirror.md` has the differences.
"""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from tantivy import Occur, Order, Query, Searcher, SearchResult

from ..arxiv_query_parser import MAX_DEPTH, BinaryOp, InvalidQuery, Node, Operator, Term
from ..errors import InvalidParameter
from ..lax_query import QuotedTerm
from ..metadata.arxiv_ids import parse_arxiv_id
from ..models.arxiv import SortBy, SortOrder
from ..models.records import PaperVersion
from .analysis import split_words
from .paper_index import PaperIndex, Snapshot, count_papers, rank_papers, read_key
from .queries import match_all, match_any, match_paper, match_range
from .schema import MAX_LONG_NAMES, MAX_SHORT_NAME, SCHEMA, create_long_name_term

MAX_WORDS = 300
"""Of all terms of a query."""
MAX_WILDCARDS = 10
"""Words with a wildcard in a query: each of them stands for all words that begin so."""
SHORT_PREFIX, SHORT_PREFIX_COST = 2, 5
"""A word of so few letters before its wildcard stands for very many: it counts as several."""
MAX_PREFIX = 100
"""Letters before a wildcard."""
TEXT_FIELDS = {
    "ti": ("title", 5.0),
    "abs": ("abstract", 1.0),
    "co": ("comment", 1.0),
    "jr": ("journal", 2.0),
    "rn": ("report_number", 2.0),
}
"""The fields of the index for arXiv's fields with texts, and by how much a match counts."""
AUTHOR_BOOST = 3.0
SORT_FIELDS = {"submittedDate": "sort_key", "lastUpdatedDate": "update_key"}

_WILDCARD = re.compile(r"(?<=\w)\*+$")
MAX_CATEGORY_WILDCARDS, MAX_CATEGORY_PATTERNS = 2, 40
"""Wildcards in a category, and categories with wildcards in a query."""
_MAX_CATEGORY = 20
"""Letters and dots of a category; the longest one has 18."""
_NOT_IN_CATEGORIES = re.compile(r"[^A-Za-z.-]")
_PAPER_WITH_VERSION = re.compile(r"(.+)v([1-9][0-9]{0,5})")
_YEAR = re.compile(r"[0-9]{4}")
_TOO_MANY_MATCHES = "too many words begin like one with a *; write more letters before the *"


async def find(
    index: PaperIndex,
    snapshot: Snapshot,
    tree: Node,
    *,
    arxiv_ids: Collection[str] | None = None,
    sort_by: SortBy = "relevance",
    sort_order: SortOrder = "descending",
    start: int,
    limit: int,
) -> tuple[int, list[PaperVersion]]:
    """Return how many papers match, and those on a page; with `arxiv_ids`, only these papers.

    Raises InvalidQuery if the query cannot be executed, and IndexUnavailable.
    """
    search = partial(
        _find,
        tree=tree,
        arxiv_ids=arxiv_ids,
        sort_by=sort_by,
        is_reversed=sort_order == "ascending",
        start=start,
        limit=limit,
    )
    try:
        found = await index.call(snapshot, search)
    except InvalidParameter as error:
        raise InvalidQuery(_TOO_MANY_MATCHES) from error
    if isinstance(found, InvalidQuery):
        raise found
    return found


def _find(
    searcher: Searcher,
    *,
    tree: Node,
    arxiv_ids: Collection[str] | None,
    sort_by: SortBy,
    is_reversed: bool,
    start: int,
    limit: int,
) -> tuple[int, list[PaperVersion]] | InvalidQuery:
    """Return an InvalidQuery: if it were raised, the index would be taken for damaged."""
    try:
        query = build_arxiv_query(tree, arxiv_ids)
    except InvalidQuery as error:
        return error
    if sort_by != "relevance":
        order = Order.Asc if is_reversed else Order.Desc
        sort = partial(searcher.search, order_by_field=SORT_FIELDS[sort_by], order=order)
        return _read_page(searcher, sort, query, start, limit)
    rank = partial(searcher.search, weight_by_field="recency")
    if not is_reversed:
        return _read_page(searcher, rank, query, start, limit)
    total = count_papers(searcher, query)
    stop = max(total - start, 0)
    first = max(stop - limit, 0)
    return total, rank_papers(searcher, query, stop - first, first)[::-1] if stop else []


def _read_page(
    searcher: Searcher,
    search: Callable[..., SearchResult],
    query: Query,
    start: int,
    limit: int,
) -> tuple[int, list[PaperVersion]]:
    """Return the number of papers and those on a page, from one pass over the index."""
    result = search(query, limit, offset=min(start, searcher.num_docs))
    count: int = result.count  # type: ignore[attr-defined] # missing in tantivy's stubs
    return count, [read_key(searcher, address) for _, address in result.hits]


def build_arxiv_query(tree: Node, arxiv_ids: Collection[str] | None = None) -> Query:
    """Return a query for the latest versions of papers that match. Raises InvalidQuery."""
    clauses = [
        (Occur.Must, _Builder().build(tree)),
        (Occur.MustNot, Query.term_query(SCHEMA, "superseded", 1)),
    ]
    if arxiv_ids is not None:
        ids = Query.term_set_query(SCHEMA, "arxiv_id", [*arxiv_ids])
        clauses.append((Occur.Must, Query.const_score_query(ids, 0)))
    return Query.boolean_query(clauses)


class _Word(NamedTuple):
    text: str
    is_prefix: bool = False
    """Whether it stands for all words that begin so."""

    @property
    def pattern(self) -> str:
        return re.escape(self.text) + "[^ ]*" * self.is_prefix


class _Builder:
    """Builds one query, whose cost it limits."""

    def __init__(self) -> None:
        self.depth = 0
        self.words = 0
        self.wildcards = 0
        self.patterns = 0

    def build(self, node: Node) -> Query:
        if isinstance(node, Term):
            return self.build_term(node)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidQuery(f"operators alternate more than {MAX_DEPTH} times")
        query = self.build_operation(node)
        self.depth -= 1
        return query

    def build_operation(self, node: BinaryOp) -> Query:
        if node.operator == "ANDNOT":
            included, excluded = self.build(node.left), self.build(node.right)
            return Query.boolean_query([(Occur.Must, included), (Occur.MustNot, excluded)])
        operands = [self.build(each) for each in _list_operands(node, node.operator)]
        return match_all(operands) if node.operator == "AND" else match_any(operands)

    def build_term(self, term: Term) -> Query:
        field, value = term
        if not value:
            return _match_equally(Query.all_query())
        _check_wildcards(term)
        if field == "all":
            return self.build_in_all_fields(value)
        if field == "cat":
            return self.build_category(value)
        if field in _BUILDERS:
            return _BUILDERS[field](value)
        words = self.split_value(value)
        return _build_name(words) if field == "au" else _build_text(field, words)

    def build_in_all_fields(self, value: str) -> Query:
        words = self.split_value(value)
        queries = [_build_text(field, words) for field in TEXT_FIELDS]
        queries += [_build_name(words), _build_doi(value), _match_category(value)]
        if parse_arxiv_id(value):
            queries.append(_build_id(value))
        if _YEAR.fullmatch(value):
            queries.append(_build_year(int(value)))
        return match_any(queries)

    def build_category(self, value: str) -> Query:
        """Match a category, with `*` for any characters and `?` for one."""
        pattern = re.sub(r"\*+", "*", value)
        letters = re.sub(r"[*?]", "", pattern)
        if pattern == letters:
            return _match_category(value)
        self.patterns += 1
        if self.patterns > MAX_CATEGORY_PATTERNS:
            raise InvalidQuery(
                f"the query has more than {MAX_CATEGORY_PATTERNS} categories with a wildcard"
            )
        if len(pattern) - len(letters) > MAX_CATEGORY_WILDCARDS:
            raise InvalidQuery(f"a category has more than {MAX_CATEGORY_WILDCARDS} wildcards")
        if _NOT_IN_CATEGORIES.search(letters) or len(letters) > _MAX_CATEGORY:
            return Query.empty_query()
        pattern = pattern.replace(".", r"\.").replace("*", ".*").replace("?", ".")
        return _match_equally(_match_pattern("category", pattern))

    def split_value(self, value: str) -> list[_Word]:
        """Return the words of a value. Raises InvalidQuery if the query has too many."""
        words = [*_split_value(value)]
        self.words += len(words)
        prefixes = [word.text for word in words if word.is_prefix]
        self.wildcards += sum(map(_compute_cost, prefixes))
        if self.words > MAX_WORDS:
            raise InvalidQuery(f"the query has more than {MAX_WORDS} words")
        if self.wildcards > MAX_WILDCARDS:
            raise InvalidQuery(
                f"the query has more than {MAX_WILDCARDS} words with a wildcard, of which one after"
                f" at most {SHORT_PREFIX} letters counts as {SHORT_PREFIX_COST}"
            )
        if any(len(prefix) > MAX_PREFIX for prefix in prefixes):
            raise InvalidQuery(f"a wildcard follows more than {MAX_PREFIX} letters")
        return words


def _list_operands(node: Node, operator: Operator) -> list[Node]:
    """Return what an operator combines, however often it is repeated; each operand once."""
    operands: dict[Node, None] = {}
    while isinstance(node, BinaryOp) and node.operator == operator:
        operands[node.left] = None
        node = node.right
    return [*operands, node]


def _check_wildcards(term: Term) -> None:
    """Raise InvalidQuery for the values with which arXiv's server fails."""
    is_literal = term.field == "id" and isinstance(term, QuotedTerm)
    if term.value[0] in "*?" and term.field in {"all", "doi", "id"} and not is_literal:
        raise InvalidQuery(f"{term.field}: cannot search for words with a wildcard at the start")


def _compute_cost(prefix: str) -> int:
    return SHORT_PREFIX_COST if len(prefix) <= SHORT_PREFIX else 1


def _split_value(value: str) -> list[_Word]:
    if "*" not in value:
        return [_Word(word) for word in split_words(value)]
    words: list[_Word] = []
    for part in value.split():
        stem = _WILDCARD.sub("", part)
        words += map(_Word, split_words(stem))
        if stem != part and words:
            words[-1] = words[-1]._replace(is_prefix=True)
    return words


def _match_equally(query: Query) -> Query:
    """Return a query that matches all papers equally well."""
    return Query.const_score_query(query, 1)


def _build_text(field: str, words: Sequence[_Word]) -> Query:
    """Match consecutive words."""
    name, boost = TEXT_FIELDS[field]
    return Query.boost_query(_build_phrase(name, words), boost)


def _build_phrase(name: str, words: Sequence[_Word]) -> Query:
    if not words:
        return Query.empty_query()
    if len(words) == 1:
        return _build_word(name, words[0])
    if any(word.is_prefix for word in words):
        return Query.regex_phrase_query(SCHEMA, name, [word.pattern for word in words])
    return Query.phrase_query(SCHEMA, name, [word.text for word in words])


def _build_word(name: str, word: _Word) -> Query:
    if word.is_prefix:
        return _match_pattern(name, word.pattern)
    return Query.term_query(SCHEMA, name, word.text)


def _match_pattern(name: str, pattern: str) -> Query:
    return Query.regex_query(SCHEMA, name, pattern)


def _build_name(words: Sequence[_Word]) -> Query:
    """Match all words in one author's name, in any order."""
    distinct = sorted(word for word in {*words} if not _is_implied(word, words))
    if len(distinct) < len(["given", "family"]):
        return Query.boost_query(_build_phrase("author", distinct), AUTHOR_BOOST)
    queries = [_build_long_name(place, distinct) for place in range(MAX_LONG_NAMES)]
    if len(distinct) <= MAX_SHORT_NAME:
        queries.append(_build_short_name(distinct))
    return Query.const_score_query(match_any(queries), AUTHOR_BOOST)


def _is_implied(word: _Word, words: Sequence[_Word]) -> bool:
    """Whether what another word matches also matches this one."""
    return word.is_prefix and any(
        other.text.startswith(word.text) for other in words if other != word
    )


def _build_short_name(words: Sequence[_Word]) -> Query:
    if any(word.is_prefix for word in words):
        return _match_pattern("name_words", " ".join(word.pattern for word in words))
    return _match_raw("name_words", " ".join(word.text for word in words))


def _build_long_name(place: int, words: Sequence[_Word]) -> Query:
    return match_all(_build_long_name_word(place, word) for word in words)


def _build_long_name_word(place: int, word: _Word) -> Query:
    if word.is_prefix:
        return _match_pattern("name_words", create_long_name_term(place, word.pattern))
    return _match_raw("name_words", create_long_name_term(place, word.text))


def _match_raw(name: str, value: str) -> Query:
    return Query.term_query(SCHEMA, name, value, index_option="basic")


def _match_category(name: str) -> Query:
    return _match_equally(_match_raw("category", name))


def _build_id(value: str) -> Query:
    """Match an identifier; with a version, only if that is the latest one."""
    papers = [match_paper(value)]
    if match := _PAPER_WITH_VERSION.fullmatch(value):
        version = Query.term_query(SCHEMA, "version", int(match[2]))
        papers.append(match_all([match_paper(match[1]), version]))
    return _match_equally(match_any(papers))


def _build_doi(value: str) -> Query:
    return _match_equally(_match_raw("doi", value.lower()))


def _build_date_range(value: str) -> Query:
    """Match papers by the submission of version 1, from one minute to another, inclusive."""
    try:
        first, last = (
            datetime.strptime(f"{date.strip()} +0000", "%Y%m%d%H%M %z")
            for date in value.split("TO")
        )
    except ValueError:
        raise InvalidQuery(
            f"{value} is not a range of dates: YYYYMMDDHHMM TO YYYYMMDDHHMM"
        ) from None
    return _match_published(first, last)


def _build_year(year: int) -> Query:
    if not year:
        return Query.empty_query()
    return _match_published(
        datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, tzinfo=UTC)
    )


def _match_published(first: datetime, last: datetime) -> Query:
    bounds = int(first.timestamp()), int(last.timestamp()) + 59
    return _match_equally(match_range("published", *bounds))


_BUILDERS = {
    "id": _build_id,
    "doi": _build_doi,
    "submittedDate": _build_date_range,
}
"""For the fields whose values are not split into words."""
