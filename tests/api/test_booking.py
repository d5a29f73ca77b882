"""PUT /api/appointments/<id>: what is stored."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from tests.support.database import Sql, Tables
from tests.support.seed import ADA, ONE, SEED, TWO, appointments


def test_put_books_a_free_appointment(client: FlaskClient) -> None:
    response = client.put("/api/appointments/2", json={"interview": ADA})
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


def test_put_edits_a_booked_appointment(client: FlaskClient) -> None:
    response = client.put("/api/appointments/1", json={"interview": ADA})
    assert (response.status_code, response.data) == (204, b"")
    assert appointments(client) == {**SEED, "1": {**ONE, "interview": ADA}}


def test_an_edit_keeps_the_row(client: FlaskClient, stored_rows: Tables) -> None:
    before = stored_rows()
    client.put("/api/appointments/1", json={"interview": ADA})
    (row,) = before["interviews"]
    assert stored_rows() == {**before, "interviews": [(row[0], "Ada", 2, 1)]}


def test_the_same_put_twice_succeeds_twice(client: FlaskClient) -> None:
    for _ in range(2):
        assert client.put("/api/appointments/2", json={"interview": ADA}).status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


def test_the_last_write_wins(client: FlaskClient) -> None:
    bob = {"student": "Bob", "interviewer": 1}
    assert client.put("/api/appointments/2", json={"interview": ADA}).status_code == 204
    assert client.put("/api/appointments/2", json={"interview": bob}).status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": bob}}


def test_an_interviewer_who_is_not_available_may_be_booked(client: FlaskClient, sql: Sql) -> None:
    sql("DELETE FROM available_interviewers")
    assert client.put("/api/appointments/2", json={"interview": ADA}).status_code == 204


def test_extra_keys_at_both_levels_are_ignored(client: FlaskClient) -> None:
    body = {
        "id": 4,
        "time": "3pm",
        "day_id": None,
        "interview": {**ADA, "id": 77, "appointment_id": 4, "tags": [{"a": 1.5}]},
    }
    assert client.put("/api/appointments/2", json=body).status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param("9" * 5000, id="an integer of 5,000 digits"),
        pytest.param("-" + "9" * 5000, id="a negative one"),
        pytest.param("1e400", id="a number out of range"),
        pytest.param('"\\ud800"', id="a lone surrogate"),
        pytest.param('"\\u0000"', id="a NUL"),
        pytest.param("[" * 100 + "]" * 100, id="nested 100 deep"),
    ],
)
def test_a_strange_extra_key_is_ignored(client: FlaskClient, extra: str) -> None:
    body = f'{{"x":{extra},"interview":{{"student":"Ada","interviewer":2,"x":{extra}}}}}'
    response = client.put("/api/appointments/2", data=body, content_type="application/json")
    assert response.status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


@pytest.mark.parametrize("interviewer", ["2", "2.0", "2e0", "20e-1", '"2"', '"02"'])
def test_the_interviewer_is_stored_as_a_number(client: FlaskClient, interviewer: str) -> None:
    body = f'{{"interview":{{"student":"Ada","interviewer":{interviewer}}}}}'
    response = client.put("/api/appointments/2", data=body, content_type="application/json")
    assert response.status_code == 204
    listed = client.get("/api/appointments")
    assert listed.json == {**SEED, "2": {**TWO, "interview": ADA}}
    assert type(listed.json["2"]["interview"]["interviewer"]) is int


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "Application/JSON",
        "application/vnd.api+json",
        "application/merge-patch+json; charset=utf-8",
    ],
)
def test_every_json_content_type_is_accepted(client: FlaskClient, content_type: str) -> None:
    body = json.dumps({"interview": ADA})
    response = client.put("/api/appointments/2", data=body, content_type=content_type)
    assert response.status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "as UTF-8"])
@pytest.mark.parametrize(
    "student",
    [
        pytest.param("Zoë Åström", id="accents"),
        pytest.param("李小龍 Владимир نور", id="other scripts"),
        pytest.param("👩🏽‍🎓 Ada", id="emoji"),
        pytest.param("x" * 255, id="255 letters"),
        pytest.param("é" * 255, id="255 letters of two bytes"),
        pytest.param("🎓" * 255, id="255 letters of four bytes"),
        pytest.param("Robert'); DROP TABLE interviews;--", id="SQL"),
        pytest.param('%s %(student)s %% {0} \\ "', id="placeholders"),
        pytest.param("<b>&amp;</b>", id="HTML"),
        pytest.param("a\tb\nc\u2028d", id="control characters"),
    ],
)
def test_a_name_is_stored_as_sent(
    client: FlaskClient, sql: Sql, student: str, escaped: bool
) -> None:
    interview = {"student": student, "interviewer": 2}
    body = json.dumps({"interview": interview}, ensure_ascii=escaped).encode()
    response = client.put("/api/appointments/2", data=body, content_type="application/json")
    assert response.status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": interview}}
    assert sql("SELECT student FROM interviews WHERE appointment_id = 2") == [(student,)]
