"""Metadata of papers from arXiv's other sources: the snapshot, OAI-PMH and RSS."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from msgspec import Struct

from . import describe


class Source(StrEnum):
    """Where metadata of a paper came from."""

    API = "api"
    ARXIV = "arXiv"
    """The format of OAI-PMH with the parts of names, but without versions."""
    ARXIV_RAW = "arXivRaw"
    """The format of OAI-PMH with the versions and the submitter."""
    SNAPSHOT = "snapshot"
    RSS = "rss"


class AnnouncementType(StrEnum):
    """Why a paper is announced; in the order of arXiv's lists."""

    NEW = "new"
    CROSS = "cross"
    """Newly in a category other than its primary one."""
    REPLACE = "replace"
    """With a new version."""
    REPLACE_CROSS = "replace-cross"
    """With a new version, in a category other than its primary one."""


class VersionRecord(Struct, frozen=True, gc=False):
    """A version in the history of a paper."""

    version: Annotated[int, describe("number of the version", 1)]
    submitted: Annotated[int | None, describe("time of its submission, in Unix seconds")] = None
    size_kb: Annotated[int | None, describe("size of its source in kilobytes", 71)] = None
    source_type: Annotated[
        str | None,
        describe("kind of its source in arXiv's letters; `I` is a withdrawal", "D"),
    ] = None


class MirrorRecord(Struct, frozen=True, gc=False, kw_only=True):
    """The current state of a paper in one source, in the form that the API has.

    Times are Unix seconds. Texts are not empty: a missing one is None.
    """

    source: Source
    arxiv_id: str
    datestamp: int
    """The start of the day (UTC) on which arXiv changed the record last."""
    version: int | None
    """The latest version; None in the format `arXiv`."""
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None = None
    """Of each author; None if no author has any."""
    group_authors: list[str] = []
    abstract: str
    comment: str | None = None
    journal: str | None = None
    dois: list[str] = []
    primary_category: str | None
    categories: list[str]
    published: int | None = None
    """When version 1 was submitted; None in the format `arXiv`, which has only days."""
    updated: int | None = None
    """When the latest version was submitted."""
    withdrawn: bool = False
    submitter: str | None = None
    license: str | None = None
    report_number: str | None = None
    msc_class: str | None = None
    acm_class: str | None = None
    versions: list[VersionRecord] = []
    """The history, version 1 first; empty if the source has none."""


PAPER_FIELDS = (
    "title",
    "abstract",
    "comment",
    "journal",
    "dois",
    "categories",
    "primary_category",
    "published",
    "updated",
    "authors",
    "affiliations",
)
"""The fields of `papers` whose source is stored."""
DETAIL_FIELDS = "submitter", "license", "report_number", "msc_class", "acm_class", "versions"
"""The fields of `paper_details` whose source is stored."""


class PaperDetails(Struct, frozen=True, kw_only=True):
    """What the API does not have of a paper, and where the fields of one version come from."""

    submitter: str | None = None
    license: str | None = None
    report_number: str | None = None
    msc_class: str | None = None
    acm_class: str | None = None
    versions: list[VersionRecord] = []
    source: Source | None = None
    """Where these fields come from; None if there are none."""
    other_sources: dict[str, Source] | None = None
    """Those of them that come from another source."""
    paper_source: Source = Source.API
    """Where the other fields come from."""
    other_paper_sources: dict[str, Source] | None = None


class SyncState(Struct, frozen=True, kw_only=True):
    """A row of the table `mirror_syncs`: the progress of the sync of one set."""

    set_spec: str
    """Empty: all papers."""
    covered_from: date | None = None
    """All records that arXiv changed from this day to `covered_until` are stored."""
    covered_until: date | None = None
    synced_at: int | None = None
    """When the latest complete run began, in Unix seconds by the clock of the server."""
    run_from: date | None = None
    """The first day of the current run; None without one."""
    run_until: date | None = None
    """The last day of the current run; None: up to its beginning."""
    run_next: date | None = None
    """The first day that the current run has not completed."""
    window_until: date | None = None
    """The last day of the current list of records, which begins with `run_next`."""
    token: str | None = None
    """The resumption token of the next page of this list."""
    metadata_prefix: str | None = None
    """The format of this list."""
    run_started: int | None = None
    """When the first page of the current list was sent, in Unix seconds by the clock of the server:
    what arXiv changed later is not part of the run."""
    run_records: int = 0
    """Records that the current run has received."""
    run_invalid: int = 0
    """Records of the current run, or of the latest one, that could not be used."""
    skipped: list[date] = []
    """Days of the current run for which arXiv sent no usable response."""
    error: str | None = None
    """Why the latest attempt failed."""


class SyncStatus(Struct, frozen=True, kw_only=True):
    """How current the mirror of all papers is."""

    synced_at: int | None
    covered_from: date | None
    covered_until: date | None
    running: bool
    """Whether a sync is running, of any set."""
    error: str | None
    invalid: int
    """Records of the latest run that could not be used."""


class ImportState(Struct, frozen=True, kw_only=True):
    """A row of the table `mirror_imports`: the progress of the import of one file."""

    digest: str
    """Identifies the file."""
    file_name: str
    lines: int = 0
    """Lines that are stored or rejected."""
    position: int = 0
    """Bytes of these lines."""
    rejected: int = 0
    newest_datestamp: int = 0
    started: int
    """Unix seconds."""
    finished: int | None = None
    """Unix seconds; None until all lines are stored."""
    tail_digest: str = ""
    """Of the last bytes before `position`, which show whether the file is still the same."""
    is_whole: bool = False
    """Whether the file has all papers, so that the next sync continues from it."""


class EarlierAnnouncement(Struct, frozen=True):
    """An announcement of a version of a paper on an earlier day."""

    arxiv_id: str
    version: int
    type: AnnouncementType


class AnnouncementInsert(Struct, frozen=True, kw_only=True):
    """A row of the table `announcements`, without its day."""

    arxiv_id: str
    version: int
    type: AnnouncementType
    primary_category: str
    cross_categories: list[str]
    """The others, without a second name of the primary one."""


class FeedState(Struct, frozen=True, kw_only=True):
    """A row of the table `announcement_feeds` after the feed was read, without its day."""

    feed: str
    """Archives or categories, joined by `+`."""
    fetched: int
    """Unix seconds."""
    items: int
    is_stale: bool
    """Whether it has papers of another day."""
    pause: float
    """Seconds until it may be read again, if it is stale."""


class PaperRows(Struct, frozen=True, gc=False, array_like=True):
    """A record as rows that can be copied into the tables."""

    line: int
    """The number of its line in the block of the file."""
    arxiv_id: str
    version: int
    paper: bytes
    details: bytes


class ParsedBlock(Struct, frozen=True, array_like=True):
    """What a block of lines contains."""

    rows: list[PaperRows]
    rejected: list[tuple[int, str]]
    """The number of a line in the block, and why it cannot be used."""
    newest_datestamp: int
