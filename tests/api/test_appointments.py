"""/api/appointments: the slots, booking, editing and cancelling, and what is refused."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from tests.support.database import reseed
from tests.support.server import Server
from tests.support.waiting import wait_for

Sql = Callable[..., list[tuple[Any, ...]]]
Tables = Callable[[], dict[str, list[tuple[Any, ...]]]]

ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
ADA = {"student": "Ada", "interviewer": 2}
ONE = {"id": 1, "time": "12pm", "interview": ARCHIE}
TWO = {"id": 2, "time": "1pm", "interview": None}
THREE = {"id": 3, "time": "12pm", "interview": None}
FOUR = {"id": 4, "time": "1pm", "interview": None}
SEED = {"1": ONE, "2": TWO, "3": THREE, "4": FOUR}


@pytest.fixture(scope="module")
def application(database_url: str) -> Iterator[Flask]:
    """One application for all tests of this module."""
    app = create_app({"DATABASE_URL": database_url, "APP_ENV": "test"})
    yield app
    app.extensions["changes"].stop()


@pytest.fixture
def app(application: Flask) -> Flask:
    """That application, on a freshly seeded database."""
    reseed(application)
    return application


@pytest.fixture
def tables(sql: Sql) -> Tables:
    """Gives all rows of all tables."""
    names = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]
    return lambda: {name: sql(f"SELECT * FROM {name} ORDER BY id") for name in names}


def slots(client: FlaskClient) -> Any:
    return client.get("/api/appointments").json


# Reading


def test_lists_the_slots_of_the_test_seed(client: FlaskClient) -> None:
    response = client.get("/api/appointments")
    assert (response.status_code, response.json) == (200, SEED)
    assert response.content_type == "application/json"


def test_keys_ascend_as_numbers_not_as_text(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO appointments (id, time, day_id) VALUES (100, 'a', 1), (10, 'b', 1)")
    sql("INSERT INTO appointments (id, time, day_id) VALUES (9, 'c', 2)")
    assert list(slots(client)) == ["1", "2", "3", "4", "9", "10", "100"]


def test_an_interview_without_interviewer_from_an_old_database_passes_through(
    client: FlaskClient, sql: Sql
) -> None:
    sql("INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Old', NULL, 2)")
    old = {"student": "Old", "interviewer": None}
    assert slots(client) == {**SEED, "2": {**TWO, "interview": old}}


def test_a_slot_of_no_day_is_listed(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO appointments (id, time) VALUES (5, '9am')")
    assert slots(client) == {**SEED, "5": {"id": 5, "time": "9am", "interview": None}}


def test_no_slots_are_an_empty_object(client: FlaskClient, sql: Sql) -> None:
    sql("DELETE FROM days")
    response = client.get("/api/appointments")
    assert (response.status_code, response.data) == (200, b"{}")


# Booking and editing


def test_put_books_a_free_slot(client: FlaskClient) -> None:
    response = client.put("/api/appointments/2", json={"interview": ADA})
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


def test_put_edits_a_booked_slot(client: FlaskClient) -> None:
    response = client.put("/api/appointments/1", json={"interview": ADA})
    assert (response.status_code, response.data) == (204, b"")
    assert slots(client) == {**SEED, "1": {**ONE, "interview": ADA}}


def test_an_edit_keeps_the_row(client: FlaskClient, tables: Tables) -> None:
    before = tables()
    client.put("/api/appointments/1", json={"interview": ADA})
    (row,) = before["interviews"]
    assert tables() == {**before, "interviews": [(row[0], "Ada", 2, 1)]}


def test_the_same_put_twice_is_answered_twice(client: FlaskClient) -> None:
    for _ in range(2):
        assert client.put("/api/appointments/2", json={"interview": ADA}).status_code == 204
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


def test_the_last_write_wins(client: FlaskClient) -> None:
    bob = {"student": "Bob", "interviewer": 1}
    assert client.put("/api/appointments/2", json={"interview": ADA}).status_code == 204
    assert client.put("/api/appointments/2", json={"interview": bob}).status_code == 204
    assert slots(client) == {**SEED, "2": {**TWO, "interview": bob}}


def test_any_interviewer_may_be_booked_not_only_an_available_one(
    client: FlaskClient, sql: Sql
) -> None:
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
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


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
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


@pytest.mark.parametrize("interviewer", ["2", "2.0", "2e0", "20e-1", '"2"', '"02"'])
def test_the_interviewer_is_stored_as_a_number(client: FlaskClient, interviewer: str) -> None:
    body = f'{{"interview":{{"student":"Ada","interviewer":{interviewer}}}}}'
    response = client.put("/api/appointments/2", data=body, content_type="application/json")
    assert response.status_code == 204
    answer = client.get("/api/appointments")
    assert answer.json == {**SEED, "2": {**TWO, "interview": ADA}}
    assert type(answer.json["2"]["interview"]["interviewer"]) is int


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
def test_every_json_content_type_is_taken(client: FlaskClient, content_type: str) -> None:
    body = json.dumps({"interview": ADA})
    response = client.put("/api/appointments/2", data=body, content_type=content_type)
    assert response.status_code == 204
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


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
def test_a_name_is_stored_as_it_was_sent(
    client: FlaskClient, sql: Sql, student: str, escaped: bool
) -> None:
    interview = {"student": student, "interviewer": 2}
    body = json.dumps({"interview": interview}, ensure_ascii=escaped).encode()
    response = client.put("/api/appointments/2", data=body, content_type="application/json")
    assert response.status_code == 204
    assert slots(client) == {**SEED, "2": {**TWO, "interview": interview}}
    assert sql("SELECT student FROM interviews WHERE appointment_id = 2") == [(student,)]


def test_a_body_of_exactly_100_kb_is_taken(client: FlaskClient) -> None:
    response = client.put("/api/appointments/2", data=of_bytes(102_400), content_type=JSON)
    assert response.status_code == 204
    assert slots(client) == {**SEED, "2": {**TWO, "interview": ADA}}


# Cancelling


def test_delete_cancels_an_interview(client: FlaskClient) -> None:
    response = client.delete("/api/appointments/1")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert slots(client) == {**SEED, "1": {**ONE, "interview": None}}


def test_delete_of_a_free_slot_is_fine_too(client: FlaskClient, tables: Tables) -> None:
    before = tables()
    response = client.delete("/api/appointments/2")
    assert (response.status_code, response.data) == (204, b"")
    assert tables() == before


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
    assert slots(client) == {**SEED, "1": {**ONE, "interview": None}}


def test_a_cancelled_slot_can_be_booked_again(client: FlaskClient) -> None:
    client.delete("/api/appointments/1")
    assert client.put("/api/appointments/1", json={"interview": ADA}).status_code == 204
    assert slots(client) == {**SEED, "1": {**ONE, "interview": ADA}}


def test_a_trailing_slash_changes_nothing(client: FlaskClient) -> None:
    assert client.get("/api/appointments/").json == SEED
    assert client.put("/api/appointments/2/", json={"interview": ADA}).status_code == 204
    assert client.delete("/api/appointments/1/").status_code == 204
    now = {**SEED, "1": {**ONE, "interview": None}, "2": {**TWO, "interview": ADA}}
    response = client.get("/api/appointments/")
    assert (response.status_code, response.json) == (200, now)


# Conditional writes. Slot 1 is booked, slot 2 is free.

ANY = {"If-Match": "*"}
NONE = {"If-None-Match": "*"}


@pytest.mark.parametrize(
    ("method", "slot", "headers", "status"),
    [
        ("PUT", 2, NONE, 204),
        ("PUT", 1, NONE, 412),
        ("PUT", 1, ANY, 204),
        ("PUT", 2, ANY, 412),
        ("PUT", 1, {**ANY, **NONE}, 412),
        ("PUT", 2, {**ANY, **NONE}, 412),
        ("PUT", 1, {"If-Match": '"a"'}, 412),
        ("PUT", 2, {"If-Match": '"a", W/"b"'}, 412),
        ("PUT", 1, {"If-None-Match": '"a", W/"b"'}, 204),
        ("PUT", 2, {"If-None-Match": '"a"'}, 204),
        ("PUT", 1, {**ANY, "If-None-Match": '"a"'}, 204),
        ("PUT", 2, {**NONE, "If-Match": '"a"'}, 412),
        ("DELETE", 1, ANY, 204),
        ("DELETE", 2, ANY, 412),
        ("DELETE", 2, NONE, 204),
        ("DELETE", 1, NONE, 412),
        ("DELETE", 1, {**ANY, **NONE}, 412),
        ("DELETE", 2, {**ANY, **NONE}, 412),
        ("DELETE", 1, {"If-Match": '"a"'}, 412),
        ("DELETE", 1, {"If-None-Match": '"a"'}, 204),
    ],
)
def test_a_write_may_ask_for_a_free_or_a_booked_slot(
    client: FlaskClient, method: str, slot: int, headers: dict[str, str], status: int
) -> None:
    body = {"interview": ADA} if method == "PUT" else None
    response = client.open(f"/api/appointments/{slot}", method=method, json=body, headers=headers)
    assert response.status_code == status
    if status == 412:
        assert_problem(response.headers, response.data, 412)
        assert slots(client) == SEED
    else:
        stored = ADA if method == "PUT" else None
        assert slots(client) == {**SEED, str(slot): {**SEED[str(slot)], "interview": stored}}


@pytest.mark.parametrize("headers", [ANY, NONE, {**ANY, **NONE}, {"If-Match": '"a"'}], ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/api/appointments/99", {"interview": ADA}, 404),
        ("PUT", "/api/appointments/abc", {"interview": ADA}, 404),
        ("DELETE", "/api/appointments/99", None, 404),
        ("DELETE", "/api/appointments/abc", None, 404),
        ("PUT", "/api/appointments/1", {"interview": {**ADA, "interviewer": 99}}, 422),
        ("PUT", "/api/appointments/2", {"interview": {**ADA, "interviewer": 99}}, 422),
        ("PUT", "/api/appointments/1", {"interview": None}, 422),
        ("PUT", "/api/appointments/2", {"interview": {**ADA, "student": ""}}, 422),
    ],
)
def test_an_unknown_slot_and_a_body_that_does_not_fit_win_over_a_condition(
    client: FlaskClient, headers: dict[str, str], *, method: str, path: str, body: Any, status: int
) -> None:
    response = client.open(path, method=method, headers=headers, json=body)
    assert_problem(response.headers, response.data, status)
    assert response.status_code == status
    assert slots(client) == SEED


def both_workers(server: Server) -> list[int]:
    """Wait for both of a server's workers; give their ids."""
    wait_for(lambda: len(server.workers) == 2)
    return server.workers


