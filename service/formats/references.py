"""Papers and searches as bibliographies and feeds name them."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from ..models.records import PaperRow, QueryRow, ResultRow
from ..models.responses import Reference


def of_paper(paper: PaperRow, updated: int | None = None) -> Reference:
    """A paper; `updated` (Unix seconds) is the date of its version, unless a feed has another."""
    name = _name(paper.arxiv_id, paper.version)
    return Reference(
        key=name,
        uri=f"http://arxiv.org/abs/{quote(name)}",
        url=f"https://arxiv.org/abs/{quote(name)}",
        kind="paper",
        title=paper.title,
        authors=paper.authors,
        abstract=paper.abstract,
        journal=paper.journal,
        comment=paper.comment,
        published=_moment(paper.published),
        updated=_moment(paper.updated if updated is None else updated),
        dois=paper.dois,
        arxiv_id=paper.arxiv_id,
        version=paper.version or None,
        primary_category=paper.primary_category,
        categories=paper.categories,
    )


def of_result(result: ResultRow, base: str) -> Reference:
    """A result of which only its own row is known; `base` is the address of the service."""
    name = _name(result.arxiv_id, result.version)
    number = f"{result.query_id}.{result.result_number}"
    place = f"{base}queries/{result.query_id}#{result.result_number}"
    return Reference(
        key=name or f"query{number}",
        uri=f"http://arxiv.org/abs/{quote(name)}" if name else _uri(number, result.title),
        url=f"https://arxiv.org/abs/{quote(name)}" if name else place,
        kind="paper",
        title=result.title,
        authors=[name for name in result.author.split(", ") if name],
        journal=result.journal,
        updated=_moment(result.timestamp),
        arxiv_id=result.arxiv_id,
        version=result.version,
    )


def of_query(query: QueryRow, base: str) -> Reference:
    """A recorded search; `base` is the address of the service."""
    return Reference(
        key=f"query{query.query_id}",
        uri=_uri(f"{query.query_id}", f"{query.timestamp} {query.query}"),
        url=f"{base}queries/{query.query_id}",
        kind="search",
        title=query.heading,
        comment=f"status {query.status}, {query.outcome}: {query.num_results} papers match,"
        f" {query.num_entries} are stored",
        published=_moment(query.timestamp),
        updated=_moment(query.timestamp),
    )


def _name(arxiv_id: str | None, version: int | None) -> str:
    return f"{arxiv_id}v{version}" if arxiv_id and version else arxiv_id or ""


def _uri(number: str, text: str) -> str:
    """A name that stays the same wherever the service is reached."""
    return uuid5(NAMESPACE_URL, f"arxiv-gateway {number} {text}").urn


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
