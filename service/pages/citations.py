"""The metadata of a paper in its page, for reference managers and search engines."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..formats import Reference
from ..metadata.person_names import format_surname_first
from .formulas import render_plain


def list_citation_tags(reference: Reference) -> list[tuple[str, str]]:
    """Return the names and contents of the <meta> elements that Highwire Press introduced."""
    return [(f"citation_{name}", content) for name, content in _iterate_tags(reference) if content]


def _iterate_tags(reference: Reference) -> Iterator[tuple[str, str | None]]:
    arxiv_id = reference.arxiv_id
    yield "title", render_plain(reference.title)
    groups = set(reference.group_authors)
    for author in reference.authors:
        # rendered last: braces in TeX show which words are one name
        name = author if author in groups else format_surname_first(author)
        yield "author", render_plain(name)
    yield "date", _format_date(reference.published)
    yield "publication_date", _format_date(reference.cited)
    yield "online_date", _format_date(reference.updated)
    yield "journal_title", render_plain(reference.journal or "")
    yield "doi", reference.doi
    yield "arxiv_id", arxiv_id
    yield "publisher", "arXiv"
    yield "abstract_html_url", reference.url
    yield "pdf_url", f"https://arxiv.org/pdf/{reference.key}" if arxiv_id else None
    yield "keywords", "; ".join(reference.categories)
    yield "abstract", render_plain(reference.abstract or "")


def _format_date(moment: datetime | None) -> str | None:
    return f"{moment:%Y/%m/%d}" if moment else None


def create_json_ld(reference: Reference, url: str, license_url: str | None) -> dict[str, Any]:
    """Return a paper in the vocabulary of schema.org."""
    groups = set(reference.group_authors)
    fields = {
        "@context": "https://schema.org",
        "@type": "ScholarlyArticle",
        "@id": reference.uri,
        "url": url,
        "name": render_plain(reference.title),
        "author": [
            {"@type": "Organization" if name in groups else "Person", "name": render_plain(name)}
            for name in reference.authors
        ],
        "abstract": render_plain(reference.abstract or ""),
        "datePublished": _format_day(reference.published),
        "dateModified": _format_day(reference.updated),
        "license": license_url,
        "keywords": reference.categories,
        "identifier": [
            {"@type": "PropertyValue", "propertyID": "arXiv", "value": reference.arxiv_id},
            {"@type": "PropertyValue", "propertyID": "DOI", "value": reference.doi},
        ],
        "sameAs": [reference.url, f"https://doi.org/{reference.doi}"],
        "publisher": {"@type": "Organization", "name": "arXiv"},
    }
    return {name: value for name, value in fields.items() if value}


def _format_day(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d}" if moment else None
