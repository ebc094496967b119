"""Parameters of the endpoints: their bounds, their descriptions, and what they are parsed to.

The functions `provide_...` are dependencies of handlers: their parameters are parameters of the
endpoint.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from .. import arxiv_query, arxiv_query_parser, full_text, timestamps
from ..context import Context
from ..errors import InvalidParameter
from ..formats import FORMATS
from ..models.arxiv import MAX_RESULTS, Search, SortBy, SortOrder
from ..models.filters import (
    MAX_ITEMS_PER_PAGE,
    ListQuery,
    PageParams,
    PaperFilter,
    QueryFilter,
    ResultFilter,
)
from ..models.records import INT8_MAX
from ..search_params import MAX_TERM_LENGTH, check_time_range, parse_search, parse_time_range

MAX_FULL_TEXT_LENGTH = 2000
MAX_PAGE = 1_000_000_000
QUERY_TIMES = ("start_timestamp", "end_timestamp")


def describe(
    description: str,
    example: object,
    **options: Any,  # noqa: ANN401 - see QueryParameter
) -> QueryParameter:
    """Describe a query parameter."""
    if options.get("ge") == 0:
        options["schema_extra"] = {"minimum": 0}  # Litestar omits a bound that is 0
    return QueryParameter(description=description, examples=[Example(value=example)], **options)


def describe_term(description: str, example: str, name: str | None = None) -> QueryParameter:
    """Describe a parameter that holds words."""
    return describe(description, example, max_length=MAX_TERM_LENGTH, name=name)


def describe_time(description: str, example: str) -> QueryParameter:
    """Describe a parameter that holds a date or a time."""
    return describe(description, example, max_length=64)


Category = Annotated[
    list[str] | None,
    describe(
        "arXiv category, or `cs.*` for a whole archive; may be repeated to match any of them",
        ["cs.SE", "math.*"],
        max_items=20,
    ),
]
QueryIdPath = Annotated[
    int, PathParameter(description="number of the recorded search", examples=[Example(value=42)])
]
Include = Annotated[
    Literal["results"] | None,
    describe("`results` returns the papers too, in the field `results`", "results"),
]
Order = Annotated[
    Literal["oldest", "newest"],
    describe("whether the oldest or the newest rows come first", "newest"),
]
PaperOrder = Annotated[
    Literal["relevance", "oldest", "newest"] | None,
    describe("which papers come first; default: relevance if `q` is given, else newest", "newest"),
]
FormatName = Annotated[
    str | None,
    describe(
        "output format; the default is selected by the Accept header, else json",
        "json",
        name="format",
        max_length=20,
        schema_extra={"enum": [*FORMATS]},
    ),
]
Author = Annotated[
    str | None, describe_term("consecutive whole words of the authors", "Emmy Noether")
]
Title = Annotated[str | None, describe_term("consecutive whole words of the title", "testing")]
Journal = Annotated[
    str | None, describe_term("consecutive whole words of the journal reference", "Phys.Rev.")
]
Status = Annotated[
    int | None,
    describe("HTTP status of arXiv's response; 0 if there was none", 200, ge=0, le=999),
]
QueryText = Annotated[
    str | None, describe_term("part of the query as sent to arXiv, ignoring case", "ti:testing")
]


def provide_search(  # noqa: PLR0913, PLR0917 - arXiv has as many
    author: Annotated[
        str | None, describe_term("words of one author's name", "Emmy Noether")
    ] = None,
    title: Annotated[str | None, describe_term("phrase of the title", "testing")] = None,
    journal: Annotated[
        str | None, describe_term("phrase of the journal reference", "Phys.Rev.")
    ] = None,
    abstract: Annotated[str | None, describe_term("phrase of the abstract", "dark matter")] = None,
    comment: Annotated[str | None, describe_term("phrase of the comment", "18 pages")] = None,
    any_field: Annotated[
        str | None, describe_term("phrase of any field", "neutrino", name="any")
    ] = None,
    category: Category = None,
    id_list: Annotated[
        str | None,
        describe(
            "up to 200 arXiv identifiers separated by commas, with or without versions",
            "2101.00001,hep-th/9901001v1",
            max_length=arxiv_query.MAX_QUERY_LENGTH,
        ),
    ] = None,
    expression: Annotated[
        str | None,
        describe(
            "query in arXiv's own language: fields ti, au, abs, co, jr, cat, rn, id, all;"
            " operators AND, OR, ANDNOT",
            'ti:"unit test" ANDNOT (cat:cs.AI OR cat:cs.LG)',
            name="query",
            max_length=arxiv_query.MAX_QUERY_LENGTH,
        ),
    ] = None,
    submitted_from: Annotated[
        str | None,
        describe_time("earliest submission of version 1, an ISO 8601 date or time", "2026-01-01"),
    ] = None,
    submitted_to: Annotated[
        str | None,
        describe_time(
            "latest submission of version 1, an ISO 8601 date (the whole day) or time", "2026-06-30"
        ),
    ] = None,
    start: Annotated[
        int,
        describe(
            "number of papers to skip; `start` + `max_results` is at most 10,000",
            0,
            ge=0,
            le=arxiv_query.MAX_RESULT - 1,
        ),
    ] = 0,
    max_results: Annotated[
        int | None,
        describe(
            "maximum number of papers to return; default: the setting ARXIV_MAX_RESULTS (10), or"
            " the number of identifiers in `id_list`",
            10,
            ge=1,
            le=MAX_RESULTS,
        ),
    ] = None,
    sort_by: Annotated[
        SortBy,
        describe("sort by relevance, or by the date of the latest or first version", "relevance"),
    ] = "relevance",
    sort_order: Annotated[SortOrder, describe("sort direction", "descending")] = "descending",
    *,
    context: NamedDependency[Context],
) -> Search:
    """Parse the parameters of a search."""
    return parse_search(
        context.settings.zone,
        author=author,
        title=title,
        journal=journal,
        abstract=abstract,
        comment=comment,
        any=any_field,
        category=category,
        id_list=id_list,
        query=expression,
        submitted_from=submitted_from,
        submitted_to=submitted_to,
        start=start,
        max_results=max_results,
        sort_by=sort_by,
        sort_order=sort_order,
    )


def provide_page_params(
    page: Annotated[
        int | None,
        describe("page number, from 0; excludes `after`", 0, ge=0, le=MAX_PAGE),
    ] = None,
    items_per_page: Annotated[
        int | None,
        describe(
            "page size; default: the setting ARXIV_ITEMS_PER_PAGE (10)",
            10,
            ge=1,
            le=MAX_ITEMS_PER_PAGE,
        ),
    ] = None,
    after: Annotated[
        str | None,
        describe(
            "cursor from the Link header of another page of the same list",
            "qtb1m9Wc2yyUws5rBPvEKgA",
            max_length=1000,
        ),
    ] = None,
    fields: Annotated[
        str | None,
        describe(
            "columns separated by commas, for json, ndjson and csv; default: all",
            "query_id,timestamp",
            max_length=1000,
        ),
    ] = None,
    format_name: FormatName = None,
    *,
    context: NamedDependency[Context],
) -> PageParams:
    """Parse the parameters that all lists have in common."""
    return PageParams(
        page=page,
        items_per_page=items_per_page,
        size=items_per_page or context.settings.items_per_page,
        after=after,
        fields=fields,
        format=format_name,
    )


def provide_results_query(  # noqa: PLR0913 - one parameter per filter
    query_id: Annotated[
        int | None, describe("number of the recorded search", 42, ge=1, le=INT8_MAX)
    ] = None,
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    category: Category = None,
    since: Annotated[
        str | None,
        describe_time("earliest time of the search, ISO 8601", "2026-11-23T20:15:00"),
    ] = None,
    until: Annotated[
        str | None,
        describe_time(
            "latest time of the search, ISO 8601; a date includes the whole day", "2026-11-24"
        ),
    ] = None,
    *,
    context: NamedDependency[Context],
    page_params: NamedDependency[PageParams],
) -> ListQuery[ResultFilter]:
    """Parse the parameters of a list of results."""
    first, last = parse_time_range(since, until, context.settings.zone, ("since", "until"))
    words = _parse_words(author=author, title=title, journal=journal)
    categories, archives = parse_categories(category)
    filters = ResultFilter(
        query_id=query_id,
        since=first,
        until=last,
        author=author or None,
        title=title or None,
        journal=journal or None,
        words=" & ".join(words) or None,
        category=categories,
        archive=archives,
    )
    return ListQuery(filters, page_params)


def provide_papers_query(  # noqa: PLR0913 - one parameter per filter
    q: Annotated[
        str | None,
        describe(
            'full-text query: words, "phrases", -exclusions, OR, parentheses, prefix*; the fields'
            " title:, author:, abstract: and note: (comment and journal reference) restrict what"
            " follows",
            'title:"unit test" (flaky OR slow) -author:Klein',
            max_length=MAX_FULL_TEXT_LENGTH,
        ),
    ] = None,
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    category: Category = None,
    since: Annotated[
        str | None, describe_time("earliest submission of version 1, ISO 8601", "2026-01-01")
    ] = None,
    until: Annotated[
        str | None,
        describe_time(
            "latest submission of version 1, ISO 8601; a date includes the whole day", "2026-06-30"
        ),
    ] = None,
    versions: Annotated[
        Literal["latest", "all"],
        describe("only the latest stored version of each paper, or all of them", "latest"),
    ] = "latest",
    *,
    context: NamedDependency[Context],
    page_params: NamedDependency[PageParams],
) -> ListQuery[PaperFilter]:
    """Parse the parameters of a list of papers."""
    first, last = parse_time_range(since, until, context.settings.zone, ("since", "until"))
    words = _parse_words(author=author, title=title, journal=journal)
    categories, archives = parse_categories(category)
    text = q if q and q.strip() else None
    if text:
        words.append(f"({full_text.build_tsquery(text)})")
    filters = PaperFilter(
        since=first,
        until=last,
        words=" & ".join(words) or None,
        author=author or None,
        title=title or None,
        journal=journal or None,
        category=categories,
        archive=archives,
        all_versions=versions == "all",
        is_full_text=text is not None,
        mark_title=full_text.build_highlight_tsquery(text, "title") if text else "",
        mark_author=full_text.build_highlight_tsquery(text, "author") if text else "",
        mark_abstract=full_text.build_highlight_tsquery(text, "abstract") if text else "",
    )
    return ListQuery(filters, page_params)


def provide_queries_query(
    start_timestamp: Annotated[
        str | None,
        describe_time(
            "earliest time, an ISO 8601 date or time; without an offset, in ARXIV_TIMEZONE;"
            " default: the first search",
            "2026-11-23T20:15:00",
        ),
    ] = None,
    end_timestamp: Annotated[
        str | None,
        describe_time(
            "latest time, an ISO 8601 date (the whole day) or time; default: the last search",
            "2026-11-24",
        ),
    ] = None,
    status: Status = None,
    text: QueryText = None,
    *,
    context: NamedDependency[Context],
    page_params: NamedDependency[PageParams],
) -> ListQuery[QueryFilter]:
    """Parse the parameters of a list of recorded searches."""
    since, until = parse_time_range(
        start_timestamp, end_timestamp, context.settings.zone, QUERY_TIMES
    )
    filters = QueryFilter(since=since, until=until, status=status, text=_remove_prefix(text))
    return ListQuery(filters, page_params)


def provide_stored_queries_query(
    start_timestamp: Annotated[
        int,
        describe(
            "earliest time in Unix seconds; default: the first search",
            1_795_464_900,
            ge=timestamps.EARLIEST,
            le=timestamps.LATEST,
        ),
    ] = timestamps.EARLIEST,
    end_timestamp: Annotated[
        int,
        describe(
            "latest time in Unix seconds; default: the last search",
            1_795_551_300,
            ge=timestamps.EARLIEST,
            le=timestamps.LATEST,
        ),
    ] = timestamps.LATEST,
    status: Status = None,
    text: QueryText = None,
    *,
    page_params: NamedDependency[PageParams],
) -> ListQuery[QueryFilter]:
    """Parse the parameters of a list of recorded searches, with Unix seconds."""
    since, until = check_time_range(start_timestamp, end_timestamp, QUERY_TIMES)
    filters = QueryFilter(since=since, until=until, status=status, text=_remove_prefix(text))
    return ListQuery(filters, page_params)


def parse_categories(texts: Sequence[str] | None) -> tuple[list[str] | None, list[str] | None]:
    """Return categories, and archives given as `cs.*`; each None if there are none."""
    names, archives = [], []
    for text in filter(None, map(str.strip, texts or ())):
        if (name := arxiv_query_parser.parse_category(text)) is None:
            raise InvalidParameter(
                "category", f"{text[:100]!r} is not a category; use for example cs.AI or cs.*"
            )
        archive, _, rest = name.partition(".")
        if rest == "*":
            archives.append(archive)
        else:
            names.append(name)
    return (names, archives or None) if names or archives else (None, None)


def _parse_words(**texts: str | None) -> list[str]:
    """Return a tsquery for each word of these parameters."""
    words = []
    for name, text in texts.items():
        if text:
            parsed = full_text.build_word_tsqueries(text)
            if not parsed:
                raise InvalidParameter(name, f"{text!r} contains no word; use letters or digits")
            words += parsed
    return words


def _remove_prefix(text: str | None) -> str | None:
    """Remove arXiv's prefix of the query, which is not stored."""
    return arxiv_query.QUERY_PREFIX.sub("", text) or None if text else None


_parameters: dict[Any, dict[str, QueryParameter]] = {}
"""The results of `get_parameters` by the function of the handler."""


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
