"""Atom feeds in the two families of arXiv: `new` (since November 2025) and `old`."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlencode, urlsplit
from xml.sax import saxutils
from xml.sax.saxutils import quoteattr

from demo import query as language

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from demo.papers import Author, Paper

Family = Literal["new", "old"]

ERRORS: Final = "https://arxiv.org/api/errors"


class UnsupportedCharacterError(ValueError):
    """A parameter contains a character that XML does not allow."""


_UNSUPPORTED: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ATOM: Final = "http://www.w3.org/2005/Atom"
_ARXIV: Final = "http://arxiv.org/schemas/atom"
_OPENSEARCH: Final = "http://a9.com/-/spec/opensearch/1.1/"
_PDF: Final = 'type="application/pdf"'
_EASTERN: Final = timezone(timedelta(hours=-5))  # the old server used midnight in New York


def render(
    papers: Sequence[Paper],
    *,
    query: str | None = "all:testing",
    id_list: Sequence[str] = (),
    start: int = 0,
    max_results: int | None = None,
    total: int | None = None,
    updated: datetime | None = None,
    family: Family = "new",
) -> bytes:
    """Render the feed of one page of papers.

    The title contains the query, which the server has rewritten before; the link contains it as it
    was parsed. By default, the papers are all results, on one page. Raises
    UnsupportedCharacterError.
    """
    size = len(papers) if max_results is None else max_results
    ids = ",".join(id_list)
    parameters = f"search_query={query or ''}&id_list={ids}&start={start}&max_results={size}"
    _check_characters(parameters)
    updated = updated or datetime.now(UTC)
    count = len(papers) if total is None else total
    if family == "old":
        head = _render_old_head(parameters, updated, count, start, size)
        return _encode_feed(head, map(_render_old_entry, papers))
    tree = "" if query is None else language.format_tree(language.parse(query))
    link = urlencode(
        {"search_query": tree, "start": start, "max_results": size, "id_list": ids},
        safe="!$'()*,/:;?@",
    )
    head = (
        _NEW_OPENING
        + f"  <id>https://arxiv.org/api/{_compute_digest(parameters)}</id>\n"
        + f"  <title>arXiv Query: {_escape(parameters)}</title>\n"
        + f"  <updated>{format_time(updated)}</updated>\n"
        + f"  <link href={_quote_attribute(f'https://arxiv.org/api/query?{link}')}"
        + ' type="application/atom+xml"/>\n'
        + _render_counts(count, start, size)
    )
    return _encode_feed(head, map(_render_new_entry, papers))


def error(
    message: str, link: str = ERRORS, updated: datetime | None = None, family: Family = "new"
) -> bytes:
    """Render the feed of an error: one entry with the title Error.

    Raises UnsupportedCharacterError.
    """
    _check_characters(message)
    updated = updated or datetime.now(UTC)
    if family == "old":
        link = link.replace("https:", "http:")
        time = _format_old_midnight(updated)
        head = _render_old_head("search_query=&id_list=", updated, 1, 0, 1)
    else:
        time = format_time(updated)
        head = (
            _NEW_OPENING
            + "  <id>https://arxiv.org/</id>\n"
            + "  <title>arXiv Search Results</title>\n"
            + f"  <updated>{time}</updated>\n"
            + _render_counts(1, 0, 1)
        )
    entry = (
        "  <entry>\n"
        f"    <id>{_escape(link)}</id>\n"
        "    <title>Error</title>\n"
        f"    <updated>{time}</updated>\n"
        f"    <link href={_quote_attribute(urlsplit(link).geturl())}"
        ' rel="alternate" type="text/html"/>\n'
        f"    <summary>{_escape(message)}</summary>\n"
        "    <author>\n"
        "      <name>arXiv api core</name>\n"
        "    </author>\n"
        "  </entry>\n"
    )
    return _encode_feed(head, [entry])


def format_time(moment: datetime) -> str:
    """Format a time as in feeds."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _check_characters(text: str) -> None:
    if _UNSUPPORTED.search(text):
        raise UnsupportedCharacterError


def _escape(text: str) -> str:
    """Escape a text for an element."""
    return saxutils.escape(text, {"\r": "&#13;"})


def _encode_feed(head: str, entries: Iterable[str]) -> bytes:
    return f"{head}{''.join(entries)}</feed>\n".encode()


