"""`/announcements`: which papers arXiv announced on a day, and a feed of the latest days."""

from collections.abc import Iterable
from datetime import date as Day  # noqa: N812 - a field has the name `date`
from datetime import datetime, time, tzinfo
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from msgspec import Struct, structs

from .. import openapi
from ..arxiv_schedule import ZONE
from ..context import Context
from ..db.reader import ANNOUNCEMENTS, ListSelection
from ..formats import Reference
from ..lists import ROW_BYTES
from ..middleware.response_budget import reserve_memory
from ..mirror.announcements import describe_missing
from ..models import describe
from ..models.filters import AnnouncementFilter, Position
from ..models.mirror import AnnouncementType
from ..models.records import AnnouncedPaperRow
from ..models.responses import AnnouncedPaper, AnnouncementDay, Paper
from ..problems import AnyRequest
from .pagination import ListResponse, ListView
from .params import AnnouncementFeedQuery, AnnouncementsQuery, PageQuery

FEED_DAYS, FEED_PAPERS = 5, 1000

_ANNOUNCED_PAPERS = openapi.list_with_optional_fields(AnnouncedPaper)


class AnnouncementList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the announcements of one day."""

    date: Annotated[
        Day | None, describe("the day; null if no announcements are stored", "2026-11-24")
    ]
    announcements: Annotated[
        _ANNOUNCED_PAPERS,  # type: ignore[valid-type]
        describe("the papers on this page: new, cross, replace, replace-cross"),
    ]
    total: Annotated[int, describe("number of matching papers", 2)]
    counts: Annotated[
        dict[AnnouncementType, int],
        describe("number of papers in these categories by type, of all types", {"new": 2}),
    ]
    previous: Annotated[
        AnnouncementDay | None, describe("the day of announcements before this one")
    ]
    next: Annotated[AnnouncementDay | None, describe("the day of announcements after this one")]
    warnings: Annotated[
        list[str] | None,
        describe(
            "present if announcements of this day may be missing",
            ["no feed of 2026-11-24 has been read"],
        ),
    ] = None


def create_view(tz: tzinfo, title: str = "announcements") -> ListView[AnnouncedPaperRow]:
    """Present announcements with times in a zone; the date of references is that of the day."""

    def convert_rows(rows: Iterable[AnnouncedPaperRow]) -> list[AnnouncedPaper]:
        return [AnnouncedPaper.from_row(row, tz) for row in rows]

    async def create_references(rows: Iterable[AnnouncedPaperRow]) -> list[Reference]:
        return [Reference.from_paper(row, found=_get_midnight(row.date)) for row in rows]

    columns = ("date", "type", *Paper.__struct_fields__)
    return ListView(
        *(ANNOUNCEMENTS, title, "announcements", columns, convert_rows, create_references),
        has_one_date=True,
    )


@get(
    "/announcements",
    summary="List the announcements of a day",
    responses=openapi.describe_json(AnnouncementList, "The matching announcements.")
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"list_query": Provide(AnnouncementsQuery, sync_to_thread=False)},
)
async def list_announcements(
    request: AnyRequest,
    context: NamedDependency[Context],
    list_query: NamedDependency[AnnouncementsQuery],
) -> Response[Any]:
    """Return the papers that arXiv announced on a day, each of them once.

    With `category`, the type is the one in these categories: a new paper is `cross` in those it is
    cross-listed to, and a new version `replace-cross`. JSON is returned in pages; the other formats
    contain the whole day, unless a page is requested.
    """
    filters = list_query.build_filter()
    day = await context.reader.fetch_announced_day(filters)
    filters = structs.replace(filters, date=day.date)
    view = create_view(context.settings.zone)
    response = ListResponse(request, context, view, list_query, filters, **day.parameters)
    if response.format.name != "json":
        return await response.respond()
    rows, links = await response.reader.fetch_page()
    content = AnnouncementList(
        date=day.date,
        announcements=msgspec.Raw(await response.serialize(rows)),
        total=sum(day.counts.get(each, 0) for each in filters.types or AnnouncementType),
        counts={each: day.counts.get(each, 0) for each in AnnouncementType},
        previous=_link_day(response, day.previous),
        next=_link_day(response, day.next),
        warnings=[warning] if (warning := describe_missing(day)) else None,
    )
    return response.create_response(msgspec.json.encode(content), links)


@get(
    "/announcements/feed",
    summary="Subscribe to announcements",
    responses=openapi.describe_feed("The papers announced on the latest days, as an Atom feed.")
    | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.CacheableOperation,
    tags=["frontend"],
    dependencies={"feed_query": Provide(AnnouncementFeedQuery, sync_to_thread=False)},
)
async def get_announcement_feed(
    request: AnyRequest,
    context: NamedDependency[Context],
    feed_query: NamedDependency[AnnouncementFeedQuery],
) -> Response[bytes]:
    """Return an Atom feed (RFC 4287) of the papers announced on the latest five days.

    It contains at most 1,000 paper versions, the latest day first, and of each day new papers
    first. `published` and `updated` are the day of the announcement.
    """
    reserve_memory(FEED_PAPERS * ROW_BYTES)
    filters = feed_query.build_filter()
    title = ", ".join(["announcements", *(feed_query.category or ())])
    response = ListResponse(
        request,
        context,
        create_view(context.settings.zone, title),
        PageQuery(context=context, format="atom", items_per_page=FEED_PAPERS),
        filters,
    )
    rows = await _fetch_latest(context, filters)
    return response.create_response(await response.serialize(rows), None)


async def _fetch_latest(context: Context, filters: AnnouncementFilter) -> list[AnnouncedPaperRow]:
    """Return the papers of the latest days; each version once, with its latest announcement."""
    papers: dict[tuple[str, int], AnnouncedPaperRow] = {}
    for _ in range(FEED_DAYS):
        day = await context.reader.fetch_announced_day(filters)
        selection = ListSelection(ANNOUNCEMENTS, structs.replace(filters, date=day.date))
        for row in await context.reader.fetch_page(selection, Position(), FEED_PAPERS):
            papers.setdefault((row.arxiv_id, row.version), row)
        if day.previous is None or len(papers) >= FEED_PAPERS:
            break
        filters = structs.replace(filters, date=day.previous)
    return [*papers.values()][:FEED_PAPERS]


def _get_midnight(day: Day) -> int:
    return int(datetime.combine(day, time(), ZONE).timestamp())


def _link_day(response: ListResponse[Any], day: Day | None) -> AnnouncementDay | None:
    if day is None:
        return None
    return AnnouncementDay(date=day, url=response.reader.url.replace(date=day.isoformat()))
