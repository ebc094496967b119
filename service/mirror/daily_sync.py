"""The daily sync of the mirror, within the service."""

import logging
from collections.abc import Callable
from time import time

from .. import arxiv_schedule, metrics
from ..errors import ServiceError, SyncInProgress
from ..logging import NOTICE
from ..models.mirror import SyncState
from .daily_task import DailyTask
from .oai_client import OaiClient
from .sync import RenewLease, Selection, SyncResult, SyncStore, hold_lease, sync_with_lease

logger = logging.getLogger(__name__)

POLL_SECONDS = 60.0
"""Longest pause between two looks at the progress, which another process may change."""


class DailySync(DailyTask):
    """Syncs after each update of arXiv's OAI-PMH while its context is entered.

    All processes of all instances take part; one of them syncs at a time.
    """

    def __init__(
        self, store: SyncStore, client: OaiClient, clock: Callable[[], float] = time
    ) -> None:
        super().__init__(clock)
        self._store, self._client = store, client
        self._begun = clock()

    async def _look(self) -> float:
        """Sync if it is time; return the seconds until the next look."""
        try:
            if (pause := await self._fetch_pause()) > 0:
                return min(pause, POLL_SECONDS)
            async with hold_lease(self._store) as renew_lease:
                # another process may have synced, or failed, since
                if (pause := await self._fetch_pause()) > 0:
                    return min(pause, POLL_SECONDS)
                return await self._sync(renew_lease)
        except SyncInProgress:
            pass
        except ServiceError as error:
            logger.warning("cannot read when to sync with arXiv: %s", error.detail)
        except Exception:
            logger.exception("cannot read when to sync with arXiv")
        return POLL_SECONDS

    async def _fetch_pause(self) -> float:
        """Return the seconds until the next attempt to sync, of any process."""
        state = await self._store.fetch_sync("")
        show_metrics(state.synced_at, self._begun)
        seconds = self._compute_pause(state)
        if seconds > 0:  # the latest sync has not failed, even if it was another process's
            self._backoff.reset()
        return max(seconds, await self._store.fetch_sync_pause())

    def _compute_pause(self, state: SyncState) -> float:
        """Return the seconds until a sync is due; none if it was never complete."""
        if state.synced_at is None:
            return 0.0
        return arxiv_schedule.next_oai_update(state.synced_at) - self._clock()

    async def _sync(self, renew_lease: RenewLease) -> float:
        """Sync; return the seconds until the next look."""
        try:
            result = await sync_with_lease(
                self._store, self._client, Selection(), renew_lease, pause=self._avoid_rush
            )
        except SyncInProgress:
            raise
        except ServiceError as error:
            pause = max(self._backoff.next_pause(), error.retry_after or 0)
            logger.warning(
                "the sync with arXiv failed, next attempt in %d s: %s", pause, error.detail
            )
        except Exception:
            pause = self._backoff.next_pause()
            logger.exception("the sync with arXiv failed unexpectedly")
        else:
            if self._is_finished(result):
                return POLL_SECONDS
            # days are missing, or arXiv sent an old response
            pause = self._backoff.next_pause()
        return await self._delay_retry(renew_lease, pause)

    async def _delay_retry(self, renew_lease: RenewLease, pause: float) -> float:
        """Keep all processes from another attempt for so long; return the pause of this one.

        This is stored before the lease is released: otherwise another process could sync at once.
        """
        try:
            await renew_lease()
            await self._store.delay_sync(pause)
        except SyncInProgress:
            raise  # another process has continued
        except ServiceError:
            return pause  # the database is unavailable, so no process can sync
        except Exception:
            logger.exception("the next attempt to sync cannot be stored")
            return pause
        return min(pause, POLL_SECONDS)

    def _is_finished(self, result: SyncResult) -> bool:
        """Whether no other sync is due until arXiv's next update."""
        show_metrics(result.state.synced_at, self._begun)
        if self._compute_pause(result.state) <= 0:
            return False
        self._backoff.reset()
        logger.log(
            NOTICE,
            "the mirror is synced with arXiv: %d records, %d invalid",
            result.records,
            result.state.run_invalid,
        )
        return True


def show_metrics(synced_at: int | None, begun: float) -> None:
    """Set the metrics of the mirror's age. One that was never synced is due since `begun`."""
    due = arxiv_schedule.next_oai_update(synced_at) if synced_at else begun
    metrics.set_mirror_times(synced_at, due)
