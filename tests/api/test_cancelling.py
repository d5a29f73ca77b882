"""DELETE /api/appointments/<id>."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.support.database import Tables
from tests.support.seed import ADA, ONE, SEED, TWO, appointments


def test_delete_cancels_an_interview(client: FlaskClient) -> None:
    response = client.delete("/api/appointments/1")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert appointments(client) == {**SEED, "1": {**ONE, "interview": None}}


def test_delete_of_a_free_appointment_succeeds(client: FlaskClient, stored_rows: Tables) -> None:
    before = stored_rows()
    response = client.delete("/api/appointments/2")
    assert (response.status_code, response.data) == (204, b"")
    assert stored_rows() == before


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b'{"interview":{"student":"Ada","interviewer":2}}', "application/json"),
        pytest.param(b'{"id":4}', "application/json"),
        pytest.param(b"null", "application/json"),
        pytest.param(b"{\xff[[[", "application/json", id="not JSON"),
        pytest.param(b"[" * 50_000, "application/json", id="deep"),
        pytest.param(b"a=b", "application/x-www-form-urlencoded"),
        pytest.param(b"hello", "text/plain"),
        pytest.param(b"hello", None, id="no content type"),
        pytest.param(b"x" * 300_000, "application/json", id="large"),
    ],
)
def test_delete_ignores_a_body(client: FlaskClient, body: bytes, content_type: str | None) -> None:
    response = client.delete("/api/appointments/1", data=body, content_type=content_type)
    assert (response.status_code, response.data) == (204, b"")
    assert appointments(client) == {**SEED, "1": {**ONE, "interview": None}}


def test_a_cancelled_appointment_can_be_booked_again(client: FlaskClient) -> None:
    client.delete("/api/appointments/1")
    assert client.put("/api/appointments/1", json={"interview": ADA}).status_code == 204
    assert appointments(client) == {**SEED, "1": {**ONE, "interview": ADA}}


def test_a_trailing_slash_changes_nothing(client: FlaskClient) -> None:
    assert client.get("/api/appointments/").json == SEED
    assert client.put("/api/appointments/2/", json={"interview": ADA}).status_code == 204
    assert client.delete("/api/appointments/1/").status_code == 204
    now = {**SEED, "1": {**ONE, "interview": None}, "2": {**TWO, "interview": ADA}}
    response = client.get("/api/appointments/")
    assert (response.status_code, response.json) == (200, now)
