"""Answers searches from the mirror, as arXiv's API would."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from time import time

from cachetools import TTLCache

from .. import arxiv_query, arxiv_schedule, lax_query
from ..arxiv_query_parser import InvalidQuery, Node
from ..db.mirror import MirroredPaper, MirrorReader
from ..db.records import create_entry
from ..errors import InvalidApiQuery, InvalidParameter
from ..metadata.arxiv_ids import ArxivId, parse_arxiv_id
from ..metadata.categories import get_set_spec
from ..models.arxiv import (
    CURRENT_MIRROR,
    MIRRORED,
    ApiQuery,
    ArxivRequest,
    ArxivResponse,
    Remarks,
    SortBy,
)
from ..models.mirror import SyncState
from ..models.records import PaperInsert
from ..search_index.arxiv_queries import find
from ..search_index.paper_index import PaperIndex
from .sync_state import is_complete

STATUS = 200
"""The HTTP status of an answer, that of a successful response of arXiv."""
SYNCS_SECONDS = 5.0
"""How long the progress of the syncs is kept in memory."""


class MirrorSearch:
    """Answers searches from the mirror; nothing is recorded."""

    def __init__(self, reader: MirrorReader, index: PaperIndex) -> None:
        self._reader = reader
        self._index = index
        self._syncs: TTLCache[str, list[SyncState]] = TTLCache(1, SYNCS_SECONDS)

    async def is_complete(self) -> bool:
        """Whether all papers of arXiv are in the mirror. Raises DatabaseUnavailable."""
        return any(not sync.set_spec and is_complete(sync) for sync in await self._fetch_syncs())

    async def look_up(self, request: ArxivRequest) -> ArxivResponse | None:
        """Return the answer to a search for identifiers; None if arXiv may know more.

        That is so for papers and versions that are not stored, and for papers in no set that was
        synced after arXiv's latest update. Raises DatabaseUnavailable.
        """
        names = _parse_ids(request)
        if request.parameters["search_query"] or not names or None in names:
            return None
        if not _list_current_sets(await self._fetch_syncs()):
            return None
        papers, syncs = await self._reader.fetch_with_syncs([name for name in names if name])
        current = _list_current_sets(syncs)
        if len(papers) < len(names) or not all(_is_current(paper, current) for paper in papers):
            return None
        return _create_page(request, papers, CURRENT_MIRROR)

    async def search(self, request: ArxivRequest) -> ArxivResponse:
        """Return the answer to any search, whatever the age of the mirror.

        Raises InvalidParameter or InvalidApiQuery for a query that arXiv rejects, IndexUnavailable
        or DatabaseUnavailable.
        """
        if not request.parameters["search_query"]:
            names = [name for name in _parse_ids(request) if name]
            return _create_page(request, await self._reader.fetch_papers(names))
        requested = dict(filter(None, _parse_ids(request)))
        try:
            tree = lax_query.parse_rewritten_query(_rewrite_query(request))
            total, found = await find(
                self._index,
                await self._index.open_snapshot(),
                tree,
                arxiv_ids=requested if request.parameters["id_list"] else None,
                sort_by=request.search.sort_by,
                sort_order=request.search.sort_order,
                start=request.search.start,
                limit=request.max_results,
            )
        except InvalidQuery as error:
            if isinstance(request.search, ApiQuery):
                raise InvalidApiQuery(str(error)) from None
            raise InvalidParameter("query", str(error)) from None
        keys = [ArxivId(name, requested.get(name) or version) for name, version in found]
        papers = await self._reader.fetch_papers(keys)
        return _create_response(request, total, papers, tree)

    async def describe_age(self) -> str:
        """Say how current the mirror is. Raises DatabaseUnavailable."""
        times = [sync.synced_at for sync in await self._fetch_syncs() if sync.synced_at]
        if not times:
            return "it was never synced"
        return f"as of {datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M} UTC"

    async def _fetch_syncs(self) -> list[SyncState]:
        if (syncs := self._syncs.get("")) is None:
            self._syncs[""] = syncs = await self._reader.fetch_syncs()
        return syncs


def _list_current_sets(syncs: Iterable[SyncState]) -> set[str]:
    """Return the sets that have what arXiv announced last."""
    announced = arxiv_schedule.find_announced_update(time())
    return {
        sync.set_spec
        for sync in syncs
        if is_complete(sync) and sync.synced_at and sync.synced_at >= announced
    }


def _create_page(
    request: ArxivRequest, papers: Sequence[PaperInsert], source: Remarks = MIRRORED
) -> ArxivResponse:
    """Sort papers that were looked up, each once, and return the page that was requested."""
    search = request.search
    unique = {(paper.arxiv_id, paper.version): paper for paper in papers}
    ordered = sorted(unique.values(), key=_SORT_KEYS[search.sort_by])
    # the oldest comes first if all are equally relevant
    if (search.sort_by == "relevance") != (search.sort_order == "descending"):
        ordered.reverse()
    page = ordered[search.start : search.start + request.max_results]
    return _create_response(request, len(ordered), page, None, source)


def _create_response(
    request: ArxivRequest,
    total: int,
    papers: Sequence[PaperInsert],
    tree: Node | None,
    source: Remarks = MIRRORED,
) -> ArxivResponse:
    parameters = request.parameters
    entries = list(map(create_entry, papers))
    page = parameters["id_list"], request.search.start, request.max_results
    remarks = dict(source)
    missing = arxiv_query.find_missing_ids(parameters, entries)
    if missing and not tree and not request.search.start and len(missing) < request.max_results:
        remarks["missing_ids"] = missing
    query = _rewrite_query(request)
    return ArxivResponse(
        timestamp=int(time()),
        status=STATUS,
        num_results=total,
        query=lax_query.format_feed_query(query, *page),
        feed_link=lax_query.format_feed_link(tree, *page),
        entries=entries,
        remarks=remarks,
    )


def _rewrite_query(request: ArxivRequest) -> str:
    """Return the query as arXiv corrects it, unless the request forbids this."""
    query = request.parameters["search_query"]
    return query if request.parameters.get("raw") == "1" else lax_query.rewrite_query(query)


def _parse_ids(request: ArxivRequest) -> list[ArxivId | None]:
    """Return the identifiers in a search, with None for those that are not valid."""
    return [parse_arxiv_id(item) for item in request.parameters["id_list"].split(",") if item]


def _is_current(paper: MirroredPaper, set_specs: Collection[str]) -> bool:
    """Whether the paper is in one of these sets of OAI-PMH; an empty name stands for all papers."""
    if not paper.is_mirrored:
        return False
    if "" in set_specs:
        return True
    paths = [f"{get_set_spec(category)}:" for category in paper.categories]
    return any(path.startswith(f"{set_spec}:") for path in paths for set_spec in set_specs)


_SORT_KEYS: dict[SortBy, Callable[[PaperInsert], tuple[int, str, int]]] = {
    "relevance": lambda paper: (paper.published or 0, paper.arxiv_id or "", paper.version or 0),
    "submittedDate": lambda paper: (paper.published or 0, paper.arxiv_id or "", paper.version or 0),
    "lastUpdatedDate": lambda paper: (paper.updated or 0, paper.arxiv_id or "", paper.version or 0),
}
