"""What PUT and DELETE refuse, with which status, and that nothing changes."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import time
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from tests.support.database import Tables
from tests.support.http import BODY_BYTES
from tests.support.pace import is_within
from tests.support.problems import assert_problem
from tests.support.seed import ADA, SEED, TWO, appointments
from tests.support.server import Server

JSON = "application/json"
STUDENT = "#/interview/student"
INTERVIEWER = "#/interview/interviewer"


class Case(NamedTuple):
    """An invalid request, and how it is refused."""

    status: int
    body: bytes = BODY_BYTES
    pointers: list[str] | None = None
    content_type: str | None = JSON
    appointment: str = "2"
    content_encoding: str | None = None


def headers(case: Case) -> dict[str, str]:
    named = {"Content-Type": case.content_type, "Content-Encoding": case.content_encoding}
    return {name: value for name, value in named.items() if value}


def body_of_size(size: int) -> bytes:
    """Return a valid body, padded to this size."""
    head, tail = b'{"x":"', b'",' + BODY_BYTES[1:]
    return head + b"x" * (size - len(head) - len(tail)) + tail


def with_student(literal: str) -> Case:
    body = f'{{"interview":{{"student":{literal},"interviewer":2}}}}'
    return Case(422, body.encode(), [STUDENT])


def with_interviewer(literal: str) -> Case:
    body = f'{{"interview":{{"student":"Ada","interviewer":{literal}}}}}'
    return Case(422, body.encode(), [INTERVIEWER])


def with_extra(literal: str) -> bytes:
    return b'{"x":' + literal.encode() + b"," + BODY_BYTES[1:]


CASES = {
    # Not JSON in UTF-8.
    "empty": Case(400, b""),
    "not JSON": Case(400, b"student=Ada"),
    "truncated": Case(400, BODY_BYTES[:-1]),
    "truncated in a string": Case(400, BODY_BYTES[:24]),
    "two bodies": Case(400, BODY_BYTES + BODY_BYTES),
    "NaN": Case(400, b"NaN"),
    "NaN as interviewer": Case(400, BODY_BYTES.replace(b"2", b"NaN")),
    "Infinity as interviewer": Case(400, BODY_BYTES.replace(b"2", b"Infinity")),
    "-Infinity as extra key": Case(400, with_extra("-Infinity")),
    "raw NUL in a string": Case(400, BODY_BYTES.replace(b"Ada", b"A\0da")),
    "NUL at the end": Case(400, BODY_BYTES + b"\0"),
    "invalid UTF-8": Case(400, BODY_BYTES.replace(b"Ada", b"Ad\xff")),
    "cut UTF-8": Case(400, BODY_BYTES.replace(b"Ada", b"Ad\xc3")),
    "overlong UTF-8": Case(400, BODY_BYTES.replace(b"Ada", b"\xc1\x81da")),
    "surrogate in UTF-8": Case(400, BODY_BYTES.replace(b"Ada", b"\xed\xa0\x80")),
    "Latin-1": Case(400, BODY_BYTES.replace(b"Ada", "Zoë".encode("latin-1"))),
    "UTF-16": Case(400, BODY_BYTES.decode().encode("utf-16")),
    "UTF-16 as declared": Case(
        400, BODY_BYTES.decode().encode("utf-16"), content_type="application/json; charset=utf-16"
    ),
    "UTF-32": Case(400, BODY_BYTES.decode().encode("utf-32")),
    "arrays nested 50,000 deep": Case(400, b"[" * 50_000 + b"]" * 50_000),
    "objects nested 20,000 deep": Case(400, b'{"":' * 20_000 + b"1" + b"}" * 20_000),
    "objects never closed": Case(400, b'{"":' * 25_000),
    "depth in an extra key": Case(400, with_extra("[" * 50_000 + "]" * 50_000)),
    "gzip without saying so": Case(400, gzip.compress(BODY_BYTES)),
    # Too large.
    "one byte over 100 kB": Case(413, body_of_size(102_401)),
    "a megabyte of spaces": Case(413, b" " * 1_000_000),
    "objects nested 50,000 deep": Case(413, b'{"":' * 50_000 + b"1" + b"}" * 50_000),
    # Another content type.
    "text/plain": Case(415, content_type="text/plain"),
    "no content type": Case(415, content_type=None),
    "form": Case(415, b"student=Ada", content_type="application/x-www-form-urlencoded"),
    "multipart": Case(415, content_type="multipart/form-data; boundary=x"),
    "octets": Case(415, content_type="application/octet-stream"),
    "text/json": Case(415, content_type="text/json"),
    "jsonp": Case(415, content_type="application/jsonp"),
    "nonsense": Case(415, content_type="; ; json"),
    "JSON in a parameter": Case(415, content_type="text/plain; application/json"),
    "gzip": Case(415, gzip.compress(BODY_BYTES), content_encoding="gzip"),
    # The body.
    "array": Case(422, b"[]", ["#/interview"]),
    "array around it": Case(422, b"[" + BODY_BYTES + b"]", ["#/interview"]),
    "string": Case(422, b'"interview"', ["#/interview"]),
    "number": Case(422, b"1", ["#/interview"]),
    "true": Case(422, b"true", ["#/interview"]),
    "null": Case(422, b"null", ["#/interview"]),
    "huge integer": Case(422, b"9" * 5000, ["#/interview"]),
    "empty object": Case(422, b"{}", ["#/interview"]),
    # The interview.
    "interview missing": Case(422, b'{"student":"Ada","interviewer":2}', ["#/interview"]),
    "interview of another case": Case(422, BODY_BYTES.replace(b"interview", b"Interview", 1), None),
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
    # The appointment.
    "appointment 99": Case(404, appointment="99"),
    "appointment 2147483647": Case(404, appointment="2147483647"),
    "appointment 2147483648": Case(404, appointment="2147483648"),
    "appointment 99999999999999999999": Case(404, appointment="99999999999999999999"),
    "appointment of 4,000 digits": Case(404, appointment="9" * 4000),
    "appointment 0": Case(404, appointment="0"),
    "appointment -1": Case(404, appointment="-1"),
    "appointment +1": Case(404, appointment="+1"),
    "appointment 1.5": Case(404, appointment="1.5"),
    "appointment 2.0": Case(404, appointment="2.0"),
    "appointment 1e0": Case(404, appointment="1e0"),
    "appointment 0x1": Case(404, appointment="0x1"),
    "appointment abc": Case(404, appointment="abc"),
    "appointment an Arabic digit": Case(404, appointment="%D9%A3"),
    "appointment a superscript": Case(404, appointment="%C2%B2"),
    "appointment with a NUL": Case(404, appointment="1%00"),
    "appointment with a blank": Case(404, appointment="1%20"),
    "appointment with a line break": Case(404, appointment="1%0A"),
    "appointment with invalid UTF-8": Case(404, appointment="1%FF"),
    "appointment with a quote": Case(404, appointment="1'%20OR%20'1'='1"),
    "appointment with a percent sign": Case(404, appointment="%25s"),
    "appointment with more behind": Case(404, appointment="1/2"),
}


def assert_refused(case: Case, status: int, headers: Any, body: bytes) -> None:
    """Check the response to an invalid request."""
    assert status == case.status, body
    errors = assert_problem(headers, body, case.status)
    if case.status != 422:
        return
    assert all(set(error) == {"pointer", "detail"} for error in errors)
    assert all(isinstance(error["detail"], str) and error["detail"] for error in errors)
    if case.pointers is not None:
        assert [error["pointer"] for error in errors] == case.pointers


def test_a_body_of_exactly_100_kb_is_accepted(client: FlaskClient) -> None:
    response = client.put("/api/appointments/2", data=body_of_size(102_400), content_type=JSON)
    assert response.status_code == 204
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": ADA}}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_an_invalid_booking_is_refused_and_changes_nothing(
    client: FlaskClient, stored_rows: Tables, log: io.StringIO, case: Case
) -> None:
    before = stored_rows()
    started = time.monotonic()
    response = client.put(
        f"/api/appointments/{case.appointment}",
        data=case.body,
        headers=headers(case),
    )
    seconds = time.monotonic() - started
    assert_refused(case, response.status_code, response.headers, response.data)
    assert stored_rows() == before
    assert is_within(seconds, 1)
    assert "Traceback" not in log.getvalue()
    assert "at=ERROR" not in log.getvalue()


@pytest.mark.parametrize(
    "appointment",
    [pytest.param(case.appointment, id=name) for name, case in CASES.items() if case.status == 404],
)
def test_cancelling_an_unknown_appointment_is_refused(
    client: FlaskClient, stored_rows: Tables, log: io.StringIO, appointment: str
) -> None:
    before = stored_rows()
    response = client.delete(f"/api/appointments/{appointment}")
    assert_refused(Case(404), response.status_code, response.headers, response.data)
    assert stored_rows() == before
    assert "Traceback" not in log.getvalue()


def test_a_refused_edit_leaves_the_interview_unchanged(client: FlaskClient) -> None:
    for status, case in {case.status: case for case in CASES.values()}.items():
        if status != 404:
            response = client.put("/api/appointments/1", data=case.body, headers=headers(case))
            assert response.status_code == status
    assert appointments(client) == SEED


def test_the_real_server_refuses_the_same_on_one_connection(
    client: FlaskClient, server: Server, stored_rows: Tables
) -> None:
    workers = server.workers
    before = stored_rows()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for name, case in CASES.items():
        started = time.monotonic()
        path = f"/api/appointments/{case.appointment}"
        connection.request("PUT", path, case.body, headers(case))
        response = connection.getresponse()
        body = response.read()
        assert is_within(time.monotonic() - started, 1), name
        assert (name, response.status) == (name, case.status)
        assert_refused(case, response.status, response.headers, body)
    connection.request("GET", "/api/appointments")
    assert json.loads(connection.getresponse().read()) == SEED
    connection.close()
    assert stored_rows() == before
    assert "Traceback" not in server.log
    assert server.workers == workers
