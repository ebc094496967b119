"""The command line: `python -m demo` runs the stand-in, alone or in front of the service."""

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

import uvicorn

from demo.arxiv import StandIn
from demo.papers import MOST, generate

PORT = 8001


def main(arguments: list[str] | None = None) -> None:
    """Run the stand-in until it is stopped, or until the service it was started for ends."""
    options = _options(arguments)
    port = options.port if options.port is not None else (0 if options.with_service else PORT)
    with _listen(options.host, port) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/api/query"
        kind = f"{options.papers:,} generated papers"
        print(f"The stand-in for arXiv answers at {url} ({kind}).", flush=True)  # noqa: T201 - a CLI
        if options.with_service:
            _run_with_service(listener, url, options)
        else:
            with suppress(KeyboardInterrupt):
                _server(options).run(sockets=[listener])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description="A stand-in for arXiv.")
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, help=f"default {PORT}; any free one with the service")
    parser.add_argument("--papers", type=_papers, default=5000, help="how many to generate")
    parser.add_argument(
        "--min-interval", type=float, default=0, metavar="SECONDS", help="answer 429 to the hasty"
    )
    parser.add_argument(
        "--with-service", action="store_true", help="run the service on top of the stand-in"
    )
    return parser.parse_args(arguments)


def _loopback(address: str) -> str:
    """Refuse every other address: nobody else should take this for arXiv."""
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        message = f"{address} is not a loopback address such as 127.0.0.1 or ::1"
        raise argparse.ArgumentTypeError(message)
    return address


def _papers(text: str) -> int:
    if not (text.isdecimal() and int(text) <= MOST):
        message = f"{text} is not a number from 0 to {MOST}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything starts, so that early requests wait instead of failing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        sys.exit(f"The stand-in cannot listen on {host} port {port}: {error}")


def _server(options: argparse.Namespace) -> uvicorn.Server:
    stand_in = StandIn(generate(options.papers), min_interval=options.min_interval)
    return uvicorn.Server(
        uvicorn.Config(stand_in, lifespan="off", log_level="warning", access_log=False)
    )


def _run_with_service(listener: socket.socket, url: str, options: argparse.Namespace) -> None:
    """Become the service, with the stand-in in a child that ends when the service does.

    Signals and the exit code are then the service's own, and no way of ending it, a kill
    included, leaves a process behind.
    """
    service = os.getpid()
    if os.fork() == 0:
        _serve_while_alive(service, listener, options)
    environment = {
        "ARXIV_INTERVAL": f"{options.min_interval:g}",
        "ARXIV_DATA_DIR": "./data/demo",  # made-up papers stay by themselves
        **os.environ,
        "ARXIV_API_URL": url,
    }
    command = [sys.executable, "-m", "service", "serve"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell, on purpose


def _serve_while_alive(service: int, listener: socket.socket, options: argparse.Namespace) -> None:
    # Ctrl-C reaches both; the service may still need answers while it shuts down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = _server(options)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while os.getppid() == service:
        time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
