"""The log: one logfmt line an event, on stdout, without a time.

Heroku's log stream puts the time in front itself. Whatever a line quotes is
escaped, a traceback too, so that no request can break or forge a line.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import re
import sys
from typing import Any

from flask import has_request_context, request
from logfmter import Logfmter

_IS_PLAIN = re.compile(r"[!#-<>-\[\]-~]+").fullmatch


class RequestIdFilter(logging.Filter):
    """Puts the id of the request being answered on every line logged meanwhile."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record; lets every one pass."""
        if has_request_context() and not hasattr(record, "request_id"):
            record.request_id = request.environ.get("HTTP_X_REQUEST_ID", "")
        return True


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": RequestIdFilter}},
    "formatters": {"logfmt": {"()": "logfmter.Logfmter"}},
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
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
    """Write the line of a request."""
    line = (
        f"at=INFO msg=request method={_quoted(method)}"
        f" path={_quoted(target)} status={status} bytes={length}"
        f" ms={seconds * 1000:.1f} client={_quoted(client)}"
        f" request_id={_quoted(request_id)}\n"
    )
    with contextlib.suppress(OSError):
        # One write, or the lines of two processes mix.
        sys.stdout.write(line)
        sys.stdout.flush()


def _quoted(value: str) -> str:
    return value if _IS_PLAIN(value) else Logfmter.format_string(ascii(value)[1:-1])


def configure() -> None:
    """Send this process's log lines to stdout in the form above."""
    logging.config.dictConfig(LOGGING)
