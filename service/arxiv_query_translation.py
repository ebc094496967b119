"""Queries in the language of `/papers?q=`, translated to arXiv's."""

from collections.abc import Iterable
from typing import NamedTuple

from . import arxiv_query_parser as arxiv
from . import paper_query
from .arxiv_query import clean_words
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


class _Translation(NamedTuple):
    node: arxiv.Node
    is_negated: bool
    """Whether the papers that do not match are meant, which arXiv's language cannot express."""


def translate_query(q: str) -> arxiv.Node:
    """Return a query in arXiv's language.

    Raises InvalidParameter if it is not a query, or if arXiv cannot search for one of its words.
    """
    # the parser rejects queries that only exclude papers
    return _translate(q, paper_query.parse_query(q)).node


def _translate(q: str, query: paper_query.Query) -> _Translation:
    match query:
        case Words():
            return _Translation(_translate_words(q, query), is_negated=False)
        case Reference(arxiv_id, _, doi):
            term = arxiv.Term("doi", doi) if doi else arxiv.Term("id", arxiv_id or "")
            return _Translation(term, is_negated=False)
        case Not(operand):
            node, is_negated = _translate(q, operand)
            return _Translation(node, not is_negated)
        case And(operands):
            restricting = [each for each in operands if not _is_stop_word(each)]
            return _intersect([_translate(q, each) for each in restricting or operands])
        case Or(operands):
            # by De Morgan's laws
            negated = _intersect([_negate(_translate(q, each)) for each in operands])
            return _negate(negated)


def _negate(translation: _Translation) -> _Translation:
    return _Translation(translation.node, not translation.is_negated)


def _intersect(translations: Iterable[_Translation]) -> _Translation:
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
        and query.field is None
        and not (query.is_exact or query.is_prefix)
        and _STOP_WORDS.issuperset(query.words)
    )


def _translate_words(q: str, words: Words) -> arxiv.Node:
    text = q[words.position - 1 : words.end].strip('"“”„')
    name = words.field or "any"
    value = clean_words(name, text).rstrip("*?")
    if words.is_prefix:
        value += "*"
    return _join([arxiv.Term(field, value) for field in _FIELDS[words.field]], "OR")