def race(server: Server, method: str, path: str, headers: dict[str, str]) -> dict[str, int]:
    """Send 20 requests at once; give each student's status."""

    def write(student: str) -> int:
        body = json.dumps({"interview": {"student": student, "interviewer": 2}})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": JSON, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    both_workers(server)
    students = [f"Student {number}" for number in range(20)]
    with ThreadPoolExecutor(len(students)) as threads:
        return dict(zip(students, threads.map(write, students), strict=True))


def test_of_twenty_safe_bookings_exactly_one_wins(
    client: FlaskClient, serve: Callable[..., Server], sql: Sql
) -> None:
    server = serve()
    for slot in (2, 3, 4):
        statuses = race(server, "PUT", f"/api/appointments/{slot}", NONE)
        assert sorted(statuses.values()) == [204] + [412] * 19
        (winner,) = (student for student, status in statuses.items() if status == 204)
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [slot])
        assert stored == [(winner,)]


def test_of_twenty_safe_cancels_exactly_one_wins(
    client: FlaskClient, serve: Callable[..., Server], tables: Tables
) -> None:
    statuses = race(serve(), "DELETE", "/api/appointments/1", ANY)
    assert sorted(statuses.values()) == [204] + [412] * 19
    assert tables()["interviews"] == []


def test_without_a_condition_all_of_twenty_writes_succeed(
    client: FlaskClient, serve: Callable[..., Server], sql: Sql
) -> None:
    server = serve()
    statuses = race(server, "PUT", "/api/appointments/2", {})
    assert set(statuses.values()) == {204}
    ((student,),) = sql("SELECT student FROM interviews WHERE appointment_id = 2")
    assert student in statuses
    assert set(race(server, "DELETE", "/api/appointments/2", {}).values()) == {204}


