"""The one user of PostgreSQL: structs in, structs out.

`Connections` are the pools; `Store` keeps searches, results and papers, `Archive` reads them back,
`Gate` gives the turns at arXiv. Errors of the driver leave here as StoreUnavailable, with their
cause.
"""

from service.store.archive import Archive
from service.store.connections import Connections, libpq_environment
from service.store.gate import Gate
from service.store.searches import Store

__all__ = ["Archive", "Connections", "Gate", "Store", "libpq_environment"]
