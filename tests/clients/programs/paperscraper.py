"""Searches with paperscraper: the rows of each search."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import arxiv
from paperscraper.arxiv import get_and_dump_arxiv_papers, get_arxiv_papers_api

CLIENT = {"page_size": 20, "delay_seconds": 0, "num_retries": 0}


def search(
    query: str = "",
    id_list: tuple[str, ...] = (),
    max_results: int = 100,
    keywords: list[str] | None = None,
    **dates: str,
) -> dict[str, Any]:
    if keywords:
        return {"papers": dump(keywords, **dates)}
    try:
        papers = get_arxiv_papers_api(
            query,
            max_results=max_results,
            client_options=CLIENT,
            search_options={"id_list": list(id_list)},
            verbose=False,
        )
    except arxiv.ArxivError as raised:
        return {"papers": [], "error": repr(raised)}
    return {"papers": papers.to_dict(orient="records")}


def dump(keywords: list[str], **dates: str) -> list[dict[str, Any]]:
    with TemporaryDirectory() as directory:
        file = Path(directory, "papers.jsonl")
        get_and_dump_arxiv_papers(keywords, str(file), client_options=CLIENT, **dates)
        return [json.loads(line) for line in file.read_text().splitlines()]


outcomes = {name: search(**options) for name, options in json.loads(sys.argv[1]).items()}
print(json.dumps(outcomes, default=str))
