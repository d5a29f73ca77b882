"""The application, with a subscriber that changes an interview while the listener compares."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.database.change_listener import Subscriber
from app.database.connection import DatabaseConnection
from tests.support.database import connected


class Meddler(Subscriber):
    """Changes the interviews twice between LISTEN and the broadcaster's comparison."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = 0

    def compare(self, connection: DatabaseConnection) -> int:
        self._turn += 1
        with connected(self._url) as run:
            for state in ("older", "newer"):
                run("UPDATE interviews SET student = %s", [f"{state} {self._turn}"])
        return 0


def create() -> Flask:
    """Create the application; gunicorn calls it by name."""
    app = create_app()
    app.extensions["change_listener"]._subscribers.insert(0, Meddler(app.config["DATABASE_URL"]))
    return app
