"""Recorded searches with results."""

import re
from typing import Any
from uuid import uuid4

import psycopg

KEY = uuid4()


class Runs:
    """Inserts searches, one day apart."""

    def __init__(self, db: psycopg.Connection) -> None:
        self.db = db
        self.query_id = 100

    def add(
        self,
        *papers: str,
        key: Any = KEY,
        outcome: str = "ok",
        query: str = "search_query=ti:x",
        query_id: int | None = None,
    ) -> int:
        """Record a run that found these papers: `2611.00001v2`, or any text without an id."""
        self.query_id = query_id or self.query_id + 1
        moment = 1_700_000_000 + 86_400 * self.query_id
        self.db.execute(
            "insert into queries (query_id, timestamp, status, num_results, num_entries, query,"
            " outcome, search_key) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(self.query_id, moment, 200, len(papers), len(papers)),
                *(query, outcome, key),
            ],
        )
        for number, paper in enumerate(papers):
            self._add_result(moment, number, paper)
        return self.query_id

    def _add_result(self, moment: int, number: int, paper: str) -> None:
        found = re.fullmatch(r"(\d{4}\.\d{5})(?:v(\d+))?", paper)
        arxiv_id, version = found.groups() if found else (None, None)
        self.db.execute(
            "insert into results (query_id, timestamp, result_number, author, title, arxiv_id,"
            " version) values (%s, %s, %s, 'A. N. Other', %s, %s, %s)",
            [self.query_id, moment, number, f"On {arxiv_id or paper}", arxiv_id, version],
        )
        if arxiv_id:
            self.db.execute(
                "insert into papers (arxiv_id, version, timestamp, title, authors, published)"
                " values (%s, %s, %s, %s, '{A. N. Other}', 1600000000) on conflict do nothing",
                [arxiv_id, version or 0, moment, f"On {arxiv_id}"],
            )
