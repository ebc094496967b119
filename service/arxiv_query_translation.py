"""Queries in the language of `/papers?q=`, translated to searches of arXiv."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from . import arxiv_query_parser as arxiv
from . import paper_query
from .arxiv_query import clean_words
from .metadata.arxiv_ids import format_versioned_id
from .models.arxiv import Search
from .paper_query import And, Field, Not, Or, Reference, Words

_FIELDS: dict[Field | None, tuple[str, ...]] = {
    "title": ("ti",),
    "author": ("au",),
    "abstract": ("abs",),
    "note": ("co", "jr"),
    None: ("all",),
}
_STOP_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "but", "by", "for"}
    | {"if", "in", "into", "is", "it", "no", "not", "of", "on", "or", "such"}
    | {"that", "the", "their", "then", "there", "these"}
    | {"they", "this", "to", "was", "will", "with"}
)
"""Those of Lucene: a search engine that does not index them finds no paper that has them all."""
_PHRASE = re.compile('"[^"]*"')
_ARXIV_FIELD = re.compile(
    r"\b(?:co|jr|cat|rn|id|doi|all|submittedDate|lastUpdatedDate):(?=\S)", re.IGNORECASE
)
"""A field that `/papers?q=` does not have."""


class _Translation(NamedTuple):
    node: arxiv.Node
    is_negated: bool
    """Whether the papers that do not match are meant, which arXiv's language cannot express."""


def create_search(q: str) -> Search:
    """Return the search of arXiv for a query as for the stored papers.

    With a field that only arXiv has, the query is in arXiv's own language. Raises InvalidParameter.
    """
    if _ARXIV_FIELD.search(_PHRASE.sub('""', q)):
        return Search(query=q)
    query = paper_query.parse_query(q)
    if not isinstance(query, Reference):
        return Search(query=arxiv.format_query(translate_query(q, query)))
    if query.arxiv_id:
        return Search(id_list=(format_versioned_id(query.arxiv_id, query.version),))
    return Search(query=f'doi:"{query.doi}"')


def translate_query(q: str, query: paper_query.Node) -> arxiv.Node:
    """Return a query in arXiv's language; `query` is what `paper_query` reads in `q`.

    Raises InvalidParameter if arXiv cannot search for one of the words.
    """
    # the parser rejects queries that only exclude papers, so this is not negated
    return _translate(q, query).node


def _translate(q: str, query: paper_query.Node) -> _Translation:
    match query:
        case Words():
            return _Translation(_translate_words(q, query), is_negated=False)
        case Not(operand):
            return _negate(_translate(q, operand))
        case And(operands):
            return _intersect(_omit_stop_words(q, operands))
        case Or(operands):
            # by De Morgan's laws
            return _negate(_intersect([_negate(_translate(q, each)) for each in operands]))


def _omit_stop_words(q: str, operands: Iterable[paper_query.Node]) -> list[_Translation]:
    """Translate operands, without stop words if others say what to find."""
    pairs = [(_translate(q, each), _is_stop_word(each)) for each in operands]
    others = [each for each, is_stop_word in pairs if not is_stop_word]
    if all(each.is_negated for each in others):
        return [each for each, _ in pairs]
    return others


def _negate(translation: _Translation) -> _Translation:
    return _Translation(translation.node, not translation.is_negated)


def _intersect(translations: list[_Translation]) -> _Translation:
    """Combine translations all of which must match."""
    included = [node for node, is_negated in translations if not is_negated]
    excluded = [node for node, is_negated in translations if is_negated]
    if not included:
        return _Translation(_join(excluded, "OR"), is_negated=True)
    node = _join(included, "AND")
    if excluded:
        node = arxiv.BinaryOp(node, "ANDNOT", _join(excluded, "OR"))
    return _Translation(node, is_negated=False)


def _join(nodes: list[arxiv.Node], operator: arxiv.Operator) -> arxiv.Node:
    return arxiv.join_nodes(nodes, [operator] * (len(nodes) - 1))


def _is_stop_word(query: paper_query.Node) -> bool:
    return (
        isinstance(query, Words)
        and query.field != "author"  # some are names
        and not (query.is_exact or query.is_prefix)
        and _STOP_WORDS.issuperset(query.words)
    )


def _translate_words(q: str, words: Words) -> arxiv.Node:
    # arXiv allows wildcards at the end of a word only
    text = re.sub(r"[*?]", " ", q[words.position - 1 : words.end]).strip(' "“”„')
    value = clean_words(words.field or "any", text)
    if words.is_prefix:
        value += "*"
    return _join([arxiv.Term(field, value) for field in _FIELDS[words.field]], "OR")
