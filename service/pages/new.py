"""`/new`: the announcements of a day in sections, and links to other days."""

from collections.abc import Iterable
from datetime import date as Day  # noqa: N812 - as in the models
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Template
from msgspec import Struct, structs

from ..arxiv_schedule import has_feeds
from ..context import Context
from ..db.reader import ANNOUNCEMENTS, ListSelection
from ..errors import InvalidParameter
from ..formats import FORMATS
from ..handlers.params import AnnouncementsQuery
from ..lists import ListReader
from ..metadata.categories import CATEGORIES, find_unknown, get_title
from ..mirror.announcements import describe_missing
from ..models.mirror import AnnouncementType
from ..models.records import AnnouncedDay, AnnouncedPaperRow
from ..models.responses import Paper
from ..problems import AnyRequest
from .page import create_page, create_problem_page
from .page_params import Values, choose_page_size, parse_values, read_values

LIST_PARAMETERS = "category", "type", "date"
"""The parameters that select papers; the feed has the first two."""
PARAMETERS = (*LIST_PARAMETERS, "items_per_page", "after")
FIELDS = "category", "date"
PAGE_SIZE = 50

SECTIONS = {
    "New submissions": (AnnouncementType.NEW,),
    "Cross-lists": (AnnouncementType.CROSS,),
    "Replacements": (AnnouncementType.REPLACE, AnnouncementType.REPLACE_CROSS),
}
_NAMES = {each: name for name, types in SECTIONS.items() for each in types}


class SectionLink(Struct, frozen=True):
    """A link to the papers of one section, or of all."""

    text: str
    url: str
    count: int
    is_chosen: bool


class Section(Struct, frozen=True):
    """The papers of a section on one page."""

    name: str
    count: int
    papers: list[Paper]
    is_continued: bool


@get("/new")
async def show_new_papers(request: AnyRequest, context: NamedDependency[Context]) -> Template:
    """Return the papers that arXiv announced on a day, or the form with the error."""
    values = read_values(request, PARAMETERS)
    try:
        query = parse_values(request, context, AnnouncementsQuery, PARAMETERS)
        size = choose_page_size(query.items_per_page, PAGE_SIZE)
        filters = query.build_filter()
        day = await context.reader.fetch_announced_day(filters)
        selection = ListSelection(ANNOUNCEMENTS, structs.replace(filters, date=day.date))
        papers = ListReader(context.reader, selection, request, query, size, **day.parameters)
        rows, links = await papers.fetch_page()
    except InvalidParameter as error:
        return create_problem_page(
            request, context, error, "new.html", fields=FIELDS, **_create_form_values(values)
        )
    return create_page(
        request,
        context,
        "new.html",
        links=links,
        sections=_list_sections(rows, day, context, is_first="after" not in values),
        **_create_form_values(values),
        **_create_day_values(values, day),
    )


def _create_form_values(values: Values) -> dict[str, Any]:
    return {
        "values": values,
        "invalid_category": find_unknown(values.get("category", ())) or 0,
        "types": [text for text in values.get("type", ()) if text.strip().lower() in _NAMES],
        "categories": [(name, get_title(name)) for name in CATEGORIES],
        "feed": _link("/announcements/feed", values, date=[]),
    }


def _create_day_values(values: Values, day: AnnouncedDay) -> dict[str, Any]:
    return {
        "day": day.date,
        "day_name": _format_day(day.date) if day.date else None,
        "days": [
            (label, rel, _link("/new", values, date=[other.isoformat()]), _format_day(other))
            for label, rel, other in (
                ("Previous day", "prev", day.previous),
                ("Next day", "next", day.next),
            )
            if other
        ],
        "section_links": _list_section_links(values, day),
        "warning": describe_missing(day) if day.date else None,
        "has_feeds": day.date is None or has_feeds(day.date),
        "exports": [(name, _link_export(values, day, name)) for name in FORMATS],
    }


def _format_day(day: Day) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


def _list_section_links(values: Values, day: AnnouncedDay) -> list[SectionLink]:
    chosen = {text.strip().lower() for text in values.get("type", ())}
    sections = {"All": tuple(AnnouncementType), **SECTIONS}
    return [
        SectionLink(
            text=name,
            url=_link("/new", values, type=[] if name == "All" else [*types]),
            count=_count(day, types),
            is_chosen=chosen == (set() if name == "All" else {*types}),
        )
        for name, types in sections.items()
    ]


def _list_sections(
    rows: Iterable[AnnouncedPaperRow], day: AnnouncedDay, context: Context, *, is_first: bool
) -> list[Section]:
    zone = context.settings.zone
    groups = groupby(rows, lambda row: _NAMES[row.type])
    return [
        Section(
            name,
            _count(day, SECTIONS[name]),
            [Paper.from_row(row, zone) for row in group],
            is_continued=number == 0 and not is_first,
        )
        for number, (name, group) in enumerate(groups)
    ]


def _count(day: AnnouncedDay, types: Iterable[AnnouncementType]) -> int:
    return sum(day.counts.get(each, 0) for each in types)


def _link_export(values: Values, day: AnnouncedDay, format_name: str) -> str:
    date = [day.date.isoformat()] if day.date else []
    return _link("/announcements", values, date=date, format=[format_name])


def _link(path: str, values: Values, **changes: list[Any]) -> str:
    """Return a list of announcements at a path, from its beginning, with other parameters."""
    pairs = {name: values[name] for name in LIST_PARAMETERS if name in values} | changes
    query = urlencode({name: texts for name, texts in pairs.items() if texts}, doseq=True)
    return f"{path}?{query}" if query else path
