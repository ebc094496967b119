"""The fields of the index, and the documents with the papers.

Texts are indexed twice: as exact words for quoted words, and as stems. No text is stored.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import tantivy

from ..metadata.categories import CATEGORIES, get_archive
from ..models.records import PaperRow
from .analysis import ANALYZERS, ENGLISH, WHITESPACE, split_text, split_words

FORMAT = 2
"""To be increased when fields or the analysis change: indexes are then built again."""
RAW = "raw"
NAME_SEPARATOR = "\x1f"
"""Between the words of a name, by which suggestions find it, and the name as written."""
MAX_SUGGESTED_AUTHORS = 100
"""Of a paper; names of large collaborations do not fill the index."""
MAX_SHORT_NAME = 4
"""Words of a name whose combinations are all indexed."""
MAX_LONG_NAMES = 4
"""Longer names of a paper that are distinguished; the words of further ones are like one name."""

_NUMBER_BITS, _VERSION_BITS = 24, 6
_MAX_MOMENT, _MAX_VERSION = (1 << 33) - 1, (1 << _VERSION_BITS) - 1
_SECONDS_PER_YEAR = 31_556_952


def _create_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("arxiv_id", stored=True, tokenizer_name=RAW, index_option="basic")
    builder.add_unsigned_field("version", stored=True, fast=True, indexed=True)
    builder.add_unsigned_field("changed", stored=True)
    builder.add_unsigned_field("superseded", indexed=True)
    builder.add_integer_field("sort_key", fast=True)
    builder.add_integer_field("published", fast=True)
    builder.add_integer_field("update_key", fast=True)
    builder.add_float_field("recency", fast=True)
    for name in ("title", "author", "abstract", "note", "comment", "journal", "report_number"):
        builder.add_text_field(name, tokenizer_name=WHITESPACE)
    for name in ("title_stem", "abstract_stem", "note_stem"):
        builder.add_text_field(name, tokenizer_name=ENGLISH)
    for name in ("category", "archive", "doi", "author_name", "name_words"):
        builder.add_text_field(name, tokenizer_name=RAW, index_option="basic")
    builder.add_text_field("facet", tokenizer_name=RAW, index_option="basic", fast=True)
    return builder.build()


SCHEMA = _create_schema()


def create_index(path: Path) -> tantivy.Index:
    """Create an empty index in a directory that exists and is empty. Raises ValueError."""
    return _register_analyzers(tantivy.Index(SCHEMA, str(path), reuse=False))


def open_index(path: Path) -> tantivy.Index:
    """Open an index. Raises ValueError if it is missing, damaged or has other fields."""
    if not tantivy.Index.exists(str(path)):  # otherwise an empty one would be created
        raise ValueError(f"{path} contains no index")
    return _register_analyzers(tantivy.Index(SCHEMA, str(path)))


def _register_analyzers(index: tantivy.Index) -> tantivy.Index:
    for name, analyzer in ANALYZERS.items():
        index.register_tokenizer(name, analyzer)
    return index


class IndexedPaper(PaperRow, frozen=True, gc=False):
    """A row of `papers` with the transaction that changed it last."""

    changed: int = 0
    """0 if it has not changed since the column was added."""
    report_number: str | None = None


def create_documents(versions: Sequence[IndexedPaper]) -> list[tantivy.Document]:
    """Return a document for each version of one paper."""
    latest = max(row.version for row in versions)
    return [_create_document(row, superseded=row.version < latest) for row in versions]


def _create_document(row: IndexedPaper, *, superseded: bool) -> tantivy.Document:
    title, abstract = split_text(row.title), split_text(row.abstract or "")
    note = [split_text(text) for text in (row.comment, row.journal) if text]
    facets = {CATEGORIES[name]: None for name in row.categories if name in CATEGORIES}
    values: dict[str, Any] = {
        "arxiv_id": row.arxiv_id,
        "version": row.version,
        "changed": row.changed,
        "sort_key": compute_sort_key(row.published, row.arxiv_id, row.version),
        "update_key": compute_sort_key(row.updated, row.arxiv_id, row.version),
        "recency": compute_recency(row.published),
        "title": title,
        "title_stem": title,
        "author": [split_text(name) for name in row.authors],
        "author_name": list_name_keys(row.authors),
        "name_words": list_name_words(row.authors),
        "abstract": abstract,
        "abstract_stem": abstract,
        "note": note,
        "note_stem": note,
        "category": row.categories,
        "archive": list(dict.fromkeys(map(get_archive, row.categories))),
        "facet": list(facets),
        "doi": [doi.lower() for doi in row.dois],
    }
    if row.published is not None:
        values["published"] = row.published
    if row.comment:
        values["comment"] = note[0]
    if row.journal:
        values["journal"] = note[-1]
    if row.report_number:
        values["report_number"] = split_text(row.report_number)
    if superseded:
        values["superseded"] = 1
    return tantivy.Document.from_dict(values, SCHEMA)


def compute_sort_key(time: int | None, arxiv_id: str, version: int) -> int:
    """Return a number that sorts papers by a time, and most papers of one second by their ids.

    Papers with equal numbers are rare.
    """
    digits: str = arxiv_id.rpartition("/")[2].rpartition(".")[2]
    number = int(digits) % (1 << _NUMBER_BITS) if digits.isdecimal() else 0
    moment = min(max(time or 0, 0), _MAX_MOMENT)
    return ((moment << _NUMBER_BITS) + number << _VERSION_BITS) + min(version, _MAX_VERSION)


def compute_recency(published: int | None) -> float:
    """Return a number that makes newer papers rank above older ones that match equally well.

    tantivy multiplies scores by log2(2 + this number), which here varies by half a percent. This
    distinguishes papers of the same day: scores have a precision of 24 bits.
    """
    return min(max(published or 0, 0), _MAX_MOMENT) / _SECONDS_PER_YEAR / 10_000


def list_name_keys(authors: Sequence[str]) -> list[str]:
    """Return the names of authors under their words: given name first, and surname first."""
    return [key for name in authors[:MAX_SUGGESTED_AUTHORS] for key in _create_name_keys(name)]


def fold_name(name: str) -> str:
    """Return the words of a name with one space between them."""
    return " ".join(split_words(name))


@lru_cache(maxsize=2**16)
def _create_name_keys(name: str) -> list[str]:
    words = split_words(name)
    spellings = dict.fromkeys([" ".join(words), " ".join(words[-1:] + words[:-1])])
    written = name.split()
    particles = [place for place, word in enumerate(written) if place and word[0].islower()]
    if particles:  # a surname of several words: van der Waals
        surname_first = written[particles[0] :] + written[: particles[0]]
        spellings[fold_name(" ".join(surname_first))] = None
    return [f"{spelling}{NAME_SEPARATOR}{name}" for spelling in spellings if spelling]


def list_name_words(authors: Sequence[str]) -> list[str]:
    """Return the terms by which a paper is found if one author's name has several given words."""
    names = [_list_distinct_words(name) for name in authors]
    terms = {term: None for name in names for term in _combine_words(name)}
    long_names = (name for name in names if len(name) > MAX_SHORT_NAME)
    for number, name in enumerate(long_names):
        place = min(number, MAX_LONG_NAMES - 1)
        terms |= dict.fromkeys(create_long_name_term(place, word) for word in name)
    return list(terms)


@lru_cache(maxsize=2**16)
def _list_distinct_words(name: str) -> tuple[str, ...]:
    return tuple(sorted({*split_words(name)}))


@lru_cache(maxsize=2**16)
def _combine_words(words: tuple[str, ...]) -> list[str]:
    if len(words) > MAX_SHORT_NAME:
        return []
    sizes = range(2, len(words) + 1)
    return [" ".join(chosen) for size in sizes for chosen in combinations(words, size)]


def create_long_name_term(place: int, word: str) -> str:
    """Return the term for a word in a long name, of which a paper may have several."""
    return f"{place}{NAME_SEPARATOR}{word}"
