"""The searches of one process that wait for their turn: they need not all ask the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID


class Neighbours:
    """The searches of this process in the queue: one of them looks at the gate for all.

    It is the one with the first place. While one of them has the turn, none need look: its end is
    heard here.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._places: dict[UUID, int] = {}
        self._alarms: dict[UUID, asyncio.Event] = {}
        self._have_turn = False

    @contextmanager
    def joined(self, ticket: UUID) -> Iterator[None]:
        """Be one of them, and leave it to the next one to look."""
        self._alarms[ticket] = asyncio.Event()
        try:
            yield
        finally:
            del self._alarms[ticket]
            self._places.pop(ticket, None)
            self._wake()

    def take_turn(self) -> None:
        """One of them has it from now on."""
        self._have_turn = True

    def end_turn(self) -> None:
        """The next one looks."""
        self._have_turn = False
        self._wake()

    def looks(self, ticket: UUID) -> None:
        """What happens from now on must wake it again."""
        self._alarms[ticket].clear()

    async def sleep(self, ticket: UUID, place: int, pause: float, longest: float) -> None:
        """Wait for so long, or for an alarm; `longest` where there is no need to look."""
        self._places[ticket] = place
        looks_for_all = min(self._places.values()) == place and not self._have_turn
        with suppress(TimeoutError):
            async with asyncio.timeout(pause if looks_for_all else longest):
                await self._alarms[ticket].wait()

    def _wake(self) -> None:
        if self._places and not self._have_turn:
            first = min(self._places, key=self._places.__getitem__)
            self._alarms[first].set()