# What is refused

JSON = "application/json"
GOOD = b'{"interview":{"student":"Ada","interviewer":2}}'
STUDENT = "#/interview/student"
INTERVIEWER = "#/interview/interviewer"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class Case(NamedTuple):
    """A request to be refused, and how."""

    status: int
    body: bytes = GOOD
    pointers: list[str] | None = None
    content_type: str | None = JSON
    slot: str = "2"
    content_encoding: str | None = None


def headers(case: Case) -> dict[str, str]:
    named = {"Content-Type": case.content_type, "Content-Encoding": case.content_encoding}
    return {name: value for name, value in named.items() if value}


def of_bytes(size: int) -> bytes:
    """A good body, filled up to this size."""
    head, tail = b'{"x":"', b'",' + GOOD[1:]
    return head + b"x" * (size - len(head) - len(tail)) + tail


def with_student(literal: str) -> Case:
    body = f'{{"interview":{{"student":{literal},"interviewer":2}}}}'
    return Case(422, body.encode(), [STUDENT])


def with_interviewer(literal: str) -> Case:
    body = f'{{"interview":{{"student":"Ada","interviewer":{literal}}}}}'
    return Case(422, body.encode(), [INTERVIEWER])


def with_extra(literal: str) -> bytes:
    return b'{"x":' + literal.encode() + b"," + GOOD[1:]