def _compute_digest(parameters: str) -> str:
    digest = hashlib.sha1(parameters.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode().rstrip("=")


def _quote_attribute(value: str) -> str:
    return quoteattr(value, {'"': "&quot;"})


_NEW_OPENING: Final = (
    "<?xml version='1.0' encoding='UTF-8'?>\n"
    f'<feed xmlns:opensearch="{_OPENSEARCH}" xmlns:arxiv="{_ARXIV}" xmlns="{_ATOM}">\n'
)


def _render_counts(total: int, start: int, size: int) -> str:
    return (
        f"  <opensearch:itemsPerPage>{size}</opensearch:itemsPerPage>\n"
        f"  <opensearch:totalResults>{total}</opensearch:totalResults>\n"
        f"  <opensearch:startIndex>{start}</opensearch:startIndex>\n"
    )


@lru_cache(maxsize=4096)
def _render_new_entry(paper: Paper) -> str:
    name = f"{paper.arxiv_id}v{paper.version}"
    lines = [
        "  <entry>",
        f"    <id>http://arxiv.org/abs/{name}</id>",
        f"    <title>{_escape(paper.title)}</title>",
        f"    <updated>{format_time(paper.updated)}</updated>",
        f'    <link href="https://arxiv.org/abs/{name}" rel="alternate" type="text/html"/>',
        f'    <link href="https://arxiv.org/pdf/{name}" rel="related" {_PDF} title="pdf"/>',
        f"    <summary>{_escape(paper.abstract)}</summary>",
        *(f'    <category term="{name}" scheme="{_ARXIV}"/>' for name in paper.categories),
        f"    <published>{format_time(paper.submitted)}</published>",
    ]
    if paper.comment:
        lines.append(f"    <arxiv:comment>{_escape(paper.comment)}</arxiv:comment>")
    lines.append(f'    <arxiv:primary_category term="{paper.categories[0]}"/>')
    if paper.journal_ref:
        lines.append(f"    <arxiv:journal_ref>{_escape(paper.journal_ref)}</arxiv:journal_ref>")
    lines.extend(_render_author(author, "") for author in paper.authors)
    for doi in paper.dois:
        lines.append(f"    <arxiv:doi>{_escape(doi)}</arxiv:doi>")
        href = _quote_attribute(f"https://doi.org/{doi}")
        lines.append(f'    <link rel="related" href={href} title="doi"/>')
    lines.append("  </entry>\n")
    return "\n".join(lines)


def _render_author(author: Author, namespace: str) -> str:
    lines = ["    <author>", f"      <name>{_escape(author.name)}</name>"]
    lines.extend(
        f"      <arxiv:affiliation{namespace}>{_escape(affiliation)}</arxiv:affiliation>"
        for affiliation in author.affiliations
    )
    lines.append("    </author>")
    return "\n".join(lines)


# Feeds of the old family declare namespaces on each element that uses them.

_NS_ARXIV: Final = f' xmlns:arxiv="{_ARXIV}"'
_NS_OPENSEARCH: Final = f' xmlns:opensearch="{_OPENSEARCH}"'


def _render_old_head(parameters: str, updated: datetime, total: int, start: int, size: int) -> str:
    counts = {"totalResults": total, "startIndex": start, "itemsPerPage": size}
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<feed xmlns="{_ATOM}">\n'
        f'  <link href="http://arxiv.org/api/query?{quote(parameters)}" rel="self"'
        ' type="application/atom+xml"/>\n'
        f'  <title type="html">ArXiv Query: {_escape(parameters)}</title>\n'
        f"  <id>http://arxiv.org/api/{_compute_digest(parameters)}</id>\n"
        f"  <updated>{_format_old_midnight(updated)}</updated>\n"
        + "".join(
            f"  <opensearch:{name}{_NS_OPENSEARCH}>{count}</opensearch:{name}>\n"
            for name, count in counts.items()
        )
    )


def _format_old_midnight(updated: datetime) -> str:
    return f"{updated.astimezone(_EASTERN):%Y-%m-%dT00:00:00-05:00}"


def _render_old_entry(paper: Paper) -> str:
    name = f"{paper.arxiv_id}v{paper.version}"
    lines = [
        "  <entry>",
        f"    <id>http://arxiv.org/abs/{name}</id>",
        f"    <updated>{format_time(paper.updated)}</updated>",
        f"    <published>{format_time(paper.submitted)}</published>",
        f"    <title>{_escape(_wrap_text(paper.title, '  '))}</title>",
        f"    <summary>  {_escape(_wrap_text(paper.abstract, ''))}\n</summary>",
        *(_render_author(author, _NS_ARXIV) for author in paper.authors),
    ]
    for doi in paper.dois:
        lines.append(f"    <arxiv:doi{_NS_ARXIV}>{_escape(doi)}</arxiv:doi>")
        href = _quote_attribute(f"http://dx.doi.org/{doi}")
        lines.append(f'    <link title="doi" href={href} rel="related"/>')
    for element, text in ("comment", paper.comment), ("journal_ref", paper.journal_ref):
        if text is not None:
            wrapped = _escape(_wrap_text(text, "  "))
            lines.append(f"    <arxiv:{element}{_NS_ARXIV}>{wrapped}</arxiv:{element}>")
    primary, *_ = paper.categories
    lines += [
        f'    <link href="http://arxiv.org/abs/{name}" rel="alternate" type="text/html"/>',
        f'    <link title="pdf" href="http://arxiv.org/pdf/{name}" rel="related" {_PDF}/>',
        f'    <arxiv:primary_category{_NS_ARXIV} term="{primary}" scheme="{_ARXIV}"/>',
        *(
            f'    <category term="{term}" scheme="{_ARXIV}"/>'
            for term in (*paper.categories, *paper.classes)
        ),
        "  </entry>\n",
    ]
    return "\n".join(lines)


def _wrap_text(text: str, indent: str) -> str:
    """Wrap a text as the old server did, even titles."""
    return textwrap.fill(re.sub(r"\s+", " ", text.strip()), 79, subsequent_indent=indent)
