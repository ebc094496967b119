"""A TCP proxy in front of PostgreSQL that counts round trips, cuts and stalls connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Counts the traffic and controls the following bytes."""

    def __init__(self, database: str) -> None:
        self._target = conninfo_to_dict(database)
        self._writers: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        """While cleared, bytes are held back, as by a network failure."""
        self.open.set()
        self.trips = 0
        """Round trips: how often the client sent data after the server."""
        self.answers = 0
        """How often the server sent ReadyForQuery."""
        self.cut_after: int | None = None
        """Cut all connections after this number of bytes from the client."""
        self.cut_before_answer = False
        """Cut the connection instead of forwarding the server's next bytes."""
        self._server_spoke = True

    def reset(self) -> None:
        """Reset the counters."""
        self.trips = self.answers = 0
        self._server_spoke = True

    def cut(self) -> None:
        """Abort all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection to the server's socket."""
        path = f"{self._target['host']}/.s.PGSQL.{self._target['port']}"
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        self._writers += [writer, server_writer]
        with suppress(ConnectionError):
            await asyncio.gather(
                self._forward_requests(reader, server_writer),
                self._forward_responses(server_reader, writer),
            )

    async def _forward_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
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

    async def _forward_responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(2**16):
            if self.cut_before_answer:
                self.cut_before_answer = False
                self.cut()
                return
            self._server_spoke = True
            # ReadyForQuery: type, length (5) and transaction status
            self.answers += sum(data.count(b"Z\0\0\0\5" + state) for state in (b"I", b"T", b"E"))
            await self.open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(database: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy in front of a database; the proxy and its connection string."""
    proxy = Proxy(database)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, make_conninfo(database, host="127.0.0.1", port=port)
    finally:
        proxy.open.set()
        server.close()
        proxy.cut()
