"""The one user of PostgreSQL: structs in, structs out.

`Connections` are the pools; `Store` keeps searches and results, `Gate` the turns at arXiv. Errors
of the driver leave here as StoreUnavailable, with their cause.
"""

from service.store.connections import Connections, libpq_environment
from service.store.gate import Gate
from service.store.searches import Store

__all__ = ["Connections", "Gate", "Store", "libpq_environment"]
