"""The service, which also tells how many tasks there are whenever it gets SIGUSR1."""

import asyncio
import signal
import sys

from service.cli import main


def tell(*_: object) -> None:
    sys.stdout.write(f"tasks: {len(asyncio.all_tasks(asyncio.get_running_loop()))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    main()
