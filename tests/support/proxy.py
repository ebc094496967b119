"""A TCP proxy in front of PostgreSQL that counts, cuts and stalls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """What went over the wire, and what shall become of the next bytes."""

    def __init__(self, database: str) -> None:
        self._target = conninfo_to_dict(database)
        self._writers: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        """Cleared: bytes wait, as behind a network that is gone."""
        self.open.set()
        self.trips = 0
        """How often the client spoke after the server had."""
        self.answers = 0
        """How many times the server said that it is ready for the next query."""
        self.cut_after: int | None = None
        """Cut every connection once so many bytes more have come from the client."""
        self.cut_before_answer = False
        """Cut the connection instead of passing the server's next words on."""
        self._server_spoke = True

    def forget(self) -> None:
        """Count from zero."""
        self.trips = self.answers = 0
        self._server_spoke = True

    def cut(self) -> None:
        """End all connections at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the server's socket and back."""
        path = f"{self._target['host']}/.s.PGSQL.{self._target['port']}"
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        self._writers += [writer, server_writer]
        with suppress(ConnectionError):
            await asyncio.gather(
                self._there(reader, server_writer), self._back(server_reader, writer)
            )

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if self._server_spoke:
                self._server_spoke = False
                self.trips += 1
            if self.cut_after is not None:
                self.cut_after -= len(data)
                if self.cut_after < 0:
                    writer.write(data[: self.cut_after])
                    self.cut_after = None
                    self.cut()
                    return
            await self.open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if self.cut_before_answer:
                self.cut_before_answer = False
                self.cut()
                return
            self._server_spoke = True
            # ReadyForQuery: its type, its length (5), and the state of the transaction
            self.answers += sum(data.count(b"Z\0\0\0\5" + state) for state in (b"I", b"T", b"E"))
            await self.open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(database: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a database, and the connection string that leads through it."""
    proxy = Proxy(database)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, make_conninfo(database, host="127.0.0.1", port=port)
    finally:
        proxy.open.set()
        server.close()
        proxy.cut()
