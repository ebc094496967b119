"""From a search to what arXiv is asked, and from its answer to whether it did what was meant.

The same search is always asked in the same words, so that they can be its key.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from msgspec import structs

from . import arxiv_query_parser as language
from .arxiv_query_parser import Term, Tree
from .errors import InvalidParameter
from .models.arxiv import ArxivRequest, Entry, Feed, Search

HEADING = re.compile(r"^arxiv query:\s*", re.IGNORECASE)
"""How feeds title a query: `ArXiv` in the old family, `arXiv` in the new one."""
LAST_RESULT = 10_000
"""No page of arXiv's reaches beyond this result."""
MAX_LENGTH = 5000
"""Characters of a query in arXiv's own syntax."""
MAX_NAMES = 200
"""Ids, or categories, of one search."""

FIELDS = {
    "author": "au",
    "title": "ti",
    "journal": "jr",
    "abstract": "abs",
    "comment": "co",
    "any": "all",
}
TERMS = (*FIELDS, "category", "id_list", "query", "submitted_from", "submitted_to")
"""The parameters of which a search needs one."""

_EARLIEST = "199101010000"
_LATEST = "209912312359"
_ID = re.compile(
    r"(?:(?P<new>\d{4}\.\d{4,5})|(?P<archive>[a-z]+(?:-[a-z]+)*)(?:\.[A-Z]{2})?/(?P<number>\d{7}))"
    r"(?P<version>v[1-9]\d{0,3})?",
    re.ASCII,
)
_AROUND_ID = re.compile(
    r"(?:arxiv:\s*|(?:https?://(?:dx\.)?doi\.org/)?10\.48550/arxiv\."
    r"|(?:https?://)?(?:\w+\.)?arxiv\.org/(?:abs|pdf|html)/)(?P<id>.*?)(?:\.pdf|/)?"
    r"(?:[?#].*)?",
    re.IGNORECASE | re.DOTALL,
)


def encode_search(search: Search, api_url: str, default_max_results: int) -> ArxivRequest:
    """Encode a search for arXiv. Raises InvalidParameter if it is not valid."""
    sent = parameters(search, default_max_results)
    digest = sha256(f"{api_url}?{urlencode(sent)}".encode()).digest()
    search = structs.replace(search, max_results=int(sent["max_results"]))
    return ArxivRequest(search, sent, UUID(bytes=digest[:16]))


def parameters(search: Search, default_max_results: int) -> dict[str, str]:
    """What is sent to arXiv. Raises BadInput where the search cannot mean anything."""
    trees = _trees(search)
    ids = _ids(search.id_list)
    if not (trees or ids):
        raise InvalidParameter(", ".join(TERMS), "give at least one of them")
    size = search.max_results
    if size is None:
        # of ids, too, arXiv answers no more than max_results
        size = len(ids) or default_max_results
    if search.start + size > LAST_RESULT:
        raise InvalidParameter(
            "start",
            f"the page passes arXiv's last result, {LAST_RESULT:,}; narrow the search by"
            " submitted_from and submitted_to, or use harvest, which does that itself",
        )
    sent = {
        "search_query": _text(trees),
        "id_list": ",".join(ids),
        "start": str(search.start),
        "max_results": str(size),
    }
    if (search.sort_by, search.sort_order) != ("relevance", "descending"):
        sent |= {"sortBy": search.sort_by, "sortOrder": search.sort_order}
    return sent


def _text(trees: list[Tree]) -> str:
    if not trees:
        return ""
    text = language.write(language.joined(trees, ["AND"] * (len(trees) - 1)))
    # arXiv replaces all authors by the second token if that has an underscore: let it be another
    return f"({text})" if "_" in text and not text.startswith("(") else text


def _trees(search: Search) -> list[Tree]:
    """What must match, all of it."""
    trees: list[Tree] = []
    if search.query and search.query.strip():
        trees.append(_query(search.query))
    for name, field in FIELDS.items():
        text = getattr(search, name)
        if text and text.strip():
            trees.append(Term(field, _value(name, text)))
    if categories := _categories(search.category):
        trees.append(language.joined(categories, ["OR"] * (len(categories) - 1)))
    if search.submitted_from is not None or search.submitted_to is not None:
        trees.append(_submitted(search.submitted_from, search.submitted_to))
    return trees


def _query(text: str) -> Tree:
    if len(text) > MAX_LENGTH:
        raise InvalidParameter("query", f"is longer than {MAX_LENGTH} characters")
    try:
        return language.parse(text)
    except language.Unreadable as error:
        raise InvalidParameter("query", str(error)) from None


def _value(name: str, text: str) -> str:
    if not (value := language.closed(language.plain(text))):
        raise InvalidParameter(name, "has no characters that arXiv can search for")
    return value


def _categories(texts: Iterable[str]) -> list[Tree]:
    names: set[str] = set()
    for text in filter(None, map(str.strip, texts)):
        if (name := language.category(text)) is None:
            raise InvalidParameter(
                "category", f"{text[:100]!r} is no category like cs.AI, hep-th or cs.*"
            )
        names.add(name)
    _check_number("category", names)
    return [Term("cat", name) for name in sorted(names)]