CASES = {
    # No JSON in UTF-8.
    "empty": Case(400, b""),
    "whitespace": Case(400, b" \r\n\t "),
    "not JSON": Case(400, b"student=Ada"),
    "HTML": Case(400, b"<html></html>"),
    "truncated": Case(400, GOOD[:-1]),
    "truncated in a string": Case(400, GOOD[:24]),
    "more after the end": Case(400, GOOD + b"}"),
    "two bodies": Case(400, GOOD + GOOD),
    "single quotes": Case(400, GOOD.replace(b'"', b"'")),
    "comma at the end": Case(400, GOOD[:-1] + b",}"),
    "comment": Case(400, b"// hello\n" + GOOD),
    "undefined": Case(400, b"undefined"),
    "NaN": Case(400, b"NaN"),
    "NaN as interviewer": Case(400, GOOD.replace(b"2", b"NaN")),
    "Infinity as interviewer": Case(400, GOOD.replace(b"2", b"Infinity")),
    "-Infinity as extra key": Case(400, with_extra("-Infinity")),
    "leading zero": Case(400, GOOD.replace(b"2", b"02")),
    "plus sign": Case(400, GOOD.replace(b"2", b"+2")),
    "hexadecimal": Case(400, GOOD.replace(b"2", b"0x2")),
    "raw line break in a string": Case(400, GOOD.replace(b"Ada", b"A\nda")),
    "raw NUL in a string": Case(400, GOOD.replace(b"Ada", b"A\0da")),
    "NUL at the end": Case(400, GOOD + b"\0"),
    "bad escape": Case(400, GOOD.replace(b"Ada", b"A\\x41")),
    "invalid UTF-8": Case(400, GOOD.replace(b"Ada", b"Ad\xff")),
    "cut UTF-8": Case(400, GOOD.replace(b"Ada", b"Ad\xc3")),
    "overlong UTF-8": Case(400, GOOD.replace(b"Ada", b"\xc1\x81da")),
    "surrogate in UTF-8": Case(400, GOOD.replace(b"Ada", b"\xed\xa0\x80")),
    "Latin-1": Case(400, GOOD.replace(b"Ada", "Zoë".encode("latin-1"))),
    "UTF-16": Case(400, GOOD.decode().encode("utf-16")),
    "UTF-16 without a mark": Case(400, GOOD.decode().encode("utf-16-le")),
    "UTF-16 as declared": Case(
        400, GOOD.decode().encode("utf-16"), content_type="application/json; charset=utf-16"
    ),
    "UTF-32": Case(400, GOOD.decode().encode("utf-32")),
    "arrays nested 50,000 deep": Case(400, b"[" * 50_000 + b"]" * 50_000),
    "arrays never closed": Case(400, b"[" * 100_000),
    "objects nested 20,000 deep": Case(400, b'{"":' * 20_000 + b"1" + b"}" * 20_000),
    "objects never closed": Case(400, b'{"":' * 25_000),
    "depth in an extra key": Case(400, with_extra("[" * 50_000 + "]" * 50_000)),
    "gzip without saying so": Case(400, gzip.compress(GOOD)),
    # Too large.
    "one byte over 100 kB": Case(413, of_bytes(102_401)),
    "a megabyte of spaces": Case(413, b" " * 1_000_000),
    "objects nested 50,000 deep": Case(413, b'{"":' * 50_000 + b"1" + b"}" * 50_000),
    # No JSON by its name.
    "text/plain": Case(415, content_type="text/plain"),
    "no content type": Case(415, content_type=None),
    "form": Case(415, b"student=Ada", content_type="application/x-www-form-urlencoded"),
    "multipart": Case(415, content_type="multipart/form-data; boundary=x"),
    "octets": Case(415, content_type="application/octet-stream"),
    "text/json": Case(415, content_type="text/json"),
    "jsonp": Case(415, content_type="application/jsonp"),
    "nonsense": Case(415, content_type="; ; json"),
    "JSON in a parameter": Case(415, content_type="text/plain; application/json"),
    "gzip": Case(415, gzip.compress(GOOD), content_encoding="gzip"),
    # The body.
    "array": Case(422, b"[]", ["#/interview"]),
    "array around it": Case(422, b"[" + GOOD + b"]", ["#/interview"]),
    "string": Case(422, b'"interview"', ["#/interview"]),
    "number": Case(422, b"1", ["#/interview"]),
    "true": Case(422, b"true", ["#/interview"]),
    "null": Case(422, b"null", ["#/interview"]),
    "huge integer": Case(422, b"9" * 5000, ["#/interview"]),
    "empty object": Case(422, b"{}", ["#/interview"]),
    # The interview.
    "interview missing": Case(422, b'{"student":"Ada","interviewer":2}', ["#/interview"]),
    "interview of another case": Case(422, GOOD.replace(b"interview", b"Interview", 1), None),
    "interview null": Case(422, b'{"interview":null}', ["#/interview"]),
    "interview a list": Case(422, b'{"interview":["Ada",2]}', ["#/interview"]),
    "interview a string": Case(422, b'{"interview":"Ada"}', ["#/interview"]),
    "interview a number": Case(422, b'{"interview":2}', ["#/interview"]),
    "interview false": Case(422, b'{"interview":false}', ["#/interview"]),
    "interview empty": Case(422, b'{"interview":{}}', [STUDENT, INTERVIEWER]),
    "both wrong": Case(
        422, b'{"interview":{"student":1,"interviewer":"x"}}', [STUDENT, INTERVIEWER]
    ),
    # The student.
    "student missing": Case(422, b'{"interview":{"interviewer":2}}', [STUDENT]),
    "student null": with_student("null"),
    "student a number": with_student("7"),
    "student true": with_student("true"),
    "student a list": with_student('["Ada"]'),
    "student an object": with_student('{"name":"Ada"}'),
    "student empty": with_student('""'),
    "student of spaces": with_student('"   "'),
    "student of other blanks": with_student('"\\t\\r\\n\\u00a0\\u2003\\u3000"'),
    "student of 256": with_student('"' + "x" * 256 + '"'),
    "student of 256 of four bytes": with_student('"' + "🎓" * 256 + '"'),
    "student of 100,000": with_student('"' + "x" * 100_000 + '"'),
    "student a NUL": with_student('"\\u0000"'),
    "student with a NUL": with_student('"Ada\\u0000"'),
    "student with a high surrogate": with_student('"Ada\\ud800"'),
    "student with a low surrogate": with_student('"\\udc00Ada"'),
    "student with surrogates the wrong way round": with_student('"\\udf93\\ud83c"'),
    # The interviewer.
    "interviewer missing": Case(422, b'{"interview":{"student":"Ada"}}', [INTERVIEWER]),
    "interviewer null": with_interviewer("null"),
    "interviewer true": with_interviewer("true"),
    "interviewer false": with_interviewer("false"),
    "interviewer a fraction": with_interviewer("2.5"),
    "interviewer a small fraction": with_interviewer("2.0000001"),
    "interviewer negative": with_interviewer("-2"),
    "interviewer 0": with_interviewer("0"),
    "interviewer -0.0": with_interviewer("-0.0"),
    "interviewer 2**31": with_interviewer("2147483648"),
    "interviewer 2**64": with_interviewer("18446744073709551616"),
    "interviewer 1e400": with_interviewer("1e400"),
    "interviewer 1e300": with_interviewer("1e300"),
    "interviewer of 5,000 digits": with_interviewer("9" * 5000),
    "interviewer of 5,000 digits in a string": with_interviewer('"' + "9" * 5000 + '"'),
    "interviewer an empty string": with_interviewer('""'),
    "interviewer ' 2'": with_interviewer('" 2"'),
    "interviewer '2\\n'": with_interviewer('"2\\n"'),
    "interviewer '+2'": with_interviewer('"+2"'),
    "interviewer '-2'": with_interviewer('"-2"'),
    "interviewer '2.5'": with_interviewer('"2.5"'),
    "interviewer '2.0'": with_interviewer('"2.0"'),
    "interviewer '2_0'": with_interviewer('"2_0"'),
    "interviewer '0x2'": with_interviewer('"0x2"'),
    "interviewer '2147483648'": with_interviewer('"2147483648"'),
    "interviewer an Arabic digit": with_interviewer('"٢"'),
    "interviewer a superscript": with_interviewer('"²"'),
    "interviewer a name": with_interviewer('"Tori Malcolm"'),
    "interviewer a list": with_interviewer("[2]"),
    "interviewer an object": with_interviewer('{"id":2}'),
    "interviewer unknown": with_interviewer("99"),
    "interviewer unknown, largest": with_interviewer("2147483647"),
    "interviewer unknown, as a string": with_interviewer('"99"'),
    # The slot.
    "slot 99": Case(404, slot="99"),
    "slot 2147483647": Case(404, slot="2147483647"),
    "slot 2147483648": Case(404, slot="2147483648"),
    "slot 99999999999999999999": Case(404, slot="99999999999999999999"),
    "slot of 4,000 digits": Case(404, slot="9" * 4000),
    "slot 0": Case(404, slot="0"),
    "slot -1": Case(404, slot="-1"),
    "slot +1": Case(404, slot="+1"),
    "slot 1.5": Case(404, slot="1.5"),
    "slot 2.0": Case(404, slot="2.0"),
    "slot 1e0": Case(404, slot="1e0"),
    "slot 0x1": Case(404, slot="0x1"),
    "slot abc": Case(404, slot="abc"),
    "slot an Arabic digit": Case(404, slot="%D9%A3"),
    "slot a superscript": Case(404, slot="%C2%B2"),
    "slot with a NUL": Case(404, slot="1%00"),
    "slot with a blank": Case(404, slot="1%20"),
    "slot with a line break": Case(404, slot="1%0A"),
    "slot with invalid UTF-8": Case(404, slot="1%FF"),
    "slot with a quote": Case(404, slot="1'%20OR%20'1'='1"),
    "slot with a percent sign": Case(404, slot="%25s"),
    "slot with more behind": Case(404, slot="1/2"),
}


