"""The application, with interviews that change while the change listener compares."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.database import interviews
from app.database.connection import DatabaseConnection
from tests.support.database import connected


def create() -> Flask:
    """Create the application; gunicorn calls it by name.

    Its interviews change twice between LISTEN and each comparison.
    """
    app = create_app()
    fetch = interviews.fetch
    turn = 0

    def change_and_fetch(connection: DatabaseConnection) -> interviews.Interviews:
        nonlocal turn
        turn += 1
        with connected(app.config["DATABASE_URL"]) as run:
            for state in ("older", "newer"):
                run("UPDATE interviews SET student = %s", [f"{state} {turn}"])
        return fetch(connection)

    interviews.fetch = change_and_fetch
    return app
