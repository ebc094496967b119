"""Metadata of papers from arXiv's other sources: the snapshot, OAI-PMH and RSS."""

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
