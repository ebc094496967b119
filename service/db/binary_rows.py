"""Rows in the binary format of COPY, which costs PostgreSQL less time. Pure functions."""

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from ..models.mirror import MirrorRecord, Source

if TYPE_CHECKING:
    from ..mirror.merging import StoredDetails, StoredPaper

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Before the first row."""
TRAILER = b"\xff\xff"
"""After the last row."""

_PAPER_COLUMNS, _DETAIL_COLUMNS = (Struct("!h").pack(number) for number in (18, 11))
_TEXT_OID = 25
_JSONB_VERSION = b"\1"
# the length of each value comes first
_pack_length = Struct("!i").pack
_pack_bigint = Struct("!iq").pack
_pack_version = Struct("!ihiq").pack
_pack_array_head = Struct("!iiiiii").pack
_NULL = _pack_length(-1)
_EMPTY_ARRAY = Struct("!iiii").pack(12, 0, 0, _TEXT_OID)
_BOOLEANS = _pack_length(1) + b"\0", _pack_length(1) + b"\1"
_encode = msgspec.json.Encoder().encode


def format_paper(
    paper: "MirrorRecord | StoredPaper",
    timestamp: int,
    other_sources: Mapping[str, Source] | None = None,
) -> bytes:
    """Return the row of COPY_PAPERS for a version of a paper.

    Raises struct.error if a number is too large for its column.
    """
    return b"".join(
        (
            _PAPER_COLUMNS,
            _format_text(paper.arxiv_id),
            _pack_version(2, paper.version, 8, timestamp),
            _format_text(paper.title),
            _format_list(paper.authors),
            _format_json(paper.affiliations),
            _format_text(paper.abstract),
            _format_text(paper.journal),
            _format_text(paper.comment),
            _format_number(paper.published),
            _format_number(paper.updated),
            _format_list(paper.dois),
            _format_text(paper.primary_category),
            _format_list(paper.categories),
            _BOOLEANS[paper.withdrawn],
            _format_list(paper.group_authors),
            _format_text(paper.source),
            _format_json(other_sources),
        )
    )


def format_details(
    details: "MirrorRecord | StoredDetails", other_sources: Mapping[str, Source] | None = None
) -> bytes:
    """Return the row of COPY_DETAILS for the latest version of a paper.

    Raises struct.error if a number is too large for its column.
    """
    return b"".join(
        (
            _DETAIL_COLUMNS,
            _format_text(details.arxiv_id),
            _pack_version(2, details.version, 8, details.datestamp),
            _format_text(details.submitter),
            _format_text(details.license),
            _format_text(details.report_number),
            _format_text(details.msc_class),
            _format_text(details.acm_class),
            _format_json(details.versions),
            _format_text(details.source),
            _format_json(other_sources),
        )
    )


def _format_text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode()
    return _pack_length(len(data)) + data


def _format_number(number: int | None) -> bytes:
    return _NULL if number is None else _pack_bigint(8, number)


def _format_list(texts: Sequence[str]) -> bytes:
    if not texts:
        return _EMPTY_ARRAY
    elements = b"".join(map(_format_text, texts))
    return _pack_array_head(20 + len(elements), 1, 0, _TEXT_OID, len(texts), 1) + elements


def _format_json(value: Any) -> bytes:  # noqa: ANN401 - whatever can be encoded
    if value is None:
        return _NULL
    data = _encode(value)
    return _pack_length(1 + len(data)) + _JSONB_VERSION + data
