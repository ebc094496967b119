"""Searches with LangChain's ArxivAPIWrapper: the documents and the text of each search."""

import json
import sys
from typing import Any

import arxiv
from langchain_community.utilities import ArxivAPIWrapper


def search(query: str, max_results: int = 3) -> dict[str, Any]:
    wrapper = ArxivAPIWrapper(top_k_results=max_results, doc_content_chars_max=None)
    documents, text, error = [], "", None
    try:
        documents = wrapper.get_summaries_as_docs(query)
        text = wrapper.run(query)
    except arxiv.ArxivError as raised:
        error = repr(raised)
    return {
        "papers": [(document.page_content, document.metadata) for document in documents],
        "text": text,
        "error": error,
    }


# ArxivAPIWrapper has no parameters for these: no pause before a page, no second attempt
arxiv.Client.__init__.__defaults__ = (100, 0.0, 0)
outcomes = {name: search(**options) for name, options in json.loads(sys.argv[1]).items()}
print(json.dumps(outcomes, default=str))
