"""Rows -> bibliographic references, which BibTeX, RIS and Atom serialize."""

from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct, convert
from msgspec.structs import asdict

from ..models.records import PaperRow, QueryRow, ResultRow


class Reference(Struct, frozen=True, kw_only=True):
    """A paper, or a recorded search. Times are in UTC."""

    key: str
    """Unique in a file: 2101.00001v2, query42."""
    uri: str
    """Permanent identifier, independent of the address of the service."""
    url: str | None = None
    kind: Literal["paper", "search"]
    title: str
    authors: list[str] = []
    abstract: str | None = None
    journal: str | None = None
    comment: str | None = None
    published: datetime | None = None
    updated: datetime | None = None
    dois: list[str] = []
    arxiv_id: str | None = None
    primary_category: str | None = None
    categories: list[str] = []

    @classmethod
    def from_paper(cls, paper: PaperRow, updated: int | None = None) -> "Reference":
        """Convert a paper; `updated` (Unix seconds) replaces the date of its version."""
        name = _format_versioned_id(paper.arxiv_id, paper.version)
        fields = asdict(paper) | {
            "key": name,
            "uri": f"http://arxiv.org/abs/{quote(name)}",
            "url": f"https://arxiv.org/abs/{quote(name)}",
            "kind": "paper",
            "published": _to_datetime(paper.published),
            "updated": _to_datetime(paper.updated if updated is None else updated),
        }
        return convert(fields, cls)

    @classmethod
    def from_result(cls, result: ResultRow, base_url: str) -> "Reference":
        """Convert a result whose paper is not stored."""
        name = _format_versioned_id(result.arxiv_id, result.version)
        number = f"{result.query_id}.{result.result_number}"
        if name:
            uri, url = f"http://arxiv.org/abs/{quote(name)}", f"https://arxiv.org/abs/{quote(name)}"
        else:
            uri = _create_urn(number, result.title)
            url = f"{base_url}queries/{result.query_id}#{result.result_number}"
        return cls(
            key=name or f"query{number}",
            uri=uri,
            url=url,
            kind="paper",
            title=result.title,
            authors=[author for author in result.author.split(", ") if author],
            journal=result.journal,
            updated=_to_datetime(result.timestamp),
            arxiv_id=result.arxiv_id,
        )

    @classmethod
    def from_query(cls, query: QueryRow, base_url: str) -> "Reference":
        """Convert a recorded search."""
        return cls(
            key=f"query{query.query_id}",
            uri=_create_urn(f"{query.query_id}", f"{query.timestamp} {query.query}"),
            url=f"{base_url}queries/{query.query_id}",
            kind="search",
            title=query.heading,
            comment=f"status {query.status}, {query.outcome}: {query.num_results} papers match,"
            f" {query.num_entries} are stored",
            published=_to_datetime(query.timestamp),
            updated=_to_datetime(query.timestamp),
        )


def _format_versioned_id(arxiv_id: str | None, version: int | None) -> str:
    return f"{arxiv_id}v{version}" if arxiv_id and version else arxiv_id or ""


def _create_urn(number: str, text: str) -> str:
    return uuid5(NAMESPACE_URL, f"arxiv-gateway {number} {text}").urn


def _to_datetime(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
