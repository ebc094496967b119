"""The command line: `python -m demo` runs the stand-in, alone or together with the service.

With `--write-snapshot`, it writes the generated papers to a file instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from demo.arxiv import StandIn
from demo.papers import MAX_PAPERS, generate
from demo.snapshot import write_snapshot

PORT = 8001


def main(arguments: list[str] | None = None) -> None:
    """Run the stand-in until it is stopped or, with `--with-service`, until the service exits.

    With `--write-snapshot`, write the snapshot and return.
    """
    options = _parse_arguments(arguments)
    if options.write_snapshot:
        with options.write_snapshot.open("w", encoding="utf-8") as file:
            write_snapshot(generate(options.papers), file)
        return
    port = options.port if options.port is not None else (0 if options.with_service else PORT)
    with _listen(options.host, port) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        message = f"Stand-in for arXiv with {options.papers:,} generated papers at {url}/api/query"
        print(message, flush=True)  # noqa: T201 - a CLI
        if options.with_service:
            _run_with_service(listener, url, options)
        else:
            with suppress(KeyboardInterrupt):
                _create_server(options).run(sockets=[listener])


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Run a stand-in for arXiv that serves generated papers.",
    )
    parser.add_argument(
        "--host", type=_parse_loopback, default="127.0.0.1", help="loopback address to listen on"
    )
    parser.add_argument(
        "--port", type=int, help=f"default {PORT}; with --with-service any free port"
    )
    parser.add_argument(
        "--papers", type=_parse_paper_count, default=5000, help="number of generated papers"
    )
    parser.add_argument(
        "--min-interval",
        type=float,
        default=0,
        metavar="SECONDS",
        help="minimum time between requests; earlier requests are rejected with 429",
    )
    parser.add_argument(
        "--with-service", action="store_true", help="also run the service, on top of the stand-in"
    )
    parser.add_argument(
        "--write-snapshot",
        type=Path,
        metavar="FILE",
        help="write the papers in the form of the snapshot on Kaggle, and exit",
    )
    return parser.parse_args(arguments)


def _parse_loopback(address: str) -> str:
    """Check that the address is a loopback address, so that no other host mistakes it for arXiv."""
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        message = f"{address} is not a loopback address such as 127.0.0.1 or ::1"
        raise argparse.ArgumentTypeError(message)
    return address


def _parse_paper_count(text: str) -> int:
    if not (text.isdecimal() and int(text) <= MAX_PAPERS):
        message = f"{text} is not a number from 0 to {MAX_PAPERS}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    """Listen before anything else starts, so that early requests wait instead of failing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {host} port {port}: {error}")


def _create_server(options: argparse.Namespace) -> uvicorn.Server:
    stand_in = StandIn(generate(options.papers), min_interval=options.min_interval)
    return uvicorn.Server(
        uvicorn.Config(stand_in, lifespan="off", log_level="warning", access_log=False)
    )


def _run_with_service(listener: socket.socket, url: str, options: argparse.Namespace) -> None:
    """Replace this process by the service and run the stand-in in a child process.

    The service thus receives the signals and sets the exit status. The child exits when the service
    exits, even if the service is killed.
    """
    service_pid = os.getpid()
    if os.fork() == 0:
        _serve_until_exit(service_pid, listener, options)
    environment = {
        "ARXIV_INTERVAL": f"{options.min_interval:g}",
        "ARXIV_DATA_DIR": "./data/demo",  # keeps generated papers apart from real ones
        "ARXIV_SYNC": "daily",
        **os.environ,
        "ARXIV_API_URL": f"{url}/api/query",
        "ARXIV_OAI_URL": f"{url}/oai",
        "ARXIV_RSS_URL": url,
    }
    command = [sys.executable, "-m", "service", "serve"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell needed


def _serve_until_exit(
    service_pid: int, listener: socket.socket, options: argparse.Namespace
) -> None:
    # Ctrl-C reaches both processes, but the service may still send requests while it shuts down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = _create_server(options)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while os.getppid() == service_pid:
        time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
