"""Searches with LlamaIndex's ArxivReader: the documents of each search."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import arxiv
from llama_index.readers.papers import ArxivReader


def search(query: str, max_results: int = 3) -> dict[str, Any]:
    with TemporaryDirectory() as directory:
        papers, abstracts, error = [], [], None
        try:
            papers, abstracts = ArxivReader().load_papers_and_abstracts(
                query, f"{directory}/papers", max_results
            )
        except (arxiv.ArxivError, ValueError) as raised:
            error = repr(raised).replace(directory, "")
    return {
        "papers": [paper.text for paper in abstracts],
        "metadata": sorted(map(describe, papers), key=str),
        "error": error,
    }


def describe(paper: Any) -> dict[str, Any]:
    return {name: paper.metadata[name] for name in ("Title of this paper", "Authors", "URL")}


def write_pdf(result: arxiv.Result, dirpath: str, filename: str) -> None:
    """Write a file in the place of the PDF, which comes from another server than the API."""
    Path(dirpath, filename).write_text(str(result.pdf_url))


arxiv.Result.download_pdf = write_pdf
arxiv.Client.__init__.__defaults__ = (100, 0.0, 0)  # no pause before a page, no second attempt
outcomes = {name: search(**options) for name, options in json.loads(sys.argv[1]).items()}
print(json.dumps(outcomes))
