"""Atom feeds as arXiv writes them, in its family since November 2025 or in the older one."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from demo import query as language

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from demo.papers import Author, Paper

Family = Literal["new", "old"]

ERRORS: Final = "https://arxiv.org/api/errors"

_ATOM: Final = "http://www.w3.org/2005/Atom"
_ARXIV: Final = "http://arxiv.org/schemas/atom"
_OPENSEARCH: Final = "http://a9.com/-/spec/opensearch/1.1/"
_PDF: Final = 'type="application/pdf"'
_EASTERN: Final = timezone(timedelta(hours=-5))  # the old server's midnight was New York's


def render(
    papers: Sequence[Paper],
    *,
    query: str = "all:testing",
    id_list: Sequence[str] = (),
    start: int = 0,
    max_results: int | None = None,
    total: int | None = None,
    updated: datetime | None = None,
    family: Family = "new",
) -> bytes:
    """Write the feed of one page of answers.

    The query is rewritten for the title, and parsed for the link, as the server would. What
    is left out follows from the papers: they are all there is, on one page.
    """
    size = len(papers) if max_results is None else max_results
    rewritten = language.rewrite(query)
    ids = ",".join(id_list)
    asked = f"search_query={rewritten}&id_list={ids}&start={start}&max_results={size}"
    updated = updated or datetime.now(UTC)
    count = len(papers) if total is None else total
    if family == "old":
        head = _old_head(asked, updated, count, start, size)
        return _bytes(head, map(_old_entry, papers))
    tree = language.shown(language.parse(rewritten)) if rewritten else ""
    link = urlencode(
        {"search_query": tree, "start": start, "max_results": size, "id_list": ids},
        safe="!$'()*,/:;?@",
    )
    head = (
        _NEW_OPENING
        + f"  <id>https://arxiv.org/api/{_digest(asked)}</id>\n"
        + f"  <title>arXiv Query: {escape(asked)}</title>\n"
        + f"  <updated>{stamp(updated)}</updated>\n"
        + f"  <link href={_attribute(f'https://arxiv.org/api/query?{link}')}"
        + ' type="application/atom+xml"/>\n'
        + _counts(count, start, size)
    )
    return _bytes(head, map(_new_entry, papers))


def error(
    message: str, link: str = ERRORS, updated: datetime | None = None, family: Family = "new"
) -> bytes:
    """Write the feed that stands for an error: one entry, titled Error."""
    updated = updated or datetime.now(UTC)
    if family == "old":
        link = link.replace("https:", "http:")
        head = _old_head("search_query=&id_list=", updated, 1, 0, 1)
    else:
        head = (
            _NEW_OPENING
            + "  <id>https://arxiv.org/</id>\n"
            + "  <title>arXiv Search Results</title>\n"
            + f"  <updated>{stamp(updated)}</updated>\n"
            + _counts(1, 0, 1)
        )
    entry = (
        "  <entry>\n"
        f"    <id>{escape(link)}</id>\n"
        "    <title>Error</title>\n"
        f"    <updated>{_old_midnight(updated) if family == 'old' else stamp(updated)}</updated>\n"
        f'    <link href={_attribute(link)} rel="alternate" type="text/html"/>\n'
        f"    <summary>{escape(message)}</summary>\n"
        "    <author>\n"
        "      <name>arXiv api core</name>\n"
        "    </author>\n"
        "  </entry>\n"
    )
    return _bytes(head, [entry])


def stamp(moment: datetime) -> str:
    """Write a time as feeds do."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _bytes(head: str, entries: Iterable[str]) -> bytes:
    return f"{head}{''.join(entries)}</feed>\n".encode()


