"""Which rows of a list are wanted, and how: the parameters of the lists."""

from typing import Annotated, Literal

from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from .. import arxiv_query_parser, full_text, timestamps
from ..arxiv_query import QUERY_PREFIX
from ..context import Context
from ..errors import InvalidParameter
from ..formats import FORMATS
from ..models.filters import (
    MAX_ITEMS_PER_PAGE,
    ListQuery,
    PageParams,
    PaperFilter,
    QueryFilter,
    ResultFilter,
)
from ..models.records import INT8_MAX
from .params import (
    FROM_ZERO,
    EndTimestamp,
    StartTimestamp,
    UnixEnd,
    UnixStart,
    ordered,
    term,
    time_range,
)

MAX_QUERY = 2000
"""Characters of a full text query."""

Order = Annotated[
    Literal["oldest", "newest"],
    QueryParameter(description="what comes first", examples=[Example(value="newest")]),
]
PaperOrder = Annotated[
    Literal["relevance", "oldest", "newest"] | None,
    QueryParameter(
        description="what comes first; default: relevance where there is q, else newest",
        examples=[Example(value="newest")],
    ),
]
FormatName = Annotated[
    str | None,
    QueryParameter(
        name="format",
        max_length=20,
        schema_extra={"enum": [*FORMATS]},
        description="json, ndjson, csv, bibtex, ris or atom; default: what Accept says, else json",
        examples=[Example(value="json")],
    ),
]
Author = Annotated[str | None, term("part of the authors: whole words, in a row", "Emmy Noether")]
Title = Annotated[str | None, term("part of the title: whole words, in a row", "testing")]
Journal = Annotated[
    str | None, term("part of the journal reference: whole words, in a row", "Phys.Rev.")
]
Category = Annotated[
    list[str] | None,
    QueryParameter(
        max_items=20,
        description="arXiv category, or all of an archive (cs.*); given several times: any",
        examples=[Example(value=["cs.SE", "math.*"])],
    ),
]
Status = Annotated[
    int | None,
    QueryParameter(
        ge=0,
        schema_extra=FROM_ZERO,
        le=999,
        description="HTTP status of arXiv's answer; 0: there was none",
        examples=[Example(value=200)],
    ),
]
QueryText = Annotated[str | None, term("part of the query, in capitals or not", "ti:testing")]


def moment(what: str, example: str) -> QueryParameter:
    """A parameter that holds a time."""
    return QueryParameter(
        max_length=64,
        description=f"ISO 8601 date or time {what}",
        examples=[Example(value=example)],
    )


