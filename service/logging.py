"""Log lines: the NOTICE level, text or JSON, the request's id in each, never blocking a request."""

import logging
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from time import sleep
from typing import Literal

import msgspec

NOTICE = 25
"""Normal operation, one line a call: between INFO and WARNING."""
logging.addLevelName(NOTICE, "NOTICE")

BACKLOG = 10_000
"""Lines that may wait for a slow console; further ones are dropped and counted."""
AT_ONCE = 1000
"""Lines that are written together."""
PAUSE = 0.02
"""Seconds between two writes: requests are not to wait for the thread that writes."""

Lines = SimpleQueue[str | None]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
caller: ContextVar[str] = ContextVar("caller", default="")
"""The name of the API key that the request came with."""


@contextmanager
def started(level: str, style: Literal["text", "json"]) -> Iterator[None]:
    """Send the lines of all loggers, uvicorn's too, to standard output while the block runs."""
    lines: Lines = SimpleQueue()
    handler = _Handler(lines, _Json() if style == "json" else _Text())
    writer = _Writer(lines, _stdout())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # no line tells them, and looking them up is a third of what a record costs (logging HOWTO)
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for chatty in ("httpx", "httpcore", "asyncio"):  # httpx logs whole URLs at INFO
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        writer.stop()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether it is not what the log of requests has said already, with the reason."""
    return record.msg != "ASGI callable returned without completing response."


class _Handler(logging.Handler):
    """Makes lines, in the context of what they tell of; a console that blocks loses some."""

    dropped = 0

    def __init__(self, lines: Lines, style: logging.Formatter) -> None:
        """Put lines of this style there."""
        super().__init__()
        self.setFormatter(style)
        self.queue = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Put the record's line into the queue if there is room."""
        if self.queue.qsize() >= BACKLOG:
            self.dropped += 1
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - whatever a wrong call of the logger does
            self.handleError(record)
            return
        if self.dropped:
            # whoever comes next has nothing to do with them
            self.queue.put(Context().run(self.format, _lost(self.dropped)))
            self.dropped = 0
        self.queue.put(line)


def _lost(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": f"{count} lines were dropped: the log's reader is too slow",
        }
    )


class _Writer:
    """Writes lines in a thread. A console that blocks for good does not keep the process alive.

    The program's end takes the locks of handlers and of sys.stdout: this thread holds neither.
    """

    def __init__(self, lines: Lines, output: int) -> None:
        """Take the lines, which end with None, and the file descriptor that they go to."""
        self._lines = lines
        self._output = output
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, for two seconds at most."""
        self._lines.put(None)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            lines = [self._lines.get()]
            with suppress(Empty):
                while lines[-1] is not None and len(lines) < AT_ONCE:
                    lines.append(self._lines.get_nowait())
            text = "".join([f"{line}\n" for line in lines if line is not None])
            self._write(text.encode(errors="backslashreplace"))
            if lines[-1] is None:
                return
            # a clock that is set meanwhile may refuse: that of libfaketime does
            with suppress(OSError):
                sleep(PAUSE)

    def _write(self, text: bytes) -> None:
        """Write it all; where nobody can read it, it is lost."""
        with suppress(OSError):
            while text:
                text = text[os.write(self._output, text) :]


def _stdout() -> int:
    """The file descriptor of standard output; where it was closed, its number is not its own."""
    return sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)


def _moment(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Text(logging.Formatter):
    """2026-11-23T20:15:00.000Z NOTICE service.app [4f1c] GET /results 200 in 3 ms."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        name = request_id.get()
        line = f"{_moment(record)} {record.levelname} {record.name} [{name}] {message}"
        if not record.exc_info:
            return line
        # indented, so that no exception's message can pass for a line of its own
        return f"{line}\n{textwrap.indent(self.formatException(record.exc_info), '  ')}"


class _Json(logging.Formatter):
    """One JSON object a line, with the same parts."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": request_id.get(),
            "message": _encodable(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = _encodable(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def _encodable(text: str) -> str:
    """The text with lone surrogates escaped: a file's name may hold them, UTF-8 may not."""
    return text.encode(errors="backslashreplace").decode()
