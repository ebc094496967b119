"""The formats in which papers, results and searches leave, and which of them a client wants."""

from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from ..errors import InvalidParameter, NotAcceptable
from ..models.responses import Reference
from .atom import Atom, FeedHead
from .negotiation import preferred
from .serializer import Serializer
from .tabular import Csv, Json, Ndjson

__all__ = ["FORMATS", "FeedHead", "Format", "Serializer", "bibliographic", "choose", "tabular"]


class Format(Struct, frozen=True):
    """How a file is called and typed."""

    name: str
    """As `format=` has it."""
    media_type: str
    extension: str
    synonyms: tuple[str, ...] = ()
    """Media types that ask for it as well."""


FORMATS = {
    each.name: each
    for each in (
        Format("json", "application/json", "json"),
        Format(
            "ndjson",
            "application/x-ndjson",
            "ndjson",
            ("application/ndjson", "application/jsonl", "application/x-jsonlines"),
        ),
        Format("csv", "text/csv; charset=utf-8; header=present", "csv"),
        Format(
            "bibtex",
            "application/x-bibtex; charset=utf-8",
            "bib",
            ("text/x-bibtex", "application/bibtex"),
        ),
        Format(
            "ris",
            "application/x-research-info-systems; charset=utf-8",
            "ris",
            ("application/x-ris", "text/x-ris"),
        ),
        Format(
            "atom",
            "application/atom+xml; charset=utf-8",
            "atom",
            ("application/atom+xml; type=feed",),
        ),
    )
}
"""In the order of preference, where a client has none."""


@lru_cache(maxsize=64)
def choose(asked: str | None, accept: str | None) -> Format:
    """The format of an answer: `format=` says it, else the Accept header, else it is JSON."""
    if asked is not None:
        if asked not in FORMATS:
            raise InvalidParameter("format", f"is none of {', '.join(FORMATS)}")
        return FORMATS[asked]
    if accept is None or not accept.strip():
        return FORMATS["json"]
    names = {each.name: (each.media_type, *each.synonyms) for each in FORMATS.values()}
    if name := preferred(accept, names):
        return FORMATS[name]
    types = ", ".join(each.media_type.partition(";")[0] for each in FORMATS.values())
    raise NotAcceptable(f"Accept takes none of {types}; format= chooses without it")


_TABLES: dict[str, Callable[[tuple[str, ...]], Serializer[Struct]]] = {
    "json": Json,
    "ndjson": Ndjson,
    "csv": Csv,
}
_BIBLIOGRAPHIES: dict[str, Callable[[FeedHead], Serializer[Reference]]] = {
    "bibtex": lambda _: _bibtex(),
    "ris": lambda _: _ris(),
    "atom": Atom,
}


def _bibtex() -> Serializer[Reference]:
    # here, as in the next: it brings TeX's many signs, and most never ask for it
    from .bibtex import BibTeX  # noqa: PLC0415

    return BibTeX()


def _ris() -> Serializer[Reference]:
    from .ris import Ris  # noqa: PLC0415

    return Ris()


def tabular(name: str, columns: tuple[str, ...]) -> Serializer[Struct]:
    """A writer of JSON, NDJSON or CSV: these columns of any struct, in this order."""
    return _TABLES[name](columns)


def bibliographic(name: str, head: FeedHead) -> Serializer[Reference]:
    """A writer of BibTeX, RIS or Atom; only Atom has a head."""
    return _BIBLIOGRAPHIES[name](head)
