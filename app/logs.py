"""The log: one logfmt line an event, on stdout, without a time.

Heroku's log stream puts the time in front itself. Whatever a line quotes is
escaped, a traceback too, so that no request can break or forge a line.
"""

from __future__ import annotations

import logging
import logging.config
from typing import Any

from flask import has_request_context, request


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
        }
    },
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {
        "app": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        "gunicorn.error": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        # `app.envelope` logs each request, whatever the server.
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        "werkzeug": {"level": "WARNING", "handlers": ["stdout"], "propagate": False},
    },
}


def configure() -> None:
    """Send this process's log lines to stdout in the form above."""
    logging.config.dictConfig(LOGGING)
