"""Which fields of a record of arXiv's other sources replace those that are stored.

For each version of a paper, newer content replaces older content. Texts that differ in their form
only (TeX, accents, white space) are those of the richest source. Names of authors come from the
richest source that has been seen: the same version of a paper hardly ever gets other authors.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct, convert, structs

from ..arxiv_schedule import latest_publication
from ..models.arxiv import SentFields
from ..models.mirror import (
    DETAIL_FIELDS,
    PAPER_FIELDS,
    MirrorRecord,
    Source,
    VersionRecord,
)
from ..models.records import PaperInsert
from ..search_index.analysis import fold_text

RANKS = {
    source: rank
    for rank, source in enumerate(
        (Source.RSS, Source.SNAPSHOT, Source.ARXIV_RAW, Source.ARXIV, Source.API)
    )
}
"""How rich the form of texts and names is."""
DAY = 86_400

_TEXTS = "title", "abstract", "comment", "journal"
_LISTS = "dois", "categories", "primary_category"
_TIMES = "published", "updated"
_NAMES = "authors", "affiliations", "group_authors"
_FORM = dict.fromkeys(map(ord, " \t\n\\{}$~"))
_MISSING_FIELDS = {Source.SNAPSHOT: ("msc_class", "acm_class")}
"""What a source does not have at all."""


class StoredPaper(PaperInsert, frozen=True):
    """A row of `papers` with where its fields come from."""

    source: Source = Source.API
    other_sources: dict[str, Source] | None = None


class StoredDetails(Struct, frozen=True, kw_only=True):
    """A row of `paper_details`."""

    arxiv_id: str
    version: int
    datestamp: int
    submitter: str | None
    license: str | None
    report_number: str | None
    msc_class: str | None
    acm_class: str | None
    versions: list[VersionRecord]
    source: Source
    other_sources: dict[str, Source] | None = None


def create_paper(record: MirrorRecord) -> StoredPaper:
    """Return a row of `papers` for a record with a version."""
    return StoredPaper(
        arxiv_id=record.arxiv_id,
        version=record.version,
        timestamp=record.datestamp,
        links=None,
        **{name: getattr(record, name) for name in (*_TEXTS, *_LISTS, *_TIMES, *_NAMES)},
        withdrawn=record.withdrawn,
        source=record.source,
    )


def create_details(record: MirrorRecord) -> StoredDetails:
    """Return a row of `paper_details` for a record with a version."""
    return convert(record, StoredDetails, from_attributes=True)


def merge_paper(stored: StoredPaper, record: MirrorRecord) -> StoredPaper:
    """Return the row after a record of the same version has arrived."""
    if record.source == Source.RSS or record.datestamp < _find_content_day(stored, record):
        return stored
    sources = expand_sources(stored, PAPER_FIELDS)
    rank = RANKS[record.source]
    changes: dict[str, Any] = {}
    for name in (*_TEXTS, *_LISTS, *_TIMES):
        old, new = getattr(stored, name), getattr(record, name)
        if new is None and name in _TIMES:
            continue
        if rank >= RANKS[sources[name]] or _fold(old) != _fold(new):
            changes[name] = new
            sources[name] = record.source
    if rank >= RANKS[sources["authors"]] or not stored.authors:
        changes |= _take_names(stored, record, sources)
    # a version of a withdrawn paper remains one, whichever source shows it
    changes["withdrawn"] = stored.withdrawn or record.withdrawn
    if changes.get("dois", stored.dois) != stored.dois:
        changes["links"] = None
    source, other_sources = compress_sources(sources)
    return structs.replace(
        stored,
        **changes,
        timestamp=max(stored.timestamp, record.datestamp),
        sent=stored.sent and _drop_sent(stored.sent, changes),
        source=source,
        other_sources=other_sources,
    )


def _find_content_day(stored: StoredPaper, record: MirrorRecord) -> int:
    """Return the day from which on a record has newer content than a row, in Unix seconds.

    The times within the day are unknown. Search results of the API are those of the latest
    announcement, which OAI-PMH may be ahead of.
    """
    if stored.source == Source.RSS:
        return 0
    moment = stored.timestamp
    if stored.source == Source.API and record.source != Source.SNAPSHOT:
        moment = latest_publication(moment)
    return moment // DAY * DAY


def merge_authors(stored: StoredPaper, record: MirrorRecord) -> StoredPaper:
    """Return the row after a record without a version has arrived: it adds names only."""
    sources = expand_sources(stored, PAPER_FIELDS)
    if RANKS[record.source] < RANKS[sources["authors"]]:
        return stored
    names = _take_names(stored, record, sources)
    source, other_sources = compress_sources(sources)
    return structs.replace(stored, **names, source=source, other_sources=other_sources)


def _take_names(
    stored: StoredPaper, record: MirrorRecord, sources: dict[str, Source]
) -> dict[str, Any]:
    """Return the names in a record; its affiliations too, unless it may lack them."""
    sources["authors"] = record.source
    names: dict[str, Any] = {"authors": record.authors, "group_authors": record.group_authors}
    is_known = record.affiliations is not None or record.source != Source.ARXIV
    if is_known or len(stored.authors) != len(record.authors):
        sources["affiliations"] = record.source
        names["affiliations"] = record.affiliations
    return names


def merge_details(stored: StoredDetails, record: MirrorRecord) -> StoredDetails:
    """Return the details after a record with a version has arrived."""
    new_age, old_age = ((row.datestamp, RANKS[row.source]) for row in (record, stored))
    if new_age < old_age:
        return stored
    new = create_details(record)
    kept = _MISSING_FIELDS.get(record.source, ())
    old_sources, sources = (expand_sources(row, DETAIL_FIELDS) for row in (stored, new))
    sources |= {name: old_sources[name] for name in kept}
    source, other_sources = compress_sources(sources)
    return structs.replace(
        new,
        **{name: getattr(stored, name) for name in kept},
        versions=_merge_versions(stored.versions, new.versions),
        source=source,
        other_sources=other_sources,
    )


def _merge_versions(old: list[VersionRecord], new: list[VersionRecord]) -> list[VersionRecord]:
    """Keep the sizes of versions that the new list has without sizes."""
    known = {version.version: version for version in old}
    return [
        known[version.version] if version.size_kb is None and version.version in known else version
        for version in new
    ]


def expand_sources(row: StoredPaper | StoredDetails, fields: tuple[str, ...]) -> dict[str, Source]:
    """Return the source of each field."""
    return dict.fromkeys(fields, row.source) | (row.other_sources or {})


def compress_sources(sources: Mapping[str, Source]) -> tuple[Source, dict[str, Source] | None]:
    """Return the source of most fields, and the fields that come from another one."""
    [(main, _)] = Counter(sources.values()).most_common(1)
    others = {name: source for name, source in sources.items() if source != main}
    return main, others or None


def _drop_sent(sent: SentFields, changes: Collection[str]) -> SentFields | None:
    """Return what the API sent for the fields that have not been replaced."""
    names = {"summary" if name == "abstract" else name for name in changes}
    replaced = dict.fromkeys(names.intersection(SentFields.__struct_fields__))
    kept = structs.replace(sent, **replaced)
    return None if kept == SentFields() else kept


def _fold(value: object) -> object:
    """Return what remains of a value without its form: TeX, accents, case and white space."""
    if isinstance(value, str):
        return fold_text(value).translate(_FORM)
    return sorted(value) if isinstance(value, list) else value
