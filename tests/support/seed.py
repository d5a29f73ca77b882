"""The test seed, as `GET /api/appointments` shows it."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
ADA = {"student": "Ada", "interviewer": 2}
ONE = {"id": 1, "time": "12pm", "interview": ARCHIE}
TWO = {"id": 2, "time": "1pm", "interview": None}
THREE = {"id": 3, "time": "12pm", "interview": None}
FOUR = {"id": 4, "time": "1pm", "interview": None}
SEED = {"1": ONE, "2": TWO, "3": THREE, "4": FOUR}


def appointments(client: FlaskClient) -> Any:
    return client.get("/api/appointments").json