def paper(text: str, parameter: str) -> tuple[str, int | None]:
    """The id of a paper, and the version where one is named. Raises BadInput for what is no id."""
    inside = _AROUND_ID.fullmatch(text)
    found = _ID.fullmatch(inside["id"] if inside else text)
    if not found:
        raise InvalidParameter(
            parameter,
            f"{text[:100]!r} is no arXiv id like 2101.00001, 2101.00001v2, hep-th/9901001",
        )
    # arXiv itself leaves the subject class out: math.GT/0309136 is math/0309136
    bare = found["new"] or f"{found['archive']}/{found['number']}"
    return bare, int(found["version"][1:]) if found["version"] else None


def _ids(texts: Iterable[str]) -> list[str]:
    names = [paper(name, "id_list") for text in texts for name in text.replace(",", " ").split()]
    ids = {bare if version is None else f"{bare}v{version}" for bare, version in names}
    _check_number("id_list", ids)
    return sorted(ids)


def _check_number(name: str, given: set[str]) -> None:
    if len(given) > MAX_NAMES:
        raise InvalidParameter(name, f"takes {MAX_NAMES} at most, not {len(given)}")


def _submitted(since: int | None, until: int | None) -> Tree:
    """A range of dates, to the minute as arXiv has them."""
    if since is not None and until is not None and until < since:
        raise InvalidParameter("submitted_to", "is before submitted_from")
    first, last = (
        bound if seconds is None else min(max(_minute(seconds), _EARLIEST), _LATEST)
        for seconds, bound in ((since, _EARLIEST), (until, _LATEST))
    )
    return Term("submittedDate", f"{first} TO {last}")


def _minute(seconds: int) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.year:04}{moment:%m%d%H%M}"


# What arXiv did

_TITLE = re.compile(
    r"search_query=(?P<search_query>.*)&id_list=(?P<id_list>[^&]*)"
    r"(?:&start=(?P<start>[^&]*)&max_results=(?P<max_results>[^&]*))?",
    re.DOTALL,
)
_LONE_WORD = re.compile(r'"([^"\s]*)"')


def differences(sent: dict[str, str], feed: Feed) -> list[str]:
    """Where the query that arXiv says it executed is not the one meant; a sentence for each."""
    link, title = _link(feed.link), _title(feed.query)
    found = [_query_difference(sent["search_query"], link, title)]
    executed = title | link
    found += [
        f"arXiv took {name} for {_quoted(executed[name])}, not {_quoted(sent[name])}"
        for name in ("id_list", "start", "max_results")
        if name in sent and name in executed and _names(sent[name]) != _names(executed[name])
    ]
    return [sentence for sentence in found if sentence]


def _query_difference(meant: str, link: dict[str, str], title: dict[str, str]) -> str | None:
    shown = link.get("search_query")
    tree = language.read(shown or "")
    if tree or shown == "":
        # the link shows the tree, so there must be no doubt about the one that was meant
        agree = shown == meant == "" or _same(_explicit(meant), tree)
    else:
        shown = title.get("search_query", meant)
        tree = language.read(shown)
        is_readable = tree or shown == ""
        agree = (
            not is_readable or _loose(shown) == _loose(meant) or _same(language.read(meant), tree)
        )
    return None if agree else f"arXiv searched {_quoted(shown or '')}, not {_quoted(meant)}"


def _explicit(text: str) -> Tree | None:
    """The tree of a query as this module writes it; None where it may be misunderstood."""
    fixed = re.sub(r'doi:"[^"]*"', "", text)
    return None if "_" in fixed else language.read(text, is_explicit=True)


def _same(meant: Tree | None, executed: Tree | None) -> bool:
    if meant is None or executed is None:
        return False
    return language.write(meant).casefold() == language.write(executed).casefold()


def _loose(text: str) -> str:
    """A query without the differences of spelling that mean nothing."""
    return _LONE_WORD.sub(r"\1", " ".join(text.casefold().split()))


def _link(href: str | None) -> dict[str, str]:
    """The parameters in a feed's link; of the old family's links, none."""
    try:
        values = parse_qs(urlsplit(href or "").query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: texts[0] for name, texts in values.items()} if "search_query" in values else {}


def _title(query: str | None) -> dict[str, str]:
    """The parameters in a feed's title."""
    found = _TITLE.fullmatch(query or "")
    return (
        {name: text for name, text in found.groupdict().items() if text is not None}
        if found
        else {}
    )


def _names(text: str) -> list[str]:
    return sorted(set(text.split(",")))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}...")


def missing_ids(sent: dict[str, str], entries: list[Entry]) -> list[str]:
    """The ids asked for that are not among the entries, in the order asked.

    An id without a version stands for any version.
    """
    came: set[str] = set()
    for entry in entries:
        came |= {f"{entry.arxiv_id}", f"{entry.arxiv_id}v{entry.version}"}
    return [name for name in sent["id_list"].split(",") if name and name not in came]
