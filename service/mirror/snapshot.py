"""Parser for the lines of the snapshot `arxiv-metadata-oai-snapshot.json`. Pure functions."""

import time

import msgspec
from msgspec import Struct

from ..metadata.withdrawal import is_withdrawn
from ..models.mirror import MirrorRecord, Source, VersionRecord
from ..untrusted_xml import MAX_ITEM_BYTES
from .text_form import (
    FUTURE_SECONDS,
    InvalidRecord,
    Person,
    clean_abstract,
    clean_dois,
    clean_name,
    clean_note,
    clean_title,
    join_authors,
    parse_day,
    parse_id,
    parse_time,
    parse_version,
    sort_versions,
    split_categories,
)


class _Version(Struct, gc=False):
    version: str
    created: str


class _Line(Struct, gc=False):
    """The fields of a line that are needed."""

    id: str
    title: str
    categories: str
    versions: list[_Version]
    update_date: str
    authors_parsed: list[list[str]]
    abstract: str | None = None
    submitter: str | None = None
    comments: str | None = None
    journal_ref: str | None = msgspec.field(name="journal-ref", default=None)
    doi: str | None = None
    report_no: str | None = msgspec.field(name="report-no", default=None)
    license: str | None = None


_DECODER = msgspec.json.Decoder(_Line)


def parse_line(line: bytes) -> MirrorRecord:
    """Return the paper in a line. Raises InvalidRecord, whose message is the reason."""
    if len(line) > MAX_ITEM_BYTES:
        raise InvalidRecord(f"{len(line)} bytes, more than {MAX_ITEM_BYTES}")
    try:
        data = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord(str(error)[:200]) from error
    latest = time.time()
    versions = _parse_versions(data.versions, latest)
    authors = join_authors(list(map(_create_person, data.authors_parsed)))
    categories = split_categories(data.categories)
    comment = clean_note(data.comments, "comments")
    return MirrorRecord(
        source=Source.SNAPSHOT,
        arxiv_id=parse_id(data.id),
        # the next sync continues from the newest: it must not be in the future
        datestamp=parse_day(data.update_date, "update_date", latest - FUTURE_SECONDS),
        version=versions[-1].version,
        title=clean_title(data.title),
        authors=authors.names,
        affiliations=authors.affiliations if any(authors.affiliations) else None,
        group_authors=authors.groups,
        abstract=clean_abstract(data.abstract),
        comment=comment,
        journal=clean_note(data.journal_ref, "journal-ref"),
        dois=clean_dois(data.doi),
        primary_category=categories[0],
        categories=categories,
        published=versions[0].submitted if versions[0].version == 1 else None,
        updated=versions[-1].submitted,
        withdrawn=is_withdrawn(comment),
        submitter=clean_name(data.submitter, "submitter") or None,
        license=clean_note(data.license, "license"),
        report_number=clean_note(data.report_no, "report-no"),
        versions=versions,
    )


def _parse_versions(versions: list[_Version], latest: float) -> list[VersionRecord]:
    return sort_versions(
        VersionRecord(parse_version(each.version), parse_time(each.created, "created", latest))
        for each in versions
    )


def _create_person(parts: list[str]) -> Person:
    if len(parts) == 3:  # noqa: PLR2004 - the usual case, in half the time
        return Person(parts[0], parts[1], parts[2])
    keyname, forenames, suffix, *affiliations = [*parts, *("" for _ in range(3 - len(parts)))]
    return Person(keyname, forenames, suffix, tuple(affiliations))
