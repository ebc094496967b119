"""Queries of the search index: from the tree of a full-text query, and from filters."""

import re
from collections.abc import Iterable, Sequence

from msgspec import structs
from tantivy import FieldType, Occur, Query

from .. import timestamps
from ..metadata.person_names import split_author_text
from ..models.filters import PaperFilter
from ..paper_query import And, Node, Not, Or, Reference, Words, parse_query
from .analysis import split_words, stem_words
from .schema import SCHEMA

BOOSTS = {"title": 3.0, "author": 2.0, "abstract": 1.0, "note": 0.5}
"""By how much a match in a field counts."""
STEMMED = {"title": "title_stem", "abstract": "abstract_stem", "note": "note_stem"}
"""The fields with the stems; names have none."""


def build_query(filters: PaperFilter) -> Query:
    """Return a query for the papers that match. Raises InvalidParameter for `q`."""
    tree = parse_query(filters.q) if filters.q else None
    if isinstance(tree, Reference) and tree.version:
        filters = structs.replace(filters, all_versions=True)
    return restrict(build_node(tree) if tree else None, filters)


def restrict(query: Query | None, filters: PaperFilter) -> Query:
    """Return a query for the papers that match the query and the filters other than `q`."""
    clauses = [(Occur.Must, query)] if query else []
    clauses += [(Occur.Must, without_score(each)) for each in _build_filters(filters)]
    if filters.since != timestamps.EARLIEST:
        clauses.append((Occur.Must, without_score(match_range("published", filters.since, None))))
    if filters.until != timestamps.LATEST:
        # this way, papers without a date match as those from before all others
        clauses.append((Occur.MustNot, match_range("published", filters.until + 1, None)))
    if not any(occur == Occur.Must for occur, _ in clauses):
        clauses.append((Occur.Must, Query.all_query()))
    if not filters.all_versions:
        clauses.append((Occur.MustNot, Query.term_query(SCHEMA, "superseded", 1)))
    return Query.boolean_query(clauses)


def _build_filters(filters: PaperFilter) -> list[Query]:
    texts = [("title", filters.title), ("journal", filters.journal)]
    texts += [("author", name) for name in split_author_text(filters.author or "")]
    words = [(name, split_words(text)) for name, text in texts if text]
    queries = [_build_phrase(name, found) for name, found in words if found]
    if filters.category is not None:
        terms = [("category", name) for name in filters.category]
        terms += [("archive", name) for name in filters.archive or ()]
        queries.append(match_any([Query.term_query(SCHEMA, *term) for term in terms]))
    return queries


def match_range(field: str, lower: int | None, upper: int | None) -> Query:
    """Return a query for the papers whose number is in a range, which includes its bounds."""
    return Query.range_query(SCHEMA, field, FieldType.Integer, lower, upper)


def match_paper(arxiv_id: str) -> Query:
    """Return a query for the versions of a paper."""
    return Query.term_query(SCHEMA, "arxiv_id", arxiv_id, index_option="basic")


def without_score(query: Query) -> Query:
    """Return a query for the same papers that does not influence their order."""
    return Query.const_score_query(query, 0)


def match_any(queries: Sequence[Query]) -> Query:
    """Return a query for the papers that match at least one of these."""
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(Occur.Should, query) for query in queries])


def match_all(queries: Iterable[Query]) -> Query:
    """Return a query for the papers that match all of these."""
    return Query.boolean_query([(Occur.Must, query) for query in queries])


def build_node(node: Node | Reference) -> Query:
    """Return a query for a tree without filters."""
    match node:
        case Words():
            return _build_words(node)
        case Reference():
            return _build_reference(node)
        case Or(operands):
            return match_any([build_node(operand) for operand in operands])
        case And(operands):
            return _combine(operands)
        case Not():
            return _combine([node])


def _combine(operands: Sequence[Node]) -> Query:
    """Match all operands; a query that only excludes needs papers to exclude from."""
    clauses = [
        (Occur.MustNot, build_node(operand.operand))
        if isinstance(operand, Not)
        else (Occur.Must, build_node(operand))
        for operand in operands
    ]
    if all(occur == Occur.MustNot for occur, _ in clauses):
        clauses.append((Occur.Must, without_score(Query.all_query())))
    return Query.boolean_query(clauses)


def _build_reference(reference: Reference) -> Query:
    if reference.doi:
        doi = Query.term_query(SCHEMA, "doi", reference.doi.lower(), index_option="basic")
        return match_any([doi, _build_phrase("note", split_words(reference.doi))])
    assert reference.arxiv_id  # noqa: S101 - a reference has one of the two
    paper = match_paper(reference.arxiv_id)
    if reference.version is None:
        return paper
    return match_all([paper, Query.term_query(SCHEMA, "version", reference.version)])


def _build_words(words: Words) -> Query:
    """Match consecutive words in one field, or in any of them; the best field counts most."""
    queries = [
        Query.boost_query(_build_in_field(name, words), BOOSTS[name])
        for name in words.searched_fields
    ]
    return queries[0] if len(queries) == 1 else Query.disjunction_max_query(queries, 0.3)


def _build_in_field(field: str, words: Words) -> Query:
    if words.distances:
        pairs = zip(words.words, words.distances, strict=True)
        return match_all(_build_fuzzy(field, *pair) for pair in pairs)
    if words.is_prefix:
        return _build_prefix(field, words.words)
    if words.is_exact or field not in STEMMED:
        return _build_phrase(field, words.words)
    return _build_phrase(STEMMED[field], stem_words(words.words))


def _build_fuzzy(field: str, word: str, distance: int) -> Query:
    """Match words that differ in so many letters; two letters in another order are one."""
    if not distance:
        return Query.term_query(SCHEMA, field, word)
    return Query.fuzzy_term_query(SCHEMA, field, word, distance)


def _build_phrase(field: str, words: Sequence[str]) -> Query:
    if len(words) == 1:
        return Query.term_query(SCHEMA, field, words[0])
    return Query.phrase_query(SCHEMA, field, list(words))


def _build_prefix(field: str, words: Sequence[str]) -> Query:
    """Match consecutive words of which the last one is the beginning of a word."""
    patterns: list[str | tuple[int, str]] = [*map(re.escape, words[:-1])]
    patterns.append(f"{re.escape(words[-1])}.*")
    if len(words) == 1:
        return Query.regex_query(SCHEMA, field, str(patterns[0]))
    return Query.regex_phrase_query(SCHEMA, field, patterns)
