"""The table of the signing key."""

from psycopg.rows import tuple_row

from .. import sql
from ..errors import DatabaseUnavailable
from .pool import DatabasePools, fetch


class SigningKeyStore:
    """Reads the signing key, which the migration has generated."""

    def __init__(self, pools: DatabasePools) -> None:
        self._pools = pools

    async def fetch(self) -> bytes:
        """Return the key. Raises DatabaseUnavailable if it is missing or cannot be read."""
        rows = await fetch(self._pools.reader, tuple_row, sql.SELECT_SIGNING_KEY)
        if not rows:
            raise DatabaseUnavailable(
                "the table signing_keys is empty, so forms and sessions cannot be signed: insert a"
                " key as docs/operations.md describes"
            )
        [(key,)] = rows
        return bytes(key)
