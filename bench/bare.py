"""What gunicorn alone can do: a WSGI application that returns constants.

It runs under the project's own gunicorn.conf.py, and has what the hooks there
expect of an application. `BARE_SIZES` names the paths and the bytes of each
answer: `/api/days=388 /api/interviewers=812`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Idle:
    """Stands for what the hooks start and stop."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class Bare:
    """The application."""

    def __init__(self, sizes: str) -> None:
        self.config = {"CORS_ORIGINS": frozenset({"*"})}
        self.extensions = {"changes": Idle(), "live": Idle()}
        self._bodies = {}
        for pair in sizes.split():
            path, _, size = pair.partition("=")
            self._bodies[path] = b"x" * int(size)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        body = self._bodies.get(environ["PATH_INFO"])
        if body is None:
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        start_response(
            "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        )
        return [body]


app = Bare(os.environ.get("BARE_SIZES", ""))
