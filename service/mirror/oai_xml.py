"""Parser for responses of arXiv's OAI-PMH server. Pure functions from bytes to structs.

arXiv's servers before and after March 2025 differ in white space, sets and resumption tokens. The
elements of a record are found by name, since some captures lack the namespace of the format.
"""

import math
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from lxml import etree
from msgspec import structs

from ..arxiv_xml import MAX_WORD_CHARS
from ..metadata.person_names import Authors
from ..metadata.withdrawal import is_withdrawn
from ..models.mirror import MirrorRecord, Source, VersionRecord
from ..untrusted_xml import ChildReader, InvalidResponse, get_name, get_text, parse_or_repair
from .text_form import (
    EARLIEST,
    FUTURE_SECONDS,
    InvalidRecord,
    Person,
    clean_abstract,
    clean_dois,
    clean_name,
    clean_note,
    clean_text,
    clean_title,
    join_authors,
    parse_day,
    parse_id,
    parse_size,
    parse_time,
    parse_version,
    sort_versions,
    split_categories,
    split_raw_authors,
    unescape,
)

MAX_TOKEN_CHARS = 5_000
MAX_VERSIONS = 2_000
MAX_REASON_CHARS = 1_000

_OAI = "{http://www.openarchives.org/OAI/2.0/}"
_PREFIX = "oai:arXiv.org:"

Verb = Literal["ListRecords", "GetRecord"]
MetadataPrefix = Literal["arXiv", "arXivRaw"]


class OaiError(NamedTuple):
    """An error that the server reports instead of records."""

    code: str
    """For example `noRecordsMatch`."""
    message: str


class OaiPage(NamedTuple):
    """One response with records, or with an error."""

    records: list[MirrorRecord]
    deleted: list[str]
    """The identifiers of records that are marked as deleted."""
    token: str | None
    """The resumption token; None on the last page."""
    invalid: list[tuple[str, str]]
    """The identifier of each record that cannot be used (or its position), and the reason."""
    response_date: int
    """The time of the server, in Unix seconds."""
    newest_datestamp: int | None
    """The newest of all datestamps of the page."""
    error: OaiError | None
    request: dict[str, str]
    """The arguments that the server answered: another request means another answer."""
    warnings: list[str]
    """How the page differs from what arXiv sent."""


def parse_page(
    body: bytes | bytearray,
    *,
    verb: Verb,
    metadata_prefix: MetadataPrefix,
    deadline: float = math.inf,
) -> OaiPage:
    """Parse a response to ListRecords or GetRecord in the format `arXiv` or `arXivRaw`.

    A record that cannot be used is reported in `invalid`. Raises InvalidResponse if the bytes are
    not a complete answer to that verb, and TimeoutError at `deadline` (in seconds of
    `time.monotonic`).
    """
    return parse_or_repair(
        body,
        lambda pieces, warnings: _PageParser(verb, metadata_prefix, deadline).parse(
            pieces, warnings
        ),
    )


class _Header(NamedTuple):
    arxiv_id: str
    datestamp: int
    is_deleted: bool


class _PageParser:
    """Parses one page."""

    def __init__(self, verb: Verb, metadata_prefix: MetadataPrefix, deadline: float) -> None:
        self._verb, self._prefix = verb, metadata_prefix
        root, parent = f"{_OAI}OAI-PMH", f"{_OAI}{verb}"
        self._reader = ChildReader(root, frozenset({parent}), f"{_OAI}record", deadline)
        self._records: list[MirrorRecord] = []
        self._deleted: list[str] = []
        self._invalid: list[tuple[str, str]] = []
        self._token: str | None = None
        self._newest: int | None = None
        self._position = 0
        self._response_date: int | None = None

    def parse(self, pieces: Iterator[bytes], warnings: list[str]) -> OaiPage:
        for element in self._reader.read(pieces):
            if element.tag == f"{_OAI}record":
                self._take_record(element)
            elif element.tag == f"{_OAI}resumptionToken":
                self._token = get_text(element).strip() or None
        return self._create_page(warnings)

    def _create_page(self, warnings: list[str]) -> OaiPage:
        root = self._reader.root
        error = _find_error(root)
        if self._reader.parent is None and error is None:
            raise InvalidResponse(f"it contains neither {self._verb} nor an error")
        if self._token and len(self._token) > MAX_TOKEN_CHARS:
            raise InvalidResponse(f"a resumption token of {len(self._token)} characters")
        return OaiPage(
            records=self._records,
            deleted=self._deleted,
            token=self._token,
            invalid=self._invalid,
            response_date=self._get_response_date(),
            newest_datestamp=self._newest,
            error=error,
            request=_get_request(root),
            warnings=warnings,
        )

    def _take_record(self, record: etree._Element) -> None:
        self._position += 1
        fields = _get_fields(record)
        header = _get_fields(fields["header"]) if "header" in fields else {}
        identifier = " ".join(_read(header, "identifier").split())
        try:
            datestamp = parse_day(_read(header, "datestamp"), "datestamp", self._get_latest())
            self._newest = max(datestamp, self._newest or datestamp)
            arxiv_id = parse_id(identifier.removeprefix(_PREFIX))
            if fields["header"].get("status") == "deleted":
                self._deleted.append(arxiv_id)
            else:
                self._records.append(self._parse_metadata(fields, arxiv_id, datestamp))
        except InvalidRecord as error:
            self._invalid.append((identifier[:100] or f"record {self._position}", str(error)))

    def _get_response_date(self) -> int:
        if self._response_date is None:
            self._response_date = _parse_response_date(self._reader.root)
        return self._response_date

    def _get_latest(self) -> float:
        """Return the time after which no record has changed, even if one of two clocks is slow."""
        return max(self._get_response_date(), time.time())

    def _parse_metadata(
        self, fields: dict[str, etree._Element], arxiv_id: str, datestamp: int
    ) -> MirrorRecord:
        metadata = next(iter(fields["metadata"]), None) if "metadata" in fields else None
        if metadata is None or get_name(str(metadata.tag)) != self._prefix:
            raise InvalidRecord(f"no metadata in the format {self._prefix}")
        if self._prefix == "arXivRaw":
            return _parse_raw(metadata, arxiv_id, datestamp, self._get_latest())
        return _parse_split(metadata, arxiv_id, datestamp)


