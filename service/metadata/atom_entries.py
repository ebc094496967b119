"""What arXiv derives from the other fields of an Atom entry: its id, its links, its times."""

from collections.abc import Iterable
from datetime import datetime

from ..models.arxiv import Link
from .arxiv_ids import format_versioned_id


def format_entry_id(arxiv_id: str, version: int | None) -> str:
    """Return the id of an entry: the http URL of the paper, with its version if known."""
    return f"http://arxiv.org/abs/{format_versioned_id(arxiv_id, version)}"


def create_paper_links(arxiv_id: str | None, version: int | None) -> list[Link]:
    """Return the links to the abstract and to the PDF; none without an identifier."""
    if arxiv_id is None:
        return []
    name = format_versioned_id(arxiv_id, version)
    return [
        Link(f"https://arxiv.org/abs/{name}", "alternate", None, "text/html"),
        Link(f"https://arxiv.org/pdf/{name}", "related", "pdf", "application/pdf"),
    ]


def create_doi_link(doi: str) -> Link:
    """Return the link of a DOI, which arXiv does not encode."""
    return Link(f"https://doi.org/{doi}", "related", "doi")


def create_links(arxiv_id: str | None, version: int | None, dois: Iterable[str]) -> list[Link]:
    """Return the links of an entry."""
    return [*create_paper_links(arxiv_id, version), *map(create_doi_link, dois)]


def format_time(moment: datetime) -> str:
    """Format a time in UTC as in RFC 3339."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
