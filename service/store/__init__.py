"""The one user of PostgreSQL: structs in, structs out.

`Connections` are the pools of each system; `Store` keeps searches, results and papers, `Archive`
reads them back, `Gate` gives the turns at arXiv, `Reconciliation` finds what a crash left half
done, `KeyStore` has the API keys. Errors of the driver leave here as StoreUnavailable, with their
cause.
"""

from service.libpq import libpq_environment
from service.store.archive import Archive
from service.store.connections import Connections
from service.store.gate import Gate
from service.store.keys import KeyStore
from service.store.reconciliation import Mismatch, Reconciliation
from service.store.searches import Store

__all__ = [
    "Archive",
    "Connections",
    "Gate",
    "KeyStore",
    "Mismatch",
    "Reconciliation",
    "Store",
    "libpq_environment",
]
