"""All access to PostgreSQL: structs in, structs out.

`DatabasePools` has the connections to each system, `RecordStore` writes records, `RecordReader`
reads them, `RateLimiter` spaces the requests to arXiv, `Reconciler` repairs what a crash left
incomplete, `ApiKeyStore` manages API keys. Errors of the driver become DatabaseUnavailable.
"""
