"""The table of API keys: their digests go in, and never come out."""

from psycopg import errors
from psycopg.rows import class_row

from .. import sql
from ..api_keys import ApiKey, Rate
from ..errors import ApiKeyNameTaken
from ..models.records import ApiKeyRow
from .pool import DatabasePools, map_db_errors


class ApiKeyStore:
    """Keys are made and revoked by operators; services ask for those with some digests."""

    def __init__(self, connections: DatabasePools) -> None:
        """Use these connections."""
        self._connections = connections

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        """The keys that count, of those with these digests."""
        with map_db_errors():
            async with self._connections.reader() as conn:
                found = await conn.execute(sql.FIND_KEYS, {"digests": digests})
                rows = await found.fetchall()
        return {digest: ApiKey(name, Rate(quota, seconds)) for digest, name, quota, seconds in rows}

    async def add(self, key: ApiKey, digest: bytes, beginning: str) -> None:
        """Store a new one. Raises NameTaken where another that counts has the name."""
        row = {
            "name": key.name,
            "digest": digest,
            "beginning": beginning,
            "quota": key.rate.quota,
            "seconds": key.rate.seconds,
        }
        with map_db_errors():
            async with self._connections.writer() as conn:
                try:
                    await conn.execute(sql.INSERT_KEY, row)
                except errors.UniqueViolation as error:
                    raise ApiKeyNameTaken(
                        f"there is a key named {key.name}: revoke it first"
                    ) from error

    async def revoke(self, name: str) -> bool:
        """Let the key of this name count no more; whether there was one."""
        with map_db_errors():
            async with self._connections.writer() as conn:
                revoked = await conn.execute(sql.REVOKE_KEY, {"name": name})
                return revoked.rowcount > 0

    async def fetch_all(self) -> list[ApiKeyRow]:
        """All that there have been, the oldest first."""
        with map_db_errors():
            async with (
                self._connections.writer() as conn,
                conn.cursor(row_factory=class_row(ApiKeyRow)) as cursor,
            ):
                await cursor.execute(sql.SELECT_KEYS)
                return await cursor.fetchall()
