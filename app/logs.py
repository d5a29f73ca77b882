"""The log: one logfmt line per event, on stdout, without a time.

Heroku's log stream adds the time. What holds for every line, a traceback included,
whatever a client sends:

- Its values are quoted and escaped. No value can end the line or add a field to it.
- It has at most 4,096 bytes and leaves in one write. A pipe keeps such a write whole
  (PIPE_BUF in POSIX), so lines of two processes never mix, and no line begins with a
  client's text. A longer line is cut; `[...]` marks the place.
- It never holds a worker up for long. If stdout is a pipe and its reader stops, a
  worker waits once, for at most 0.1 seconds. From then on it drops lines without
  waiting, until the pipe accepts one again. The first line after that says how many
  are missing: `at=WARNING msg="log lines dropped" count=1234`. A reader that is only
  slow loses nothing.

stdout stays in blocking mode, because other processes share it. A worker asks `poll`
before it writes: a writable pipe has at least PIPE_BUF bytes free. Several workers
may see the same free bytes, but lines of the usual length fit into them together.
"""

from __future__ import annotations

import logging
import logging.config
import os
import re
import select
from types import TracebackType
from typing import Any

from flask import has_request_context, request
from logfmter import Logfmter

STDOUT = 1
MAX_LINE_BYTES = 4096
CUT = "[...]"
# Milliseconds that a worker waits for the reader of a full pipe.
FULL_PIPE_TIMEOUT = 100

# Characters of what a client sends. Only hostile requests have more.
MAX_METHOD = 32
MAX_TARGET = 1024
MAX_CLIENT = 64
MAX_REQUEST_ID = 128
# Characters at both ends of a traceback. Its end says what happened, and where.
TRACEBACK_START = 600
TRACEBACK_END = 2400

_is_plain = re.compile(r"[!#-<>-\[\]-~]+").fullmatch


class StandardOutput:
    """The stream of every log handler: writes each line whole, or drops and counts it."""

    def __init__(self) -> None:
        # The real one: gevent replaces `select.poll` when a worker starts.
        self._poll = select.poll()
        self._poll.register(STDOUT, select.POLLOUT)
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write a line that ends with a newline, in one write. Raises nothing."""
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
        """Do nothing: `write` keeps nothing back. `logging` calls this after each line."""

    def _write_within(self, milliseconds: int, data: bytes) -> bool:
        """Write as soon as stdout accepts it; give whether it did in time."""
        try:
            return bool(self._poll.poll(milliseconds)) and os.write(STDOUT, data) == len(data)
        except OSError:
            return False


class Formatter(Logfmter):
    """logfmt in which also the unprintable characters beyond ASCII are escaped."""

    @classmethod
    def format_string(cls, value: str) -> str:
        """Quote and escape a value if it needs that."""
        if _is_plain(value):
            return value
        quoted: str = super().format_string(value)
        if quoted.isprintable():
            return quoted
        return "".join(
            character if character.isprintable() else f"\\u{ord(character):04x}"
            for character in quoted
        )

    def formatException(  # noqa: N802 -- the name that logging calls
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Give a traceback without its middle if it is long."""
        text: str = super().formatException(ei)
        if len(text) <= TRACEBACK_START + TRACEBACK_END:
            return text
        return f"{text[:TRACEBACK_START]}{CUT}{text[-TRACEBACK_END:]}"


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to every line logged while it is handled."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record; lets every one pass."""
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
        # `flask run` has lines of its own, for people.
        "werkzeug": {"level": "INFO", "handlers": ["plain"], "propagate": False},
    },
}


def client_address(forwarded_for: str | None, peer: str) -> str:
    """Give the client's address, from `X-Forwarded-For` and the connection's other end.

    The rightmost entry of `X-Forwarded-For` is the one that Heroku's router adds; the
    others are whatever the client sent.
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
    """Write the line for a request that got its response.

    Takes the request's method and target, the response's status and the length of its
    body in bytes, the seconds it took, the client's address (`client_address`) and the
    request's id. Raises nothing. Bypasses `logging`, which takes ten times as long.
    """
    stdout.write(
        f"at=INFO msg=request method={_quote(method, MAX_METHOD)}"
        f" path={_quote(target, MAX_TARGET)} status={status} bytes={length}"
        f" ms={seconds * 1000:.1f} client={_quote(client, MAX_CLIENT)}"
        f" request_id={_quote(request_id, MAX_REQUEST_ID)}\n"
    )


def configure() -> None:
    """Send this process's log lines to stdout in the form above."""
    logging.config.dictConfig(LOGGING)


def _quote(value: str, max_length: int) -> str:
    if len(value) > max_length:
        value = value[:max_length] + CUT
    return value if _is_plain(value) else Formatter.format_string(value)


def _shorten(line: bytes) -> bytes:
    """Cut a line to its maximum; closes the quoted value in which that happens."""
    # Room for the mark, a quotation mark and the newline. Part of a character is dropped,
    # and so is a backslash that would escape the quotation mark.
    start = line[: MAX_LINE_BYTES - len(CUT) - 2].decode(errors="ignore").rstrip("\\")
    is_quoted = re.sub(r"\\.", "", start).count('"') % 2
    end = '"' * is_quoted
    return f"{start}{CUT}{end}\n".encode()
