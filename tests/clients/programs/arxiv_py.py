"""Searches with arxiv.py: the results, the log messages, and the error of each search."""

import json
import logging
import sys
from typing import Any

import arxiv


class Messages(logging.Handler):
    """The messages since the last search; they contain the number of pages and the total."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def search(
    query: str = "",
    id_list: tuple[str, ...] = (),
    max_results: int | None = None,
    sort_by: str = "relevance",
    sort_order: str = "descending",
    start: int = 0,
) -> dict[str, Any]:
    messages.texts = []
    asked = arxiv.Search(
        query=query,
        id_list=list(id_list),
        max_results=max_results,
        sort_by=arxiv.SortCriterion(sort_by),
        sort_order=arxiv.SortOrder(sort_order),
    )
    client = arxiv.Client(page_size=20, delay_seconds=0, num_retries=0)
    papers, error = [], None
    try:
        papers = [describe(result) for result in client.results(asked, offset=start)]
    except arxiv.ArxivError as raised:
        error = repr(raised)
    return {"papers": papers, "error": error, "messages": messages.texts}


def describe(result: arxiv.Result) -> dict[str, Any]:
    return {**vars(result), "pdf": result.pdf_url, "short_id": result.get_short_id()}


def to_json(value: Any) -> Any:
    return vars(value) if hasattr(value, "__dict__") else str(value)


messages = Messages()
logging.getLogger("arxiv").addHandler(messages)
logging.getLogger("arxiv").setLevel(logging.INFO)
outcomes = {name: search(**options) for name, options in json.loads(sys.argv[1]).items()}
print(json.dumps(outcomes, default=to_json))
