"""The searches of one process that wait for their turn: they need not all ask the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID


class Neighbours:
    """The searches of this process in the queue: one of them looks at the gate for all.

    It is the one with the first place. While one of them has the turn, none need look: its end is
    heard here. All times are of the event loop's clock.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._places: dict[UUID, int] = {}
        self._alarms: dict[UUID, asyncio.Event] = {}
        self._turn_ends = 0.0
        """When the turn that one of them has ends at the latest."""

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

    @property
    def wait(self) -> bool:
        """Whether one of them is to be woken by the end of a turn."""
        return bool(self._places)

    def leave(self, ticket: UUID) -> None:
        """Count on it no more: what is told it now, it may not pass on."""
        self._places.pop(ticket, None)

    def take_turn(self, ends: float) -> None:
        """One of them has it from now on, until that moment at the latest."""
        self._turn_ends = ends

    def end_turn(self) -> None:
        """The next one looks."""
        self._turn_ends = 0.0
        self._wake()

    def looks(self, ticket: UUID) -> None:
        """What happens from now on must wake it again."""
        self._alarms[ticket].clear()

    async def sleep(self, ticket: UUID, place: int, pause: float, longest: float) -> None:
        """Wait for so long, or for an alarm; `longest` where there is no need to look."""
        is_behind = place > self._places.get(ticket, place)
        self._places[ticket] = place
        if is_behind:  # its place had expired: another is the first
            self._wake()
        if ticket == self._first():
            pause = max(pause, min(longest, self._turn_ends - _now()))
        else:
            pause = longest
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._alarms[ticket].wait()

    def _first(self) -> UUID:
        return min(self._places, key=self._places.__getitem__)

    def _wake(self) -> None:
        if self._places and self._turn_ends <= _now():
            self._alarms[self._first()].set()


def _now() -> float:
    return asyncio.get_running_loop().time()