def _parse_raw(
    metadata: etree._Element, arxiv_id: str, datestamp: int, latest: float
) -> MirrorRecord:
    fields = _get_fields(metadata)
    versions = _parse_versions(metadata, latest)
    authors = split_raw_authors(unescape(_read(fields, "authors")))
    record = _create_record(fields, Source.ARXIV_RAW, arxiv_id, datestamp, authors)
    return structs.replace(
        record,
        version=versions[-1].version,
        versions=versions,
        published=versions[0].submitted if versions[0].version == 1 else None,
        updated=versions[-1].submitted,
        submitter=clean_name(_read(fields, "submitter"), "submitter") or None,
        withdrawn=record.withdrawn or "I" in (versions[-1].source_type or ""),
    )


def _parse_versions(metadata: etree._Element, latest: float) -> list[VersionRecord]:
    elements = [child for child in metadata if get_name(str(child.tag)) == "version"]
    if len(elements) > MAX_VERSIONS:
        raise InvalidRecord(f"{len(elements)} versions, more than {MAX_VERSIONS}")
    return sort_versions(_parse_version(element, latest) for element in elements)


def _parse_version(element: etree._Element, latest: float) -> VersionRecord:
    fields = _get_fields(element)
    return VersionRecord(
        parse_version(element.get("version", "")),
        parse_time(_read(fields, "date"), "date", latest),
        parse_size(_read(fields, "size")),
        clean_text(_read(fields, "source_type"), MAX_WORD_CHARS, "source_type") or None,
    )


def _parse_split(metadata: etree._Element, arxiv_id: str, datestamp: int) -> MirrorRecord:
    fields = _get_fields(metadata)
    elements: Iterable[etree._Element] = fields.get("authors", ())
    authors = join_authors([_parse_person(element) for element in elements])
    return _create_record(fields, Source.ARXIV, arxiv_id, datestamp, authors)


def _parse_person(element: etree._Element) -> Person:
    fields = _get_fields(element)
    places = [get_text(each) for each in element if get_name(str(each.tag)) == "affiliation"]
    keyname, forenames, suffix = (
        _read(fields, name) for name in ("keyname", "forenames", "suffix")
    )
    return Person(keyname, forenames, suffix, tuple(places))


def _create_record(
    fields: dict[str, etree._Element],
    source: Source,
    arxiv_id: str,
    datestamp: int,
    authors: Authors,
) -> MirrorRecord:
    """Create a record of the elements that both formats have."""
    if parse_id(_read(fields, "id")) != arxiv_id:
        raise InvalidRecord(f"the metadata are those of {_read(fields, 'id')[:100]!r}")
    categories = split_categories(_read(fields, "categories"))
    comment = clean_note(unescape(_read(fields, "comments")), "comments")
    msc_class = clean_note(_read(fields, "msc-class"), "msc-class")
    acm_class = clean_note(_read(fields, "acm-class"), "acm-class")
    return MirrorRecord(
        source=source,
        arxiv_id=arxiv_id,
        datestamp=datestamp,
        version=None,
        title=clean_title(unescape(_read(fields, "title"))),
        authors=authors.names,
        affiliations=authors.affiliations if any(authors.affiliations) else None,
        group_authors=authors.groups,
        abstract=clean_abstract(unescape(_read(fields, "abstract"))),
        comment=comment,
        journal=clean_note(unescape(_read(fields, "journal-ref")), "journal-ref"),
        dois=clean_dois(_read(fields, "doi")),
        primary_category=categories[0],
        categories=categories,
        withdrawn=is_withdrawn(comment),
        license=clean_note(_read(fields, "license"), "license"),
        report_number=clean_note(unescape(_read(fields, "report-no")), "report-no"),
        msc_class=msc_class,
        # arXiv's server fills it with the MSC class or with None
        acm_class=None if acm_class in {msc_class, "None"} else acm_class,
    )


def _get_fields(element: etree._Element) -> dict[str, etree._Element]:
    """Return the first child of each name."""
    fields: dict[str, etree._Element] = {}
    for child in element:
        fields.setdefault(get_name(str(child.tag)), child)
    return fields


def _read(fields: dict[str, etree._Element], name: str) -> str:
    return get_text(fields[name]).strip() if name in fields else ""


def _find_error(root: etree._Element) -> OaiError | None:
    error = root.find(f"{_OAI}error")
    if error is None:
        return None
    message = " ".join(get_text(error).split())[:MAX_REASON_CHARS]
    return OaiError(error.get("code", "")[:100], message)


def _get_request(root: etree._Element) -> dict[str, str]:
    request = root.find(f"{_OAI}request")
    return {} if request is None else {str(key): str(text) for key, text in request.items()}


def _parse_response_date(root: etree._Element) -> int:
    text = (root.findtext(f"{_OAI}responseDate") or "").strip()[:MAX_WORD_CHARS]
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError as error:
        raise InvalidResponse(f"responseDate is {text!r}, not a time") from error
    seconds = int(moment.timestamp())
    if not EARLIEST <= seconds <= time.time() + FUTURE_SECONDS:
        raise InvalidResponse(f"responseDate is {text!r}, which is not the present time")
    return seconds
