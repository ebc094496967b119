"""Output formats: their media types, and how the client selects one.

To add a format, write a Serializer in a module of this package and add an entry to FORMATS.
"""

from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from ..errors import InvalidParameter, NotAcceptable
from .atom import Atom, FeedHead
from .bibtex import BibTeX
from .negotiation import parse_media_type, select_offer
from .references import Reference
from .ris import Ris
from .serializer import Serializer
from .tabular import Csv, Json, Ndjson

__all__ = [
    "FORMATS",
    "FeedHead",
    "Format",
    "Reference",
    "ReferenceFormat",
    "Serializer",
    "TableFormat",
    "select_format",
]


class Format(Struct, frozen=True):
    """An output format."""

    name: str
    """Value of the parameter `format`."""
    media_type: str
    extension: str
    """Of file names."""


class TableFormat(Format, frozen=True):
    """Rows with named columns."""

    create_serializer: Callable[[tuple[str, ...]], Serializer[Struct]]
    """Takes the names of the columns, in order."""
    media_type_aliases: tuple[str, ...] = ()


class ReferenceFormat(Format, frozen=True):
    """Bibliographic references."""

    create_serializer: Callable[[FeedHead], Serializer[Reference]]
    media_type_aliases: tuple[str, ...] = ()


FORMATS: dict[str, TableFormat | ReferenceFormat] = {
    output_format.name: output_format
    for output_format in (
        TableFormat("json", "application/json", "json", Json),
        TableFormat(
            "ndjson",
            "application/x-ndjson",
            "ndjson",
            Ndjson,
            ("application/ndjson", "application/jsonl", "application/x-jsonlines"),
        ),
        TableFormat("csv", "text/csv; charset=utf-8; header=present", "csv", Csv),
        ReferenceFormat(
            "bibtex",
            "application/x-bibtex; charset=utf-8",
            "bib",
            lambda _: BibTeX(),
            ("text/x-bibtex", "application/bibtex"),
        ),
        ReferenceFormat(
            "ris",
            "application/x-research-info-systems; charset=utf-8",
            "ris",
            lambda _: Ris(),
            ("application/x-ris", "text/x-ris"),
        ),
        ReferenceFormat(
            "atom",
            "application/atom+xml; charset=utf-8",
            "atom",
            Atom,
            ("application/atom+xml; type=feed",),
        ),
    )
}
"""In order of preference if the client has none."""


_MEDIA_TYPES = {
    name: [parse_media_type(text) for text in (offer.media_type, *offer.media_type_aliases)]
    for name, offer in FORMATS.items()
}
MAX_ACCEPT_LENGTH = 2000
"""Characters of an Accept header that are considered; browsers send at most 200."""


def select_format(name: str | None, accept: str | None) -> TableFormat | ReferenceFormat:
    """Select a format by the parameter `format`, else by the Accept header, else JSON.

    Raises InvalidParameter, or NotAcceptable if the header matches no format.
    """
    if name is not None:
        if name not in FORMATS:
            raise InvalidParameter("format", f"must be one of {', '.join(FORMATS)}")
        return FORMATS[name]
    if accept is None or not accept.strip():
        return FORMATS["json"]
    if selected := _negotiate(accept[:MAX_ACCEPT_LENGTH]):
        return FORMATS[selected]
    types = ", ".join(offer.media_type.partition(";")[0] for offer in FORMATS.values())
    raise NotAcceptable(
        f"Accept matches no available format ({types}); the parameter `format` overrides it"
    )


@lru_cache(maxsize=64)
def _negotiate(accept: str) -> str | None:
    return select_offer(accept, _MEDIA_TYPES)
