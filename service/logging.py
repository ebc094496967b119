"""Log records: the level NOTICE, text and JSON lines, the request ID in each line.

Requests never wait for the console. Each line is formatted where it is logged, which is where its
request ID is known, and put into a queue; a thread writes it.
"""

import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Literal

import msgspec

from .escaping import escape_hidden, escape_hidden_in_json

NOTICE = 25  # normal operation, one line per request: between INFO and WARNING
logging.addLevelName(NOTICE, "NOTICE")

MAX_QUEUED_LINES = 10_000
"""If the console is slower than that, further lines are dropped and counted."""
WRITE_INTERVAL = 0.02  # seconds between two writes
MAX_WRITE_BYTES = 4096  # of several lines: processes that share a pipe must not mix their lines
STOP_TIMEOUT = 2.0  # how many seconds the end of the process waits for the console

request_id: ContextVar[str] = ContextVar("request_id", default="-")
key_name: ContextVar[str] = ContextVar("key_name", default="")
"""The name of the API key of the request."""
error_was_logged: ContextVar[bool] = ContextVar("error_was_logged", default=False)
"""Whether the service has logged why this request failed; uvicorn then logs nothing more."""


@contextmanager
def start_logging(level: str, style: Literal["text", "json"]) -> Iterator[None]:
    """Write the lines of all loggers, including uvicorn's, to standard output."""
    # if standard output is closed, its number can be in other use
    console = sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)
    handler = _LineQueueHandler(SimpleQueue())
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    listener = _LineWriter(handler.queue, console)
    # no format contains them
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _limit_library_loggers(root.level)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        # in a thread, since `stop` waits until all lines are written
        stopping = Thread(target=listener.stop, daemon=True)
        stopping.start()
        stopping.join(STOP_TIMEOUT)


def _limit_library_loggers(level: int) -> None:
    for name in ("httpx", "httpcore", "asyncio"):  # httpx logs whole URLs at INFO
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
    logging.getLogger("uvicorn.error").addFilter(lambda _: not error_was_logged.get())


class _LineQueueHandler(logging.handlers.QueueHandler):
    """Queues formatted lines; drops them if the queue is full, and reports their number later.

    The queue itself is unbounded, so that the listener's sentinel always fits.
    """

    queue: SimpleQueue[str | None]
    dropped = 0

    def prepare(self, record: logging.LogRecord) -> str:
        return self.format(record)

    def enqueue(self, line: str) -> None:  # type: ignore[override]
        if self.queue.qsize() >= MAX_QUEUED_LINES:
            self.dropped += 1
            return
        if self.dropped:
            text = f"{self.dropped} lines were dropped: the console is too slow"
            report = logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None)
            # in an empty context: the dropped lines do not belong to the current request
            self.queue.put(Context().run(self.prepare, report))
            self.dropped = 0
        self.queue.put(line)


class _LineWriter(logging.handlers.QueueListener):
    """Writes lines to a file descriptor, without the locks of sys.stdout.

    The thread competes with the event loop for the interpreter, so it writes the lines of a short
    time together. A console that blocks forever does not keep the process alive: at exit, Python
    acquires the locks of all handlers and of sys.stdout.
    """

    queue: SimpleQueue[str | None]

    def __init__(self, queue: "SimpleQueue[str | None]", file_descriptor: int) -> None:
        super().__init__(queue)
        self._file_descriptor = file_descriptor

    def handle(self, line: str) -> None:  # type: ignore[override]
        with suppress(OSError):  # libfaketime can interrupt it
            sleep(WRITE_INTERVAL)
        block = self._encode(line)
        while not self.queue.empty():
            if (following := self.queue.get_nowait()) is None:  # the sentinel: write, then stop
                self.queue.put(None)
                break
            data = self._encode(following)
            if len(block) + len(data) > MAX_WRITE_BYTES:
                self._write(block)
                block = b""
            block += data
        self._write(block)

    @staticmethod
    def _encode(line: str) -> bytes:
        return f"{line}\n".encode(errors="backslashreplace")

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # the console is closed
            while data:
                data = data[os.write(self._file_descriptor, data) :]


class MessageFormatter(logging.Formatter):
    """The message, for a person. Texts of clients and of arXiv cannot imitate other lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; those of a traceback follow, indented."""
        text = escape_hidden(record.getMessage())
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            text += "".join(f"\n  {escape_hidden(line)}" for line in lines)
        return text


class _TextFormatter(MessageFormatter):
    """2026-11-23T20:15:00.000Z NOTICE service.app [4f1c] GET /results 200 in 3 ms."""

    def format(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname} {record.name} [{request_id.get()}]"
        return f"{_format_time(record)} {name} {super().format(record)}"


class _JsonFormatter(logging.Formatter):
    """One JSON object per line with the same parts."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _format_time(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": request_id.get(),
            "message": _escape_surrogates(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = _escape_surrogates(self.formatException(record.exc_info))
        return escape_hidden_in_json(msgspec.json.encode(line).decode())


def _format_time(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
    return f"{time.isoformat(timespec='milliseconds')}Z"


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates: file names can contain them, UTF-8 cannot."""
    return text.encode(errors="backslashreplace").decode()
