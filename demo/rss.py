"""The daily feeds of announcements, in RSS 2.0 and Atom, as arXiv's server builds them."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from xml.sax import saxutils
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

from demo.authors import split_name
from demo.taxonomy import ARCHIVES, CATEGORIES, SUBSUMED, add_aliases, get_archive
from demo.tex import encode_tex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from demo.papers import Author, Paper

    Kind = Literal["new", "cross", "replace", "replace-cross"]

EASTERN: Final = ZoneInfo("America/New_York")
_SATURDAY: Final = 5
_MAX_ITEMS: Final = 2_000
_MAX_VERSION: Final = 5
"""The last version whose submission the feeds contain."""
_MAX_NAME_PARTS: Final = 2
_CYCLE: Final = 40
"""Days after which a paper is announced again; arXiv announces a version once."""
_DAYS_UNTIL_DATESTAMP: Final = 7
"""After this time, a change was made by administrators, which is not announced."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An announcement of a paper in categories."""

    paper: Paper
    action: Literal["new", "cross", "replace"]
    categories: tuple[str, ...]


class Item(NamedTuple):
    """An announcement in a feed; the kind depends on the categories of the feed."""

    paper: Paper
    kind: Kind


class Feed(NamedTuple):
    """A rendered feed."""

    status: int
    content: bytes
    content_type: str
    max_age: int
    """Time in seconds until the next midnight on the East Coast."""

    @property
    def etag(self) -> str:
        """The ETag, which has no quotes on arXiv."""
        return hashlib.sha256(self.content).hexdigest()


class RejectedError(ValueError):
    """A request for archives or categories that do not exist."""


