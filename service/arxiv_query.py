"""From the parameters of a search to arXiv's query language.

The language has traps (no precedence, OR where an operator is missing, `all:` where a prefix is),
so every query is built here: one prefix a term, every value in quotes, and nothing in a value can
end its quotes. https://info.arxiv.org/help/api/user-manual.html#query_details
"""

import re

from service.errors import BadInput
from service.models import Search

HEADING = re.compile(r"^arxiv query:\s*", re.IGNORECASE)
"""How feeds title a query: `ArXiv` in the old family, `arXiv` in the new one."""

PREFIXES = {"author": "au", "title": "ti", "journal": "jr"}

# A quote or a backslash would end the value; arXiv reads an underscore in some fields as another
# field's words, and rewrites submittedDate:[...] even inside quotes, adding quotes of its own;
# control characters mean nothing to it.
_MEANINGLESS = re.compile(r'(?:["\\_\x00-\x1f\x7f-\x9f\s]|(?<=Date):)+')


def build(search: Search) -> str:
    """The value of `search_query`. Raises BadInput where there is nothing to search for."""
    given = {name: getattr(search, name) for name in PREFIXES}
    terms = [
        f'{PREFIXES[name]}:"{_plain(name, value)}"'
        for name, value in given.items()
        if value is not None and value.strip()
    ]
    if not terms:
        raise BadInput(", ".join(PREFIXES), "give at least one of them")
    return " AND ".join(terms)


def _plain(name: str, value: str) -> str:
    """The value without what could change the structure of the query."""
    # arXiv cannot search for a word whose beginning is left open
    if not (plain := _MEANINGLESS.sub(" ", value).lstrip("*? ").rstrip()):
        raise BadInput(name, "has no characters that arXiv can search for")
    return plain