def listing(
    page: Annotated[
        int | None,
        QueryParameter(
            ge=0,
            schema_extra=FROM_ZERO,
            le=1_000_000_000,
            description="0 is the first; `after` is another way to say where a page begins",
            examples=[Example(value=0)],
        ),
    ] = None,
    items_per_page: Annotated[
        int | None,
        QueryParameter(
            ge=1,
            le=MAX_ITEMS_PER_PAGE,
            description="default: ARXIV_ITEMS_PER_PAGE (10)",
            examples=[Example(value=10)],
        ),
    ] = None,
    after: Annotated[
        str | None,
        QueryParameter(
            max_length=1000,
            description="a cursor from the Link header of another page of the same list",
            examples=[Example(value="qtb1m9Wc2yyUws5rBPvEKgA")],
        ),
    ] = None,
    fields: Annotated[
        str | None,
        QueryParameter(
            max_length=1000,
            description="columns with commas between them, for json, ndjson and csv; default: all",
            examples=[Example(value="query_id,timestamp")],
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        QueryParameter(
            name="format",
            max_length=20,
            schema_extra={"enum": [*FORMATS]},
            description="json, ndjson, csv, bibtex, ris or atom; default: what Accept says, else"
            " json. All but json hold everything that matches, unless a page is asked for",
            examples=[Example(value="json")],
        ),
    ] = None,
    *,
    context: NamedDependency[Context],
) -> PageParams:
    """Read how a list is wanted."""
    return PageParams(
        page=page,
        items_per_page=items_per_page,
        size=items_per_page or context.settings.items_per_page,
        after=after,
        fields=fields,
        format=format_name,
    )


def asked_results(  # noqa: PLR0913 - each of them is one filter
    query_id: Annotated[
        int | None,
        QueryParameter(
            ge=1, le=INT8_MAX, description="of this search", examples=[Example(value=42)]
        ),
    ] = None,
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    category: Category = None,
    since: Annotated[str | None, moment("of the search, included", "2026-11-23T20:15:00")] = None,
    until: Annotated[
        str | None, moment("(a date: all of that day) of the search, included", "2026-11-24")
    ] = None,
    *,
    context: NamedDependency[Context],
    listing: NamedDependency[PageParams],
) -> ListQuery[ResultFilter]:
    """Read which results are wanted."""
    first, last = time_range(since, until, context.settings.zone, ("since", "until"))
    words = _words(author=author, title=title, journal=journal)
    categories, archives = _categories(category)
    wanted = ResultFilter(
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
    return ListQuery(wanted, listing)


def asked_papers(  # noqa: PLR0913 - each of them is one filter
    q: Annotated[
        str | None,
        QueryParameter(
            max_length=MAX_QUERY,
            description='full text: words, "phrases", -exclusions, OR, ( ), prefix*, and title:,'
            " author:, abstract:, note: (comment and journal reference) before any of these",
            examples=[Example(value='title:"unit test" (flaky OR slow) -author:Klein')],
        ),
    ] = None,
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    category: Category = None,
    since: Annotated[str | None, moment("of version 1, included", "2026-01-01")] = None,
    until: Annotated[
        str | None, moment("(a date: all of that day) of version 1, included", "2026-06-30")
    ] = None,
    versions: Annotated[
        Literal["latest", "all"],
        QueryParameter(
            description="the latest that any search has found, or all of them",
            examples=[Example(value="latest")],
        ),
    ] = "latest",
    *,
    context: NamedDependency[Context],
    listing: NamedDependency[PageParams],
) -> ListQuery[PaperFilter]:
    """Read which papers are wanted."""
    first, last = time_range(since, until, context.settings.zone, ("since", "until"))
    words = _words(author=author, title=title, journal=journal)
    categories, archives = _categories(category)
    given = q if q and q.strip() else None
    if given:
        words.append(f"({full_text.build_tsquery(given)})")
    wanted = PaperFilter(
        since=first,
        until=last,
        words=" & ".join(words) or None,
        author=author or None,
        title=title or None,
        journal=journal or None,
        category=categories,
        archive=archives,
        all_versions=versions == "all",
        is_full_text=given is not None,
        mark_title=full_text.build_highlight_tsquery(given, "title") if given else "",
        mark_author=full_text.build_highlight_tsquery(given, "author") if given else "",
        mark_abstract=full_text.build_highlight_tsquery(given, "abstract") if given else "",
    )
    return ListQuery(wanted, listing)


def asked_queries(
    start_timestamp: StartTimestamp = None,
    end_timestamp: EndTimestamp = None,
    status: Status = None,
    text: QueryText = None,
    *,
    context: NamedDependency[Context],
    listing: NamedDependency[PageParams],
) -> ListQuery[QueryFilter]:
    """Read which searches are wanted."""
    first, last = time_range(start_timestamp, end_timestamp, context.settings.zone)
    wanted = QueryFilter(since=first, until=last, status=status, text=_bare(text))
    return ListQuery(wanted, listing)


def asked_stored_queries(
    start_timestamp: UnixStart = timestamps.EARLIEST,
    end_timestamp: UnixEnd = timestamps.LATEST,
    status: Status = None,
    text: QueryText = None,
    *,
    listing: NamedDependency[PageParams],
) -> ListQuery[QueryFilter]:
    """Read which searches are wanted, with Unix seconds."""
    since, until = ordered(start_timestamp, end_timestamp)
    wanted = QueryFilter(since=since, until=until, status=status, text=_bare(text))
    return ListQuery(wanted, listing)


def _words(**texts: str | None) -> list[str]:
    """The words of these parameters, as `to_tsquery` finds them, wherever they stand."""
    words = []
    for name, text in texts.items():
        if text:
            found = full_text.build_word_tsqueries(text)
            if not found:
                raise InvalidParameter(name, f"there is no word in {text!r} to search for")
            words += found
    return words


def _bare(text: str | None) -> str | None:
    """The part of a query that is looked for, without the heading that is not stored."""
    return QUERY_PREFIX.sub("", text) or None if text else None


def _categories(texts: list[str] | None) -> tuple[list[str] | None, list[str] | None]:
    """Categories by their names, and archives of which all are meant; None where there are none."""
    names, archives = [], []
    for text in filter(None, map(str.strip, texts or ())):
        if (name := arxiv_query_parser.parse_category(text)) is None:
            raise InvalidParameter(
                "category", f"{text[:100]!r} is no category like cs.AI, hep-th or cs.*"
            )
        archive, _, rest = name.partition(".")
        if rest == "*":
            archives.append(archive)
        else:
            names.append(name)
    return (names, archives or None) if names or archives else (None, None)
