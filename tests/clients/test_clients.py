"""Real clients return the same objects from the gateway as from arXiv.

`make clients` installs them. A client that is not installed is skipped.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from demo.arxiv import StandIn
from demo.papers import Paper, generate
from tests.support.clients import (
    Fetch,
    use_arxiv_api,
    use_arxiv_for_r,
    use_mcp_server,
    use_papis,
    use_pubs,
    use_python,
)

PAPERS = generate(1000)


def find_paper(**features: bool) -> Paper:
    """The first paper that has exactly these features."""
    return next(paper for paper in PAPERS if describe(paper).items() >= features.items())


def describe(paper: Paper) -> dict[str, bool]:
    return {
        "old": "/" in paper.arxiv_id,
        "revised": paper.version > 1,
        "doi": bool(paper.dois),
        "several_dois": len(paper.dois) > 1,
        "lines": "\n" in paper.abstract,
        "affiliation": any(author.affiliations for author in paper.authors),
        "journal": paper.journal_ref is not None,
        "comment": paper.comment is not None,
    }


OLD = find_paper(old=True, revised=True, doi=False).arxiv_id
NEW = find_paper(old=False, revised=True, doi=False).arxiv_id
IDENTIFIERS = [
    f"{OLD}v1",
    NEW,
    find_paper(lines=True, comment=True).arxiv_id,
    find_paper(several_dois=True, journal=True).arxiv_id,
    find_paper(affiliation=True, old=False).arxiv_id,
]
REJECTED = -1
"""Stands for the number of papers of a search that arXiv rejects."""
Cases = dict[str, tuple[dict[str, Any], int]]
"""Names of searches; their parameters, and how many papers they find."""

ARXIV_PY: Cases = {
    "several pages": ({"query": "all:testing", "max_results": 55}, 55),
    "all pages": ({"query": "all:testing AND cat:cs.*"}, 25),
    "a later start": ({"query": "ti:testing", "start": 15, "max_results": 40}, 25),
    "phrase and dates": (
        {
            "query": 'abs:"earlier bounds" AND submittedDate:[200001010000 TO 201912312359]',
            "max_results": 30,
        },
        30,
    ),
    "identifiers": ({"id_list": IDENTIFIERS}, 5),
    "query in identifiers": ({"query": "all:testing", "id_list": IDENTIFIERS}, 1),
    "unknown identifier": ({"id_list": ["0704.9999"]}, 0),
    "no paper": ({"query": "all:xyzzyx"}, 0),
    "invalid identifier": ({"id_list": ["nonsense"]}, REJECTED),
    "invalid query": ({"query": "all:testing AND ("}, REJECTED),
}
ARXIV_PY |= {
    f"by {sort_by}, {sort_order}": (
        {"query": "cat:math.*", "max_results": 25, "sort_by": sort_by, "sort_order": sort_order},
        25,
    )
    for sort_by, sort_order in product(
        ("relevance", "lastUpdatedDate", "submittedDate"), ("ascending", "descending")
    )
}
LANGCHAIN: Cases = {
    "words": ({"query": "testing scaling", "max_results": 20}, 20),
    "identifiers": ({"query": f"{NEW} {NEW}v1"}, 2),
    "no paper": ({"query": "xyzzyx"}, 0),
    "invalid query": ({"query": "testing AND ("}, REJECTED),
}
LLAMA_INDEX: Cases = {
    "words": ({"query": "testing scaling", "max_results": 20}, 20),
    "no paper": ({"query": "xyzzyx"}, REJECTED),  # by the reader itself
    "invalid query": ({"query": "testing AND ("}, REJECTED),
}
ARXIV_API: Cases = {
    "words": ({"searchQueryParams": [{"include": [{"name": "testing"}]}]}, 10),
    "page": (
        {
            "searchQueryParams": [
                {
                    "include": [{"name": "earlier bounds", "prefix": "abs"}, {"name": "scaling"}],
                    "exclude": [{"name": "testing", "prefix": "ti"}],
                },
                {"include": [{"name": '"earlier bounds"', "prefix": "abs"}]},
            ],
            "start": 20,
            "maxResults": 30,
            "sortBy": "submittedDate",
            "sortOrder": "ascending",
        },
        30,
    ),
    "no paper": ({"searchQueryParams": [{"include": [{"name": "xyzzyx"}]}]}, 0),
    "invalid query": ({"searchQueryParams": [{"include": [{"name": "("}]}]}, REJECTED),
}
ARXIV_FOR_R: Cases = {
    "pages": ({"query": "all:testing", "limit": 50, "batchsize": 20}, 50),
    "sorted": ({"query": "cat:math.*", "sort_by": "updated", "ascending": False}, 10),
    "identifiers": ({"id_list": IDENTIFIERS}, 5),
    "no paper": ({"query": "all:xyzzyx"}, 0),
    "invalid query": ({"query": "all:("}, REJECTED),
}
FEEDPARSER: Cases = {
    "page": ({"search_query": "all:testing", "start": "20", "max_results": "30"}, 30),
    "identifiers": ({"id_list": ",".join(IDENTIFIERS)}, 5),
    "sorted": ({"search_query": "cat:cs.LG", "sortBy": "lastUpdatedDate"}, 10),
    "no paper": ({"search_query": "all:xyzzyx"}, 0),
    "invalid identifier": ({"id_list": "nonsense"}, 1),  # the entry of the error
    "invalid order": ({"search_query": "all:testing", "sortOrder": "up"}, 1),
    "nothing": ({}, 1),
}
MCP_SERVER: Cases = {
    "page": ({"tool": "arxiv_search", "query": "ti:testing", "start": 20, "max_results": 30}, 30),
    "sorted": (
        {
            "tool": "arxiv_search",
            "query": "all:scaling",
            "category": "cs.LG",
            "sort_by": "submitted",
            "sort_order": "ascending",
        },
        6,
    ),
    "identifiers": ({"tool": "arxiv_get_metadata", "paper_ids": IDENTIFIERS}, 5),
    "unknown identifier": ({"tool": "arxiv_get_metadata", "paper_ids": ["0704.9999"]}, REJECTED),
    "no paper": ({"tool": "arxiv_search", "query": "all:xyzzyx"}, 0),
    "invalid query": ({"tool": "arxiv_search", "query": "all:testing AND ("}, REJECTED),
}
PAPERSCRAPER: Cases = {
    "several pages": ({"query": "all:testing", "max_results": 55}, 55),
    "identifiers": ({"id_list": IDENTIFIERS}, 5),
    "keywords and dates": (
        {
            "keywords": ["factor", ["testing", "scaling"]],
            "start_date": "2001-01-01",
            "end_date": "2019-12-31",
        },
        58,
    ),
    "no paper": ({"query": "all:xyzzyx"}, 0),
    "invalid query": ({"query": "all:testing AND ("}, REJECTED),
}
PAPIS: Cases = {
    "words": ({"explore": ["--query", "testing", "--max", "15"]}, 15),
    "spaces": ({"explore": ["--query", "testing scaling"]}, 0),  # papis encodes the space twice
    "title and category": ({"explore": ["--title", "testing", "--category", "cs.LG"]}, 4),
    "identifier": ({"explore": ["--id-list", NEW]}, 1),
    "no paper": ({"explore": ["--query", "xyzzyx"]}, 0),
    "added paper": ({"add": f"arXiv:{NEW}"}, 1),
}
PUBS: Cases = {
    "identifier": ({"arxiv_id": NEW}, 1),
    "old identifier": ({"arxiv_id": OLD}, 1),
    "version": ({"arxiv_id": f"{NEW}v1"}, 1),
    "unknown identifier": ({"arxiv_id": "0704.9999"}, REJECTED),
    "invalid identifier": ({"arxiv_id": "nonsense"}, REJECTED),
}


@dataclass(frozen=True)
class Client:
    """A client, and what it searches for."""

    name: str
    fetch: Fetch
    cases: Cases


CLIENTS = [
    Client("arxiv.py 2", use_python("arxiv-2", "arxiv_py.py"), ARXIV_PY),
    Client("arxiv.py 3", use_python("arxiv-3", "arxiv_py.py"), ARXIV_PY),
    Client("arxiv.py 4", use_python("arxiv-4", "arxiv_py.py"), ARXIV_PY),
    Client("feedparser", use_python("arxiv-4", "feedparser.py", "feedparser"), FEEDPARSER),
    Client("LangChain", use_python("arxiv-2", "langchain.py"), LANGCHAIN),
    Client("LlamaIndex", use_python("arxiv-2", "llama_index.py"), LLAMA_INDEX),
    Client("paperscraper", use_python("paperscraper", "paperscraper.py"), PAPERSCRAPER),
    Client("papis", use_papis, PAPIS),
    Client("pubs", use_pubs, PUBS),
    Client("arxiv-api", use_arxiv_api, ARXIV_API),
    Client("aRxiv", use_arxiv_for_r, ARXIV_FOR_R),
    Client("arxiv-mcp-server", use_mcp_server, MCP_SERVER),
]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_client_gets_from_the_gateway_what_it_gets_from_arxiv(
    client: Client, arxiv: StandIn, arxiv_url: str, gateway_url: str
) -> None:
    searches = {name: parameters for name, (parameters, _) in client.cases.items()}
    direct = client.fetch(arxiv_url, searches)
    assert count_papers(direct) == {name: papers for name, (_, papers) in client.cases.items()}
    assert client.fetch(gateway_url, searches) == direct
    asked = len(arxiv.requests)
    assert client.fetch(gateway_url, searches) == direct
    repeated = arxiv.requests[asked:]  # all others are answered from the cache
    assert [request.raw_query for request in repeated if request.status == 200] == []


def count_papers(outcomes: dict[str, Any]) -> dict[str, int]:
    return {
        name: len(outcome["papers"]) or (REJECTED if outcome.get("error") else 0)
        for name, outcome in outcomes.items()
    }