def _digest(asked: str) -> str:
    digest = hashlib.sha1(asked.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode().rstrip("=")


def _attribute(value: str) -> str:
    return quoteattr(value, {'"': "&quot;"})


_NEW_OPENING: Final = (
    "<?xml version='1.0' encoding='UTF-8'?>\n"
    f'<feed xmlns:opensearch="{_OPENSEARCH}" xmlns:arxiv="{_ARXIV}" xmlns="{_ATOM}">\n'
)


def _counts(total: int, start: int, size: int) -> str:
    return (
        f"  <opensearch:itemsPerPage>{size}</opensearch:itemsPerPage>\n"
        f"  <opensearch:totalResults>{total}</opensearch:totalResults>\n"
        f"  <opensearch:startIndex>{start}</opensearch:startIndex>\n"
    )


@lru_cache(maxsize=4096)
def _new_entry(paper: Paper) -> str:
    name = f"{paper.arxiv_id}v{paper.version}"
    lines = [
        "  <entry>",
        f"    <id>http://arxiv.org/abs/{name}</id>",
        f"    <title>{escape(paper.title)}</title>",
        f"    <updated>{stamp(paper.updated)}</updated>",
        f'    <link href="https://arxiv.org/abs/{name}" rel="alternate" type="text/html"/>',
        f'    <link href="https://arxiv.org/pdf/{name}" rel="related" {_PDF} title="pdf"/>',
        f"    <summary>{escape(paper.abstract)}</summary>",
        *(f'    <category term="{name}" scheme="{_ARXIV}"/>' for name in paper.categories),
        f"    <published>{stamp(paper.submitted)}</published>",
    ]
    if paper.comment is not None:
        lines.append(f"    <arxiv:comment>{escape(paper.comment)}</arxiv:comment>")
    lines.append(f'    <arxiv:primary_category term="{paper.categories[0]}"/>')
    if paper.journal_ref is not None:
        lines.append(f"    <arxiv:journal_ref>{escape(paper.journal_ref)}</arxiv:journal_ref>")
    lines.extend(_author(author, "") for author in paper.authors)
    for doi in paper.dois:
        lines.append(f"    <arxiv:doi>{escape(doi)}</arxiv:doi>")
        href = _attribute(f"https://doi.org/{doi}")
        lines.append(f'    <link rel="related" href={href} title="doi"/>')
    lines.append("  </entry>\n")
    return "\n".join(lines)


def _author(author: Author, namespace: str) -> str:
    lines = ["    <author>", f"      <name>{escape(author.name)}</name>"]
    lines.extend(
        f"      <arxiv:affiliation{namespace}>{escape(place)}</arxiv:affiliation>"
        for place in author.affiliations
    )
    lines.append("    </author>")
    return "\n".join(lines)


# The old family names its namespaces where it uses them.

_NS_ARXIV: Final = f' xmlns:arxiv="{_ARXIV}"'
_NS_OPENSEARCH: Final = f' xmlns:opensearch="{_OPENSEARCH}"'


def _old_head(asked: str, updated: datetime, total: int, start: int, size: int) -> str:
    counts = {"totalResults": total, "startIndex": start, "itemsPerPage": size}
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<feed xmlns="{_ATOM}">\n'
        f'  <link href="http://arxiv.org/api/query?{quote(asked)}" rel="self"'
        ' type="application/atom+xml"/>\n'
        f'  <title type="html">ArXiv Query: {escape(asked)}</title>\n'
        f"  <id>http://arxiv.org/api/{_digest(asked)}</id>\n"
        f"  <updated>{_old_midnight(updated)}</updated>\n"
        + "".join(
            f"  <opensearch:{name}{_NS_OPENSEARCH}>{count}</opensearch:{name}>\n"
            for name, count in counts.items()
        )
    )


def _old_midnight(updated: datetime) -> str:
    return f"{updated.astimezone(_EASTERN):%Y-%m-%dT00:00:00-05:00}"


def _old_entry(paper: Paper) -> str:
    name = f"{paper.arxiv_id}v{paper.version}"
    lines = [
        "  <entry>",
        f"    <id>http://arxiv.org/abs/{name}</id>",
        f"    <updated>{stamp(paper.updated)}</updated>",
        f"    <published>{stamp(paper.submitted)}</published>",
        f"    <title>{escape(_wrapped(paper.title, '  '))}</title>",
        f"    <summary>  {escape(_wrapped(paper.abstract, ''))}\n</summary>",
        *(_author(author, _NS_ARXIV) for author in paper.authors),
    ]
    for doi in paper.dois:
        lines.append(f"    <arxiv:doi{_NS_ARXIV}>{escape(doi)}</arxiv:doi>")
        href = _attribute(f"http://dx.doi.org/{doi}")
        lines.append(f'    <link title="doi" href={href} rel="related"/>')
    for element, text in ("comment", paper.comment), ("journal_ref", paper.journal_ref):
        if text is not None:
            wrapped = escape(_wrapped(text, "  "))
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


def _wrapped(text: str, indent: str) -> str:
    """Wrap a text as the old server did, in the middle of a title if need be."""
    return textwrap.fill(re.sub(r"\s+", " ", text.strip()), 79, subsequent_indent=indent)
