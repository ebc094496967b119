"""The one user of PostgreSQL: structs in, structs out.

`Connections` are the pools of each system; `Store` keeps searches, results and papers, `Archive`
reads them back, `Gate` gives the turns at arXiv, `Reconciliation` finds what a crash left half
done, `KeyStore` has the API keys. Errors of the driver leave here as StoreUnavailable, with their
cause.
"""
