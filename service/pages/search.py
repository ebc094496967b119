"""`/search`: the stored papers that match a query and filters, with facets and a histogram."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus, urlencode

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Template
from msgspec import Struct

from ..context import Context
from ..db.reader import PAPERS, RANKED, ListDefinition, ListSelection
from ..errors import IndexUnavailable, InvalidParameter
from ..formats import FORMATS
from ..handlers.params import PapersQuery
from ..highlights import find_highlights
from ..lists import ListReader
from ..metadata.categories import find_unknown, get_title, spell_category
from ..models.records import PaperRow
from ..models.responses import FacetCount, Paper
from ..papers import PaperMatches, select_order
from ..problems import AnyRequest
from .page import create_page, create_problem_page, get_base_url
from .page_params import Values, choose_page_size, parse_values, read_values

FILTER_PARAMETERS = "author", "title", "journal", "category", "since", "until", "versions"
LIST_PARAMETERS = ("q", *FILTER_PARAMETERS)
"""The parameters that select papers, whatever their order."""
PARAMETERS = (*LIST_PARAMETERS, "order", "items_per_page", "after")
FIELDS = ("q", *FILTER_PARAMETERS[:-1])
"""The fields that have a place for an error; the others are lists of choices."""
FEED_PAPERS = 50
MIN_BARS = 12
"""Places in a histogram: a single year does not fill it."""
BAR_HEIGHT = 100
LABELS = {
    "author": "Author",
    "title": "Title",
    "journal": "Journal",
    "category": "Category",
    "since": "Submitted from",
    "until": "Submitted until",
    "versions": "Versions",
}
ORDERS = {"relevance": "Relevance", "newest": "Newest", "oldest": "Oldest"}


class ListLink(Struct, frozen=True):
    """A link that changes the list."""

    text: str
    url: str
    is_chosen: bool = False
    count: str = ""
    title: str | None = None


class YearBar(Struct, frozen=True):
    """A year in the histogram; `x` is its left end in the drawing."""

    year: int
    count: str
    url: str
    x: int


class Histogram(Struct, frozen=True):
    """The number of papers by year."""

    bars: list[YearBar]
    """Those that are not empty."""
    path: str
    """The bars as an SVG path."""
    width: int
    is_full: bool
    """Whether the bars fill the width."""


@get("/search")
async def show_search(request: AnyRequest, context: NamedDependency[Context]) -> Template:
    """Return the papers that match, or the form with the error."""
    values = read_values(request, PARAMETERS)
    try:
        query = parse_values(request, context, PapersQuery, PARAMETERS)
        papers = _create_reader(request, context, query)
        page = await context.papers.fetch_page(papers, query.author, query.title, query.journal)
    except (InvalidParameter, IndexUnavailable) as error:
        return create_problem_page(
            request, context, error, "search.html", fields=FIELDS, **_create_list_values(values)
        )
    return create_page(
        request,
        context,
        "search.html",
        papers=[_create_item(row, query.text, context) for row in page.rows],
        links=page.links,
        canonical=get_base_url(request, context) + _link(values),
        **_create_list_values(values),
        **_create_match_values(values, page.matches),
    )


def _create_reader(
    request: AnyRequest, context: Context, query: PapersQuery
) -> ListReader[PaperRow]:
    """Return the reader of the page that is requested. Raises InvalidParameter."""
    size = choose_page_size(query.items_per_page, context.settings.items_per_page)
    filters = query.build_filter(context.settings.zone)
    order = select_order(query.order, is_full_text=bool(filters.q))
    definition: ListDefinition[Any] = RANKED if order == "relevance" else PAPERS
    selection = ListSelection(definition, filters, newest=order == "newest")
    return ListReader(context.paper_search, selection, request, query, size)


def _create_item(row: PaperRow, q: str | None, context: Context) -> tuple[Paper, dict[str, Any]]:
    return Paper.from_row(row, context.settings.zone), find_highlights(row, q or "")


def _create_list_values(values: Values) -> dict[str, Any]:
    """Return the variables of the form, and the links to the same list in other forms."""
    orders = ORDERS if values.get("q") else {name: ORDERS[name] for name in ("newest", "oldest")}
    chosen = values.get("order", [next(iter(orders))])[0]
    return {
        "values": values,
        "invalid_category": find_unknown(values.get("category", ())) or 0,
        "removals": list(_list_removals(values)),
        "orders": [
            ListLink(ORDERS[name], _link(values, order=name), name == chosen) for name in orders
        ],
        "exports": [(name, _link_export(values, name)) for name in FORMATS],
        "feed": _link_export(values | {"order": ["newest"]}, "atom", items_per_page=FEED_PAPERS),
        "arxiv_url": f"/?{urlencode({'mode': 'arxiv', 'q': values.get('q', [''])[0]})}",
    }


def _create_match_values(values: Values, matches: PaperMatches) -> dict[str, Any]:
    """Return the variables of what only the first page has."""
    facets = matches.facets
    has_years = "since" in values or "until" in values
    return {
        "total": matches.total,
        "warnings": matches.warnings or [],
        "corrections": [ListLink(q, _link(values, q=q)) for q in matches.did_you_mean or []],
        "categories": _list_categories(values, facets.category) if facets else [],
        "histogram": _create_histogram(values, facets.year) if facets and facets.year else None,
        "all_years": _link(values, since=None, until=None) if has_years else None,
    }


def _list_removals(values: Values) -> list[ListLink]:
    return [
        ListLink(text, _link_without(values, name, text), title=LABELS[name])
        for name in FILTER_PARAMETERS
        for text in values.get(name, ())
    ]


def _list_categories(values: Values, counts: list[FacetCount]) -> list[ListLink]:
    """Return the categories of the papers that match, those that are chosen first."""
    chosen = {spell_category(text): text for text in values.get("category", ())}
    numbers = {each.value: each.count for each in counts}
    others = [each for each in counts if each.value not in chosen]
    return [
        *(_link_removal(values, name, numbers.get(name)) for name in chosen),
        *_link_categories(values, others),
    ]


def _link_removal(values: Values, category: str, count: int | None) -> ListLink:
    others = [text for text in values["category"] if spell_category(text) != category]
    text = "" if count is None else f"{count:,}"
    url = _link(values, category=others)
    return ListLink(category, url, is_chosen=True, count=text, title=get_title(category))


def _link_categories(values: Values, facets: list[FacetCount]) -> Iterator[ListLink]:
    list_url = _link(values, category=None)
    for facet in facets:
        url = _append_parameters(list_url, f"category={quote_plus(facet.value)}")
        # in place of others it has more papers than were counted among theirs
        count = "" if "category" in values else f"{facet.count:,}"
        yield ListLink(facet.value, url, count=count, title=facet.name)


def _create_histogram(values: Values, counts: list[FacetCount]) -> Histogram:
    numbers = {int(each.value): each.count for each in counts}
    first, last, highest = min(numbers), max(numbers), max(numbers.values())
    list_url = _link(values, since=None, until=None)
    bars, path = [], []
    for year, count in sorted(numbers.items()):
        url = _append_parameters(list_url, f"since={year}-01-01&until={year}-12-31")
        x = 10 * (year - first)
        # a year with one paper is visible next to one with a million
        height = max(count * BAR_HEIGHT / highest, 1.5)
        bars.append(YearBar(year, f"{count:,}", url, x))
        path.append(f"M{x + 1},{BAR_HEIGHT}v{-height:.1f}h8v{height:.1f}")
    years = last - first + 1
    return Histogram(bars, "".join(path), 10 * max(years, MIN_BARS), years >= MIN_BARS)


def _link(values: Values, **changes: str | list[str] | None) -> str:
    """Return the path of a list with other parameters, from its beginning; None removes one."""
    changed = {**values, **{name: _to_list(value) for name, value in changes.items()}}
    pairs = {name: changed[name] for name in PARAMETERS if name != "after" and changed.get(name)}
    return f"/search?{urlencode(pairs, doseq=True)}" if pairs else "/search"


def _append_parameters(url: str, parameters: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameters}"


def _link_without(values: Values, name: str, text: str) -> str:
    return _link(values, **{name: [each for each in values[name] if each != text]})


def _to_list(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _link_export(values: Values, format_name: str, **parameters: str | int) -> str:
    pairs: dict[str, Any] = {name: values[name] for name in LIST_PARAMETERS if name in values}
    if values.get("order", ["relevance"]) != ["relevance"]:  # exports are sorted by time
        pairs["order"] = values["order"]
    return f"/papers?{urlencode(pairs | parameters | {'format': format_name}, doseq=True)}"
