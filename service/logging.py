"""Log lines: the NOTICE level, text or JSON, the request's id in each, never blocking a request."""

import logging
import os
import queue
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Literal

import msgspec

NOTICE = 25
"""Normal operation, one line a call: between INFO and WARNING."""
logging.addLevelName(NOTICE, "NOTICE")

BACKLOG = 10_000
"""Lines that may wait for a slow console; further ones are dropped and counted."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")
caller: ContextVar[str] = ContextVar("caller", default="")
"""The name of the API key that the request came with."""


@contextmanager
def started(level: str, style: Literal["text", "json"]) -> Iterator[None]:
    """Send the lines of all loggers, uvicorn's too, to standard output while the block runs."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(BACKLOG)
    handler = _Handler(lines)
    listener = _Listener(lines, _Json() if style == "json" else _Text(), _stdout())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "asyncio"):  # httpx logs whole URLs at INFO
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        listener.stop()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether it is not what the log of requests has said already, with the reason."""
    return record.msg != "ASGI callable returned without completing response."


class _Handler(QueueHandler):
    """Hands records over to the writing thread; drops them where a blocked console holds it up."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Finish the record in the context that made it."""
        record.request_id = request_id.get()
        if record.exc_info and not record.exc_text:
            record.exc_text = _encodable(logging.Formatter().formatException(record.exc_info))
        message = _encodable(record.getMessage())
        record.msg, record.args, record.exc_info = message, None, None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record into the queue if there is room."""
        try:
            if self.dropped:
                self.queue.put_nowait(_lost(self.dropped))
                self.dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


def _encodable(text: str) -> str:
    """The text with lone surrogates escaped: a file's name may hold them, UTF-8 may not."""
    return text.encode(errors="backslashreplace").decode()


def _lost(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": f"{count} lines were dropped: the log's reader is too slow",
        }
    )


class _Listener(QueueListener):
    """Writes the records. A console that blocks for good does not keep the process alive.

    The program's end takes the locks of handlers and of sys.stdout: this thread holds neither.
    """

    def __init__(
        self, lines: queue.Queue[logging.LogRecord], style: logging.Formatter, output: int
    ) -> None:
        """Take the lines to write, their format and the file descriptor they go to."""
        super().__init__(lines)
        self._style = style
        self._output = output

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record; where nobody can read it, it is lost."""
        line = f"{self._style.format(record)}\n".encode()
        with suppress(OSError):
            while line:
                line = line[os.write(self._output, line) :]

    def stop(self) -> None:
        """Write what is waiting, for two seconds at most."""
        if self._thread is None:
            return
        try:
            self.queue.put(self._sentinel, timeout=1)  # type: ignore[attr-defined]
        except queue.Full:
            return
        self._thread.join(timeout=2)
        self._thread = None


def _stdout() -> int:
    """The file descriptor of standard output; where it was closed, its number is not its own."""
    return sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Text(logging.Formatter):
    """2026-11-23T20:15:00.000Z NOTICE service.app [4f1c] GET /results 200 in 3 ms."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        name = record.__dict__.get("request_id", "-")
        line = f"{_moment(record)} {record.levelname} {record.name} [{name}] {message}"
        # indented, so that no exception's message can pass for a line of its own
        return f"{line}\n{textwrap.indent(record.exc_text, '  ')}" if record.exc_text else line


class _Json(logging.Formatter):
    """One JSON object a line, with the same parts."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": record.__dict__.get("request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        return msgspec.json.encode(line).decode()