def assert_problem(headers: Any, body: bytes, status: int) -> Any:
    """Check that this is a problem as RFC 9457 has it; give its `errors`."""
    assert headers["Content-Type"] == "application/problem+json"
    problem = json.loads(body)
    errors = problem.pop("errors", None)
    detail = problem.pop("detail")
    assert isinstance(detail, str)
    assert 0 < len(detail) < 1000
    title = TITLES.get(status) or HTTPStatus(status).phrase
    assert problem == {"type": "about:blank", "title": title, "status": status}
    return errors


def assert_refused(case: Case, status: int, headers: Any, body: bytes) -> None:
    """Check that this is the answer to a request that is to be refused."""
    assert status == case.status, body
    errors = assert_problem(headers, body, case.status)
    if case.status != 422:
        assert errors is None
        return
    assert all(set(error) == {"pointer", "detail"} for error in errors)
    assert all(isinstance(error["detail"], str) and error["detail"] for error in errors)
    if case.pointers is not None:
        assert [error["pointer"] for error in errors] == case.pointers


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_refuses(client: FlaskClient, tables: Tables, log: io.StringIO, case: Case) -> None:
    before = tables()
    started = time.monotonic()
    response = client.put(
        f"/api/appointments/{case.slot}",
        data=case.body,
        headers=headers(case),
    )
    seconds = time.monotonic() - started
    assert_refused(case, response.status_code, response.headers, response.data)
    assert tables() == before
    assert seconds < 1
    assert "Traceback" not in log.getvalue()
    assert "at=ERROR" not in log.getvalue()


