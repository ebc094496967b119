"""API keys in PostgreSQL: digests are written and compared there, and never read."""

from msgspec import structs
from psycopg import errors
from psycopg.rows import class_row, tuple_row

from .. import sql
from ..api_keys import ApiKey, Rate
from ..errors import ApiKeyNameTaken
from ..models.records import ApiKeyRow
from .pool import DatabasePools, fetch, map_db_errors


class ApiKeyStore:
    """Operators add and revoke keys; services look up the valid ones by digest."""

    def __init__(self, pools: DatabasePools) -> None:
        self._pools = pools

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        """The valid keys with one of these digests."""
        rows = await fetch(self._pools.reader, tuple_row, sql.FIND_KEYS, {"digests": digests})
        return {digest: ApiKey(name, Rate(quota, seconds)) for digest, name, quota, seconds in rows}

    async def add(self, key: ApiKey, digest: bytes, beginning: str) -> None:
        """Store a new key. Raises ApiKeyNameTaken if a valid key has this name."""
        values = {"name": key.name, "digest": digest, "beginning": beginning}
        values |= structs.asdict(key.rate)
        with map_db_errors():
            async with self._pools.writer() as conn:
                try:
                    await conn.execute(sql.INSERT_KEY, values)
                except errors.UniqueViolation as error:
                    raise ApiKeyNameTaken(
                        f"there is already a key named {key.name}: revoke it first"
                    ) from error

    async def revoke(self, name: str) -> bool:
        """Revoke the key of this name; False if none is valid."""
        with map_db_errors():
            async with self._pools.writer() as conn:
                cursor = await conn.execute(sql.REVOKE_KEY, {"name": name})
                return cursor.rowcount > 0

    async def fetch_all(self) -> list[ApiKeyRow]:
        """All keys, revoked ones too, the oldest first."""
        return await fetch(self._pools.writer, class_row(ApiKeyRow), sql.SELECT_KEYS)
