"""Write the server's log: one JSON object a line, so that no text of a caller can begin a line, colour a terminal or run on for pages."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import queue
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # of the call that is being served
MAX_MESSAGE = 2_000  # characters; what is longer was written by a caller
MAX_TRACEBACK = 8_000  # characters, the last ones
MAX_WAITING = (
    10_000  # lines that wait for a slow reader of the log; what is more is lost, so that no caller waits for it
)
_FIELDS = ("time", "level", "logger", "message", "request_id", "traceback")


class JsonLine(logging.Formatter):
    """Formats a record as a JSON object in ASCII: `time` (UTC, ISO 8601), `level`, `logger`, `message`, `request_id` within a call,
    `traceback` of an exception, and what `extra={"fields": {...}}` gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:MAX_MESSAGE],
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))[-MAX_TRACEBACK:]
        own = {name: value for name, value in getattr(record, "fields", {}).items() if name not in _FIELDS}
        return json.dumps(line | own, default=str)


class _Lines(QueueHandler):
    """Hands lines to the thread that writes them, and drops what it cannot take at once."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return logging.makeLogRecord({"levelno": record.levelno, "msg": self.format(record)})

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def set_up(*, access: bool, stream: TextIO | None = None) -> None:
    """Send everything that this process logs to one stream, as lines of JSON, from a thread of its own.

    Args:
        access: whether each call makes a line, under `opensoc.access`.
        stream: None is the standard error.
    """
    logging.raiseExceptions = False  # a full disk under the log is no reason to write more
    lines = _Lines(queue.Queue(MAX_WAITING))
    lines.setFormatter(JsonLine())
    listener = QueueListener(lines.queue, logging.StreamHandler(stream or sys.stderr))
    listener.start()
    atexit.register(listener.stop)
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # a command line of uvicorn gave them handlers
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("opensoc.grades").setLevel(logging.INFO)
    logging.getLogger("opensoc.access").setLevel(logging.INFO if access else logging.WARNING)
    logging.captureWarnings(True)
