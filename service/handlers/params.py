"""Parameters of the endpoints: bounds, descriptions, and conversion to searches and filters.

The classes are dependencies of handlers: their fields are query parameters of the endpoint. They
depend on the context, because Litestar starts a task for each dependency that depends on no other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Annotated, Any, Literal

from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter
from msgspec import structs

from .. import arxiv_query, paper_query, papers, timestamps, word_tsquery
from ..context import Context
from ..errors import InvalidParameter
from ..formats import FORMATS
from ..metadata.categories import (
    UnknownCategory,
    get_other_name,
    list_subject_classes,
    select_categories,
)
from ..metadata.person_names import format_given_first
from ..models.arxiv import MAX_RESULTS, Search, SearchSource, SortBy, SortOrder
from ..models.filters import (
    MAX_ITEMS_PER_PAGE,
    AnnouncementFilter,
    PaperFilter,
    QueryFilter,
    ResultFilter,
)
from ..models.mirror import AnnouncementType
from ..models.records import INT8_MAX
from ..search_index.analysis import split_words
from ..search_params import MAX_TERM_LENGTH, check_time_range, parse_search, parse_time_range

MAX_PAGE = 1_000_000_000
MAX_SIMILAR_PAPERS = 100
_ANNOUNCEMENT_TYPES = ", ".join(AnnouncementType)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
QUERY_TIMES = ("start_timestamp", "end_timestamp")


def param(description: str, example: object, **options: Any) -> QueryParameter:  # noqa: ANN401 - see QueryParameter
    """Describe a query parameter."""
    if options.get("ge") == 0:
        options["schema_extra"] = {"minimum": 0}  # Litestar omits a bound that is 0
    return QueryParameter(description=description, examples=[Example(value=example)], **options)


def term_param(description: str, example: str) -> QueryParameter:
    """Describe a parameter that holds a search term."""
    return param(description, example, max_length=MAX_TERM_LENGTH)


def time_param(description: str, example: str) -> QueryParameter:
    """Describe a parameter that holds a date or a time."""
    return param(description, example, max_length=64)


def seconds_param(description: str, example: int) -> QueryParameter:
    """Describe a parameter that holds Unix seconds."""
    return param(description, example, ge=timestamps.EARLIEST, le=timestamps.LATEST)


Category = Annotated[
    list[str] | None,
    param(
        "arXiv category such as `cs.SE`, or archive such as `cs` (or `cs.*`) for all its"
        " categories; both names of a category (`cs.SY`, `eess.SY`) match; may be repeated to match"
        " any of them",
        ["cs.SE", "math.*"],
        max_items=20,
    ),
]
QueryIdPath = Annotated[
    int, PathParameter(description="number of the recorded search", examples=[Example(value=42)])
]
Include = Annotated[
    Literal["results"] | None,
    param("`results` returns the papers too, in the field `results`", "results"),
]
SourceName = Annotated[
    SearchSource | None,
    param(
        "what answers: `arxiv`; `mirror`, whatever its age; or `auto`: the mirror if it is current"
        " and only identifiers are requested, or if arXiv cannot be asked, otherwise arXiv;"
        " default: the setting ARXIV_SOURCE (auto)",
        "mirror",
    ),
]
Order = Annotated[
    Literal["oldest", "newest"], param("whether the oldest or the newest rows come first", "newest")
]
PaperOrder = Annotated[
    papers.PaperOrder | None,
    param("which papers come first; default: relevance if `q` is given, else newest", "newest"),
]
FormatName = Annotated[
    str | None,
    param(
        "output format; the default is selected by the Accept header, else json",
        "json",
        name="format",
        max_length=20,
        schema_extra={"enum": [*FORMATS]},
    ),
]
Author = Annotated[
    str | None,
    term_param(
        "consecutive whole words of the authors; or surname first: `Noether, Emmy`", "Emmy Noether"
    ),
]
Title = Annotated[str | None, term_param("consecutive whole words of the title", "testing")]
Journal = Annotated[
    str | None, term_param("consecutive whole words of the journal reference", "Phys.Rev.")
]
Status = Annotated[
    int | None, param("HTTP status of arXiv's response; 0 if there was none", 200, ge=0, le=999)
]
QueryText = Annotated[
    str | None, term_param("part of the query as sent to arXiv, ignoring case", "ti:testing")
]


@dataclass(kw_only=True)
class SearchParams:
    """The parameters of a search, each of which is a field of Search in text form."""

    context: NamedDependency[Context]

    author: Annotated[
        str | None,
        term_param("words of one author's name; or surname first: `Noether, Emmy`", "Emmy Noether"),
    ] = None
    title: Annotated[str | None, term_param("phrase of the title", "testing")] = None
    journal: Annotated[str | None, term_param("phrase of the journal reference", "JHEP")] = None
    abstract: Annotated[str | None, term_param("phrase of the abstract", "dark matter")] = None
    comment: Annotated[str | None, term_param("phrase of the comment", "18 pages")] = None
    any: Annotated[str | None, term_param("phrase of any field", "neutrino")] = None
    category: Category = None
    id_list: Annotated[
        str | None,
        param(
            "up to 200 arXiv identifiers, or DOIs or URLs of papers at arXiv, with or without"
            " versions, separated by commas, semicolons or spaces",
            "2101.00001,hep-th/9901001v1",
            max_length=arxiv_query.MAX_QUERY_LENGTH,
        ),
    ] = None
    expression: Annotated[  # Litestar reserves the name `query`
        str | None,
        param(
            "query in arXiv's own language: fields ti, au, abs, co, jr, cat, rn, id, all;"
            " operators AND, OR, ANDNOT",
            'ti:"unit test" ANDNOT (cat:cs.AI OR cat:cs.LG)',
            name="query",
            max_length=arxiv_query.MAX_QUERY_LENGTH,
        ),
    ] = None
    submitted_from: Annotated[
        str | None,
        time_param(
            "earliest submission of version 1, an ISO 8601 year, month, week, day or time",
            "2026-01-01",
        ),
    ] = None
    submitted_to: Annotated[
        str | None,
        time_param(
            "latest submission of version 1, an ISO 8601 time, or a year, month, week or day"
            " (all of it)",
            "2026-06-30",
        ),
    ] = None
    start: Annotated[
        int,
        param(
            "number of papers to skip; `start` + `max_results` is at most 10,000 unless `source` is"
            " `mirror`",
            0,
            ge=0,
            le=arxiv_query.MAX_MIRROR_RESULT,
        ),
    ] = 0
    max_results: Annotated[
        int | None,
        param(
            "maximum number of papers to return; default: the setting ARXIV_MAX_RESULTS (10), or"
            " the number of identifiers in `id_list`",
            10,
            ge=1,
            le=MAX_RESULTS,
        ),
    ] = None
    sort_by: Annotated[
        SortBy,
        param("sort by relevance, or by the date of the latest or first version", "relevance"),
    ] = "relevance"
    sort_order: Annotated[SortOrder, param("sort direction", "descending")] = "descending"


def provide_search(params: NamedDependency[SearchParams]) -> Search:
    """Parse the parameters of a search."""
    fields = dict(vars(params))
    return parse_search(
        fields.pop("context").settings.zone, query=fields.pop("expression"), **fields
    )


@dataclass(kw_only=True)
class _TableQuery:
    """The parameters that select how rows are presented."""

    context: NamedDependency[Context]

    fields: Annotated[
        str | None,
        param(
            "columns separated by commas, for json, ndjson and csv; default: all",
            "query_id,timestamp",
            max_length=1000,
        ),
    ] = None
    format: FormatName = None


@dataclass(kw_only=True)
class PageQuery(_TableQuery):
    """The parameters of a list: how it is presented. Subclasses add those that select rows."""

    page: Annotated[
        int | None, param("page number, from 0; excludes `after`", 0, ge=0, le=MAX_PAGE)
    ] = None
    items_per_page: Annotated[
        int | None,
        param("page size; default: ARXIV_ITEMS_PER_PAGE (10)", 10, ge=1, le=MAX_ITEMS_PER_PAGE),
    ] = None
    after: Annotated[
        str | None,
        param(
            "cursor from the Link header of another page of the same list",
            "qtb1m9Wc2yyUws5rBPvEKgA",
            max_length=1000,
        ),
    ] = None

    @property
    def is_reversed(self) -> bool:
        """Whether the rows are in the opposite order."""
        return False


@dataclass(kw_only=True)
class ListQuery(PageQuery):
    """The parameters of a list that is sorted by time."""

    order: PaperOrder = None

    @property
    def is_reversed(self) -> bool:
        """Whether the newest rows come first."""
        return self.order == "newest"


@dataclass(kw_only=True)
class _TextFilters:
    author: Author = None
    title: Title = None
    journal: Journal = None
    category: Category = None
    since: Annotated[
        str | None, time_param("earliest time of the search, ISO 8601", "2026-11-23T20:15:00")
    ] = None
    until: Annotated[
        str | None,
        time_param(
            "latest time of the search, ISO 8601; a date includes the whole day", "2026-11-24"
        ),
    ] = None

    def _build_filter(self, tz: tzinfo) -> dict[str, Any]:
        """Return the fields that ResultFilter and PaperFilter have in common."""
        since, until = parse_time_range(self.since, self.until, tz, ("since", "until"))
        texts = {name: getattr(self, name) or None for name in ("author", "title", "journal")}
        if texts["author"]:
            texts["author"] = format_given_first(texts["author"])
        for name, text in texts.items():
            if text and not split_words(text):
                raise InvalidParameter(name, f"{text!r} contains no word; use letters or digits")
        categories, archives = parse_categories(self.category)
        times = {"since": since, "until": until}
        return texts | times | {"category": categories, "archive": archives}


@dataclass(kw_only=True)
class ResultsQuery(_TextFilters, ListQuery):
    """The parameters of a list of results."""

    query_id: Annotated[
        int | None, param("number of the recorded search", 42, ge=1, le=INT8_MAX)
    ] = None
    order: Order = "oldest"

    def build_filter(self, tz: tzinfo) -> ResultFilter:
        """Return the filter; times without an offset are in this zone. Raises InvalidParameter."""
        filters = self._build_filter(tz)
        texts = filter(None, (filters["author"], filters["title"], filters["journal"]))
        words = [word for text in texts for word in word_tsquery.build_word_tsqueries(text)]
        return ResultFilter(query_id=self.query_id, words=" & ".join(words) or None, **filters)


@dataclass(kw_only=True)
class _PaperFilters(_TextFilters):
    since: Annotated[
        str | None, time_param("earliest submission of version 1, ISO 8601", "2026-01-01")
    ] = None
    until: Annotated[
        str | None,
        time_param(
            "latest submission of version 1, ISO 8601; a date includes the whole day", "2026-06-30"
        ),
    ] = None
    versions: Annotated[
        Literal["latest", "all"],
        param("only the latest stored version of each paper, or all of them", "latest"),
    ] = "latest"

    def build_filter(self, tz: tzinfo) -> PaperFilter:
        """Return the filter; times without an offset are in this zone. Raises InvalidParameter."""
        return PaperFilter(all_versions=self.versions == "all", **self._build_filter(tz))


@dataclass(kw_only=True)
class PapersQuery(_PaperFilters, ListQuery):
    """The parameters of a list of papers."""

    q: Annotated[
        str | None,
        param(
            'full-text query: words, "phrases", -exclusions, OR, parentheses, prefix*; the fields'
            " title:, author:, abstract: and note: (comment and journal reference) restrict what"
            " follows",
            'title:"unit test" (flaky OR slow) -author:Klein',
            # the parser names the position
            schema_extra={"maxLength": paper_query.MAX_LENGTH},
        ),
    ] = None

    @property
    def text(self) -> str | None:
        """The full-text query, if it is not empty."""
        return self.q if self.q and self.q.strip() else None

    def build_filter(self, tz: tzinfo) -> PaperFilter:
        """Return the filter; times without an offset are in this zone. Raises InvalidParameter."""
        if self.text:
            paper_query.parse_query(self.text)
        return structs.replace(super().build_filter(tz), q=self.text)


@dataclass(kw_only=True)
class SimilarQuery(_PaperFilters, _TableQuery):
    """The parameters of the papers that are similar to one."""

    items_per_page: Annotated[
        int, param("maximum number of papers", 10, ge=1, le=MAX_SIMILAR_PAPERS)
    ] = 10


@dataclass(kw_only=True)
class AnnouncementFeedQuery:
    """The parameters of the feed of announcements."""

    context: NamedDependency[Context]

    category: Category = None
    type: Annotated[
        list[str] | None,
        param(
            f"type of the announcement in these categories: {_ANNOUNCEMENT_TYPES}; may be repeated"
            " to match any of them",
            ["new", "cross"],
            max_items=len(AnnouncementType),
        ),
    ] = None

    def build_filter(self) -> AnnouncementFilter:
        """Return the filter. Raises InvalidParameter."""
        names, archives = parse_categories(self.category)
        for archive in archives or ():
            classes = list_subject_classes(archive)
            # math has all papers of math.MP, whose other name is math-ph
            others = filter(None, map(get_other_name, classes))
            names = [*(names or ()), archive, *classes, *others]
        types = [_parse_type(text) for text in self.type or () if text.strip()]
        return AnnouncementFilter(types=types or None, category=names)


@dataclass(kw_only=True)
class AnnouncementsQuery(AnnouncementFeedQuery, PageQuery):
    """The parameters of a list of announcements."""

    date: Annotated[
        str | None,
        param(
            "day of the announcement in US Eastern time; default: the latest one",
            "2026-11-24",
            schema_extra={"format": "date"},
        ),
    ] = None

    def build_filter(self) -> AnnouncementFilter:
        """Return the filter, with the date if it is given. Raises InvalidParameter."""
        day = None if self.date is None else _parse_day(self.date)
        return structs.replace(super().build_filter(), date=day)


def _parse_day(text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidParameter(
        "date", f"{text[:100]!r} is not a day; use YYYY-MM-DD, such as 2026-11-24"
    )


def _parse_type(text: str) -> AnnouncementType:
    try:
        return AnnouncementType(text.strip().lower())
    except ValueError:
        reason = f"{text[:100]!r} is not a type of announcement; use {_ANNOUNCEMENT_TYPES}"
        raise InvalidParameter("type", reason) from None


@dataclass(kw_only=True)
class QueriesQuery(ListQuery):
    """The parameters of a list of recorded searches."""

    start_timestamp: Annotated[
        str | None,
        time_param(
            "earliest time, an ISO 8601 date or time; without an offset, in ARXIV_TIMEZONE;"
            " default: the first search",
            "2026-11-23T20:15:00",
        ),
    ] = None
    end_timestamp: Annotated[
        str | None,
        time_param(
            "latest time, an ISO 8601 date (the whole day) or time; default: the last search",
            "2026-11-24",
        ),
    ] = None
    status: Status = None
    text: QueryText = None
    order: Order = "oldest"

    def build_filter(self, tz: tzinfo) -> QueryFilter:
        """Return the filter; times without an offset are in this zone. Raises InvalidParameter."""
        times = parse_time_range(self.start_timestamp, self.end_timestamp, tz, QUERY_TIMES)
        return _build_query_filter(times, self.status, self.text)


@dataclass(kw_only=True)
class StoredQueriesQuery(ListQuery):
    """The parameters of a list of recorded searches, with Unix seconds."""

    start_timestamp: Annotated[
        int,
        seconds_param("earliest time in Unix seconds; default: the first search", 1_795_464_900),
    ] = timestamps.EARLIEST
    end_timestamp: Annotated[
        int, seconds_param("latest time in Unix seconds; default: the last search", 1_795_551_300)
    ] = timestamps.LATEST
    status: Status = None
    text: QueryText = None
    order: Order = "oldest"

    def build_filter(self) -> QueryFilter:
        """Return the filter. Raises InvalidParameter."""
        times = check_time_range(self.start_timestamp, self.end_timestamp, QUERY_TIMES)
        return _build_query_filter(times, self.status, self.text)


def _build_query_filter(
    times: tuple[int, int], status: int | None, text: str | None
) -> QueryFilter:
    # arXiv's prefix of the query is not stored
    text = arxiv_query.QUERY_PREFIX.sub("", text or "") or None
    return QueryFilter(since=times[0], until=times[1], status=status, text=text)


def parse_categories(texts: Sequence[str] | None) -> tuple[list[str] | None, list[str] | None]:
    """Return the categories and the archives to filter by; both None without a filter.

    Raises InvalidParameter.
    """
    try:
        names, archives = select_categories(texts or ())
    except UnknownCategory as error:
        raise InvalidParameter("category", str(error)) from None
    return (names, archives or None) if names or archives else (None, None)


_parameters: dict[Any, dict[str, QueryParameter]] = {}
"""Cached results of `get_parameters`, by the function of the handler."""


def get_parameters(handler: BaseRouteHandler) -> dict[str, QueryParameter]:
    """Return the query parameters of a handler and of its dependencies by name."""
    if (parameters := _parameters.get(handler.fn)) is not None:
        return parameters
    fields = dict(handler.parsed_fn_signature.parameters)
    # a copy: Litestar uses its own for the OpenAPI description
    dependencies = dict(handler.resolve_dependencies())
    while names := fields.keys() & dependencies.keys():
        for name in names:
            fields |= dependencies.pop(name).parsed_fn_signature.parameters
    _parameters[handler.fn] = parameters = {
        field.kwarg_definition.name or name: field.kwarg_definition
        for name, field in fields.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    return parameters
