"""arxiv-gateway: one polite door to the arXiv API, with a memory in PostgreSQL."""

import sys
from typing import Any

__version__ = "0.1.0"

# httpx takes its own command line along where it can: that costs as much time as httpx itself
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
