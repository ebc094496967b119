"""The service, which also prints its number of asyncio tasks on SIGUSR1."""

import asyncio
import signal
import sys

from service.cli import main


def print_tasks(*_: object) -> None:
    sys.stdout.write(f"tasks: {len(asyncio.all_tasks(asyncio.get_running_loop()))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, print_tasks)
    main()
