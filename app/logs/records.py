"""Log records as logfmt: the configuration of `logging` in every process."""

from __future__ import annotations

import json
import logging
import logging.config
import re
from typing import Any

from flask import has_request_context, request
from logfmter import Logfmter

from app.logs.stdout import CUT, stdout

# Characters kept of a long traceback. Its end names the error and the line.
TRACEBACK_START = 600
TRACEBACK_END = 2400

_needs_no_quotes = re.compile(r"[!#-<>-\[\]-~]+").fullmatch


class Formatter(Logfmter):
    """Formats records as logfmt. Escapes all unprintable characters, also outside ASCII."""

    @classmethod
    def format_string(cls, value: str) -> str:
        """Return the value, quoted and escaped if necessary."""
        if _needs_no_quotes(value):
            return value
        quoted: str = super().format_string(value)
        if quoted.isprintable():
            return quoted
        return "".join(
            character if character.isprintable() else json.dumps(character)[1:-1]
            for character in quoted
        )

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the name that logging calls
        """Return the traceback. The middle of a long one is left out."""
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
        "unformatted": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {
        "app": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        "gunicorn.error": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        # Flask's development server keeps its own format.
        "werkzeug": {"level": "INFO", "handlers": ["unformatted"], "propagate": False},
    },
}


def configure() -> None:
    """Configure `logging` in this process."""
    logging.config.dictConfig(LOGGING)
