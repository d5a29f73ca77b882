"""The log: one logfmt line per event on stdout. Heroku adds the time.

Guarantees for every line, including tracebacks, whatever a client sends:

- Values are quoted and escaped. No value can end the line or add a field.
- A line has at most 4,096 bytes and is written at once. A pipe keeps such a write in
  one piece (PIPE_BUF in POSIX), so lines of different processes never mix. A longer
  line is cut and marked with `[...]`.
- Logging never blocks a worker for long. If the reader of a pipe stops, a worker waits
  once, for at most 0.1 seconds. It then drops lines until the pipe accepts one, and
  logs their number: `at=WARNING msg="log lines dropped" count=1234`. A reader that is
  merely slow loses none.

stdout stays in blocking mode, because other processes share it. A worker calls `poll`
before it writes: a writable pipe has at least PIPE_BUF free bytes. Several workers may
count on the same free bytes, but lines of the usual length fit in together.
"""

from __future__ import annotations

import logging
import logging.config
import os
import re
import select
from typing import Any

from flask import has_request_context, request
from logfmter import Logfmter

STDOUT = 1
MAX_LINE_BYTES = 4096
CUT = "[...]"
# Milliseconds that a worker waits for the reader of a full pipe.
FULL_PIPE_TIMEOUT = 100

# Maximum characters of values from clients. Only hostile requests exceed them.
MAX_METHOD = 32
MAX_TARGET = 1024
MAX_CLIENT = 64
MAX_REQUEST_ID = 128
# Characters kept of a long traceback. Its end names the error and the line.
TRACEBACK_START = 600
TRACEBACK_END = 2400

_is_plain = re.compile(r"[!#-<>-\[\]-~]+").fullmatch


class StandardOutput:
    """A stream for log handlers. It writes each line whole, or drops and counts it."""

    def __init__(self) -> None:
        # Created on import, before gevent replaces `select.poll` in a worker.
        self._poll = select.poll()
        self._poll.register(STDOUT, select.POLLOUT)
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write a line, which ends with a newline, in one system call. Never raises."""
        data = line.encode("utf-8", "backslashreplace")
        if len(data) > MAX_LINE_BYTES:
            data = _shorten(data)
        if self._dropped:
            notice = f'at=WARNING msg="log lines dropped" count={self._dropped}\n'
            if not self._write_within(0, notice.encode()):
                self._dropped += 1
                return
            self._dropped = 0
        if not self._write_within(FULL_PIPE_TIMEOUT, data):
            self._dropped += 1

    def flush(self) -> None:
        """Do nothing: `write` has no buffer."""

    def _write_within(self, milliseconds: int, data: bytes) -> bool:
        """Write as soon as stdout accepts data. Returns whether it did in time."""
        try:
            return bool(self._poll.poll(milliseconds)) and os.write(STDOUT, data) == len(data)
        except OSError:
            return False


class Formatter(Logfmter):
    """Formats logfmt, and escapes unprintable characters beyond ASCII too."""

    @classmethod
    def format_string(cls, value: str) -> str:
        """Return the value, quoted and escaped if necessary."""
        if _is_plain(value):
            return value
        quoted: str = super().format_string(value)
        if quoted.isprintable():
            return quoted
        return "".join(
            character if character.isprintable() else f"\\u{ord(character):04x}"
            for character in quoted
        )

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the name that logging calls
        """Return the traceback, a long one without its middle."""
        text: str = super().formatException(ei)
        if len(text) <= TRACEBACK_START + TRACEBACK_END:
            return text
        return f"{text[:TRACEBACK_START]}{CUT}{text[-TRACEBACK_END:]}"


class RequestIdFilter(logging.Filter):
    """Adds the current request's id to log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id. Returns True: every record is logged."""
        if has_request_context() and not hasattr(record, "request_id"):
            record.request_id = request.environ.get("HTTP_X_REQUEST_ID", "")
        return True


stdout = StandardOutput()

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": RequestIdFilter}},
    "formatters": {"logfmt": {"()": Formatter}},
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": stdout,
            "formatter": "logfmt",
            "filters": ["request_id"],
        },
        "plain": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {
        "app": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        "gunicorn.error": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        # Flask's development server keeps its own format.
        "werkzeug": {"level": "INFO", "handlers": ["plain"], "propagate": False},
    },
}


def client_address(forwarded_for: str | None, peer: str) -> str:
    """Return the last address in `X-Forwarded-For`, or else the connection's peer.

    Heroku's router appends the last address. A client can forge the others.
    """
    if not forwarded_for:
        return peer
    return forwarded_for[forwarded_for.rfind(",") + 1 :].strip() or peer


def write_request(
    *,
    method: str,
    target: str,
    status: int,
    length: int,
    seconds: float,
    client: str,
    request_id: str,
) -> None:
    """Log a request and its response. Never raises.

    `length` is the size of the response's body in bytes, `client` is the result of
    `client_address`. Bypasses `logging`, which takes ten times as long.
    """
    stdout.write(
        f"at=INFO msg=request method={_quote(method, MAX_METHOD)}"
        f" path={_quote(target, MAX_TARGET)} status={status} bytes={length}"
        f" ms={seconds * 1000:.1f} client={_quote(client, MAX_CLIENT)}"
        f" request_id={_quote(request_id, MAX_REQUEST_ID)}\n"
    )


def configure() -> None:
    """Configure `logging` in this process."""
    logging.config.dictConfig(LOGGING)


def _quote(value: str, max_length: int) -> str:
    if len(value) > max_length:
        value = value[:max_length] + CUT
    return value if _is_plain(value) else Formatter.format_string(value)


def _shorten(line: bytes) -> bytes:
    """Cut a line to the maximum length, and close the quoted value that was cut."""
    # Leaves room for the mark, a quotation mark and the newline. Drops an incomplete
    # character, and a backslash that would escape the quotation mark.
    start = line[: MAX_LINE_BYTES - len(CUT) - 8].decode(errors="ignore").rstrip("\\")
    if re.sub(r"\\.", "", start).count('"') % 2:
        return f'{start}{CUT}"\n'.encode()
    # After a field, or within a value that needs no quotes.
    separator = {" ": "cut=", '"': " cut="}.get(start[-1], "")
    return f"{start}{separator}{CUT}\n".encode()