@pytest.mark.parametrize(
    "slot",
    [pytest.param(case.slot, id=name) for name, case in CASES.items() if case.status == 404],
)
def test_refuses_to_cancel(
    client: FlaskClient, tables: Tables, log: io.StringIO, slot: str
) -> None:
    before = tables()
    response = client.delete(f"/api/appointments/{slot}")
    assert_refused(Case(404), response.status_code, response.headers, response.data)
    assert tables() == before
    assert "Traceback" not in log.getvalue()


def test_a_slot_of_5000_digits_is_unknown(client: FlaskClient) -> None:
    for method in ("PUT", "DELETE"):
        response = client.open(
            "/api/appointments/" + "9" * 5000, method=method, data=GOOD, content_type=JSON
        )
        assert_refused(Case(404), response.status_code, response.headers, response.data)


def test_a_booked_slot_keeps_its_interview_when_an_edit_is_refused(client: FlaskClient) -> None:
    for case in CASES.values():
        if case.status != 404:
            response = client.put(
                "/api/appointments/1",
                data=case.body,
                headers=headers(case),
            )
            assert response.status_code == case.status
    assert slots(client) == SEED


def test_the_real_server_refuses_the_same_and_stays_in_step(
    client: FlaskClient, serve: Callable[..., Server], tables: Tables
) -> None:
    server = serve()
    workers = both_workers(server)
    before = tables()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for name, case in CASES.items():
        started = time.monotonic()
        path = f"/api/appointments/{case.slot}"
        connection.request("PUT", path, case.body, headers(case))
        response = connection.getresponse()
        body = response.read()
        assert time.monotonic() - started < 1, name
        assert (name, response.status) == (name, case.status)
        assert_refused(case, response.status, response.headers, body)
    connection.request("GET", "/api/appointments")
    assert json.loads(connection.getresponse().read()) == SEED
    connection.close()
    assert tables() == before
    assert "Traceback" not in server.log
    assert server.workers == workers