@dataclass
class RssServer:
    """Builds the feeds of a day. Its attributes may be changed while it runs."""

    papers: Sequence[Paper] = ()
    today: date | None = None
    """The day of the feeds; None is the current one on the East Coast."""
    announcements: dict[date, list[Announcement]] = field(default_factory=dict)
    """The announcements of days that are not generated."""
    stale: set[str] = field(default_factory=set)
    """Feeds with one of these archives or categories repeat the items of the working day before."""

    def reset(self) -> None:
        """Build the feeds of the current day without faults."""
        self.today, self.announcements, self.stale = None, {}, set()

    def render(self, query: str, kind: str) -> Feed:
        """Render the feed (`rss` or `atom`) of archives and categories joined by `+`."""
        now = datetime.now(EASTERN)
        day = self.today or now.date()
        # Counted in UTC: a day on the East Coast may have 23 or 25 hours.
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), EASTERN)
        max_age = int((midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds())
        render = _render_atom if kind == "atom" else _render_rss
        content_type = f"application/{kind}+xml"
        try:
            names = _parse_names(query)
        except RejectedError as error:
            title = f"Feed error for query: http://rss.arxiv.org/{kind}/{query}"
            content = render(day, query, title, str(error), None)
            return Feed(400, content, content_type, max_age)
        items = self.list_items(
            names, _get_working_day_before(day) if self.stale & {*names} else day
        )
        title = f"{', '.join(names)} updates on"
        content = render(
            day,
            "+".join(names),
            f"{title} arXiv.org",
            f"{title} the arXiv.org e-print archive.",
            items,
        )
        return Feed(200, content, content_type, max_age)

    def list_items(self, names: Sequence[str], day: date) -> list[Item]:
        """Return the items of a feed in its order.

        As on arXiv, if there are too many, the first ones in the feed are missing.
        """
        wanted = _expand_names(names)
        items = [
            _create_item(announcement, wanted)
            for announcement in self.list_announcements(day)
            if not wanted.isdisjoint(announcement.categories)
            and (announcement.action != "replace" or announcement.paper.version <= _MAX_VERSION)
        ]
        kinds = ("new", "cross", "replace", "replace-cross")
        items.sort(key=lambda item: (kinds.index(item.kind), item.paper.arxiv_id))
        return items[-_MAX_ITEMS:]

    def list_announcements(self, day: date) -> list[Announcement]:
        """Return the announcements of a day; there are none on Saturdays and Sundays."""
        if day in self.announcements:
            return self.announcements[day]
        if day.weekday() >= _SATURDAY:
            return []
        found = (_choose_announcement(paper, day) for paper in self.papers)
        return [announcement for announcement in found if announcement]


def _choose_announcement(paper: Paper, day: date) -> Announcement | None:
    """Announce a paper that changed on this day, and each day a few old ones, always the same."""
    action: Literal["new", "replace"] = "new" if paper.version == 1 else "replace"
    number = zlib.crc32(paper.arxiv_id.encode())
    if paper.datestamp == day:
        if (paper.datestamp - paper.updated.date()).days <= _DAYS_UNTIL_DATESTAMP:
            return Announcement(paper, action, paper.categories)
    elif number % _CYCLE == day.toordinal() % _CYCLE and (day - paper.datestamp).days > _CYCLE:
        if len(paper.categories) > 1 and number % 3 == 0:
            return Announcement(paper, "cross", paper.categories[1:])
        return Announcement(paper, action, paper.categories)
    return None


def _create_item(announcement: Announcement, wanted: set[str]) -> Item:
    paper = announcement.paper
    is_primary = paper.categories[0] in wanted
    if announcement.action == "replace":
        return Item(paper, "replace" if is_primary else "replace-cross")
    return Item(paper, "new" if announcement.action == "new" and is_primary else "cross")


def _parse_names(query: str) -> list[str]:
    """Return the archives and then the categories in a query. Raises RejectedError."""
    sent = query.split("+")
    if not all(name.strip() for name in sent):
        message = (
            f"Invalid archive specification '{query}'. Correct format is one or more archive names"
            " delimited by '+'. Each name can be either of the form 'archive' or"
            " 'archive.category'. For example: 'math+cs.CG' (all from math and only computational"
            " geometry from computer science)."
        )
        raise RejectedError(message)
    names = [_parse_name(name) for name in sent]
    return [name for name in names if "." not in name] + [name for name in names if "." in name]


def _parse_name(name: str) -> str:
    archive, *subjects = name.split(".")
    archive = archive.lower()
    if len(subjects) >= _MAX_NAME_PARTS:
        message = (
            f"Bad archive/subject class structure '{name}'. Valid names include an archive,"
            " possibly followed by a single period and subject class."
        )
        raise RejectedError(message)
    if archive not in (*ARCHIVES, *SUBSUMED, "test"):
        message = f"Bad archive '{archive}'. Valid archive names are: {', '.join(ARCHIVES)}, test."
        raise RejectedError(message)
    if not subjects:
        return archive
    for subject in subjects[0].upper(), subjects[0].lower():
        if f"{archive}.{subject}" in CATEGORIES:
            return f"{archive}.{subject}"
    valid = ", ".join(_list_categories(archive))
    message = (
        f"Bad subject class '{subjects[0]}'. Valid subject classes for the archive"
        f" '{archive}' are: {valid}."
    )
    raise RejectedError(message)


def _list_categories(archive: str) -> list[str]:
    return [category for category in CATEGORIES if get_archive(category) == archive]


def _expand_names(names: Iterable[str]) -> set[str]:
    """Return the categories whose papers a feed contains."""
    categories: set[str] = set()
    for name in names:
        categories |= {name, *(() if "." in name else _list_categories(name))}
    former = {old for old, category in SUBSUMED.items() if category in categories}
    return categories | former | {*add_aliases(tuple(categories))}


def _get_working_day_before(day: date) -> date:
    day -= timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day -= timedelta(days=1)
    return day


def _get_midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), EASTERN)


def _get_build_time(day: date) -> datetime:
    """Return the time at which the feed of a day was built, soon after midnight."""
    return (_get_midnight(day) + timedelta(seconds=2)).astimezone(UTC)


_NAMESPACES: Final = (
    'xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def _escape(text: str) -> str:
    return saxutils.escape(text, {"\r": "&#13;"})


def _render_rss(
    day: date, names: str, title: str, description: str, items: Sequence[Item] | None
) -> bytes:
    """Render a feed; without a list of items, an error."""
    link = f"http://rss.arxiv.org/rss/{names}"
    published = f"{_get_midnight(day):%a, %d %b %Y %H:%M:%S %z}"
    lines = [
        "<?xml version='1.0' encoding='UTF-8'?>",
        (
            f'<rss {_NAMESPACES} xmlns:atom="http://www.w3.org/2005/Atom"'
            ' xmlns:content="http://purl.org/rss/1.0/modules/content/" version="2.0">'
        ),
        "  <channel>",
        f"    <title>{_escape(title)}</title>",
        f"    <link>{_escape(link)}</link>",
        f"    <description>{_escape(description)}</description>",
        f'    <atom:link href={quoteattr(link)} rel="self" type="application/rss+xml"/>',
        "    <docs>http://www.rssboard.org/rss-specification</docs>",
        "    <language>en-us</language>",
        f"    <lastBuildDate>{_get_build_time(day):%a, %d %b %Y %H:%M:%S %z}</lastBuildDate>",
        f"    <managingEditor>rss-help{'.' if items is None else '@'}arxiv.org</managingEditor>",
        f"    <pubDate>{published}</pubDate>",
    ]
    if items is not None:
        lines += ["    <skipDays>", "      <day>Saturday</day>", "      <day>Sunday</day>"]
        lines += ["    </skipDays>", *(_render_rss_item(item, published) for item in items)]
    return "\n".join([*lines, "  </channel>", "</rss>\n"]).encode()


def _render_rss_item(item: Item, published: str) -> str:
    paper = item.paper
    lines = [
        "    <item>",
        f"      <title>{_escape(encode_tex(paper.title))}</title>",
        f"      <link>https://arxiv.org/abs/{paper.arxiv_id}</link>",
        f"      <description>{_escape(_describe(item))}</description>",
        f'      <guid isPermaLink="false">{_format_id(paper)}</guid>',
        *(f"      <category>{category}</category>" for category in paper.categories),
        f"      <pubDate>{published}</pubDate>",
        *_render_extensions(item),
        "    </item>",
    ]
    return "\n".join(lines)


def _render_atom(
    day: date, names: str, title: str, description: str, items: Sequence[Item] | None
) -> bytes:
    link = f"http://rss.arxiv.org/atom/{names}"
    updated = _get_build_time(day).isoformat(timespec="microseconds")
    lines = [
        "<?xml version='1.0' encoding='UTF-8'?>",
        f'<feed {_NAMESPACES} xmlns="http://www.w3.org/2005/Atom" xml:lang="en-us">',
        f"  <id>{_escape(link)}</id>",
        f"  <title>{_escape(title)}</title>",
        f"  <updated>{updated}</updated>",
        f'  <link href={quoteattr(link)} rel="self" type="application/atom+xml"/>',
        f"  <subtitle>{_escape(description)}</subtitle>",
        *(_render_entry(item, day, updated) for item in items or ()),
        "</feed>\n",
    ]
    return "\n".join(lines).encode()


def _render_entry(item: Item, day: date, updated: str) -> str:
    paper = item.paper
    url = f"https://arxiv.org/abs/{paper.arxiv_id}"
    lines = [
        "  <entry>",
        f"    <id>{_format_id(paper)}</id>",
        f"    <title>{_escape(encode_tex(paper.title))}</title>",
        f"    <updated>{updated}</updated>",
        f'    <link href="{url}" rel="alternate" type="text/html"/>',
        f"    <summary>{_escape(_describe(item))}</summary>",
        *(f'    <category term="{category}"/>' for category in paper.categories),
        f"    <published>{_get_midnight(day).isoformat()}</published>",
        *_render_extensions(item, indent="    ", is_atom=True),
        "  </entry>",
    ]
    return "\n".join(lines)


def _format_id(paper: Paper) -> str:
    return f"oai:arXiv.org:{paper.arxiv_id}v{paper.version}"


def _describe(item: Item) -> str:
    paper = item.paper
    return (
        f"arXiv:{paper.arxiv_id}v{paper.version} Announce Type: {item.kind} \n"
        f"Abstract: {encode_tex(paper.abstract)}"
    )


def _render_extensions(item: Item, *, indent: str = "      ", is_atom: bool = False) -> list[str]:
    """Render the elements of other namespaces; two have another order in Atom."""
    paper = item.paper
    published = [
        ("arxiv:DOI", " ".join(paper.dois)),
        ("arxiv:journal_reference", encode_tex((paper.journal_ref or "").strip())),
    ]
    elements = [
        ("arxiv:announce_type", item.kind),
        ("dc:rights", paper.license or ""),
        *(reversed(published) if is_atom else published),
        ("dc:creator", ", ".join(map(_format_creator, paper.authors))),
    ]
    return [f"{indent}<{name}>{_escape(text)}</{name}>" for name, text in elements if text]


def _format_creator(author: Author) -> str:
    """Format a name; one without forenames begins with a space, as on arXiv."""
    name = split_name(author.name)
    text = f"{name.forenames} {name.keyname}"
    if name.suffix:
        text += f" {name.suffix}"
    if author.affiliations:
        text += f" ({', '.join(author.affiliations)})"
    return encode_tex(text)
