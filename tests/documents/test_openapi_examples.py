"""Every response of docs/openapi.yaml has an example, and it is what the server sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.http.errors import PHRASES
from tests.support import short_timeouts, tools
from tests.support.database import reseed
from tests.support.http import send_bytes
from tests.support.project import ROOT
from tests.support.server import Serve, Server

yaml = tools.package("yaml")
OPENAPI = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))
RESPONSES = OPENAPI["components"]["responses"]


def examples(content: dict[str, Any]) -> dict[str, Any]:
    """The examples of a media type by name. A single `example` is named ''."""
    if "example" in content:
        return {"": content["example"]}
    return {name: example["value"] for name, example in content["examples"].items()}


def described() -> Iterator[tuple[int, dict[str, Any]]]:
    """Every response of every operation: its status, and its description."""
    for path in OPENAPI["paths"].values():
        for method, operation in path.items():
            if method != "parameters":
                for status, response in operation["responses"].items():
                    name = response.get("$ref", "").rpartition("/")[2]
                    yield int(status), RESPONSES[name] if name else response


def test_every_response_with_a_body_has_an_example() -> None:
    for status, response in described():
        for media_type, content in response.get("content", {}).items():
            for example in examples(content).values():
                if media_type == "application/problem+json":
                    phrase = PHRASES.get(status) or HTTPStatus(status).phrase
                    assert (example["status"], example["title"]) == (status, phrase)
                    details = [error["detail"] for error in example.get("errors", [])]
                    assert not details or example["detail"] == " ".join(details)


def test_every_response_without_a_body_shows_its_headers() -> None:
    headers = OPENAPI["components"]["headers"]
    assert all("example" in header for header in headers.values())
    assert all(response.get("content") or response["headers"] for _, response in described())


def put(**arguments: Any) -> dict[str, Any]:
    return {"method": "PUT", "path": "/api/appointments/2", **arguments}


def put_booking(student: object, interviewer: object = 2) -> dict[str, Any]:
    return put(json={"interview": {"student": student, "interviewer": interviewer}})


JSON = "application/json"
GOOD = {"interview": {"student": "Ada", "interviewer": 2}}
TO_BOOKED = {"path": "/api/appointments/1", "json": GOOD}
REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("NotJson", "empty"): put(data=b"", content_type=JSON),
    ("NotJson", "latin1"): put(data='{"a": "Zoë"}'.encode("latin-1"), content_type=JSON),
    ("NotJson", "notJson"): put(data=b"{nope", content_type=JSON),
    ("NotJson", "deep"): put(data=b"[" * 40_000 + b"]" * 40_000, content_type=JSON),
    ("UnknownAppointment", "unknown"): put(path="/api/appointments/5", json=GOOD),
    ("UnknownAppointment", "notANumber"): put(path="/api/appointments/first", json=GOOD),
    ("ConditionFailed", "booked"): put(**TO_BOOKED, headers={"If-None-Match": "*"}),
    ("ConditionFailed", "free"): put(json=GOOD, headers={"If-Match": "*"}),
    ("ConditionFailed", "tag"): put(json=GOOD, headers={"If-Match": '"abc"'}),
    ("BodyTooLarge", ""): put(json={**GOOD, "x": "x" * 102_400}),
    ("WrongMediaType", "notJson"): put(data=json.dumps(GOOD), content_type="text/plain"),
    ("WrongMediaType", "compressed"): put(json=GOOD, headers={"Content-Encoding": "gzip"}),
    ("InvalidFields", "noInterview"): put(json={}),
    ("InvalidFields", "twoWrong"): put_booking(" ", None),
    ("InvalidFields", "notAString"): put_booking(7),
    ("InvalidFields", "tooLong"): put_booking("x" * 256),
    ("InvalidFields", "nul"): put_booking("a\0b"),
    ("InvalidFields", "nobody"): put_booking("Ada", 3),
}
OTHER_SETTINGS = {"TestError", "Unavailable", "RemoteDatabase"}
PUT_HEAD = b"PUT /api/appointments/2 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
RAW_REQUESTS = {
    "Malformed": b"NOPE\r\n\r\n",
    "LineTooLong": b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 10_000),
    "HeadersTooLarge": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n\r\n" % (b"a" * 20_000),
    "BodyTooSlow": PUT_HEAD + b"Content-Length: 100\r\n\r\n{",
}


def shown(name: str, example: str = "") -> Any:
    return examples(RESPONSES[name]["content"]["application/problem+json"])[example]


def test_no_example_is_left_unchecked() -> None:
    named = {
        (name, example)
        for name, response in RESPONSES.items()
        for content in response.get("content", {}).values()
        for example in examples(content)
    }
    elsewhere = {(name, "") for name in {*OTHER_SETTINGS, *RAW_REQUESTS}}
    assert named == REQUESTS.keys() | elsewhere


@pytest.fixture(scope="module")
def client(database_url: str) -> Iterator[FlaskClient]:
    """One client for all requests: they are refused, so each finds the test seed."""
    app = create_app({"DATABASE_URL": database_url, "APP_ENV": "test"})
    reseed(app)
    yield app.test_client()
    app.extensions["change_listener"].stop()


@pytest.mark.parametrize(("name", "example"), REQUESTS)
def test_the_server_sends_the_example(client: FlaskClient, name: str, example: str) -> None:
    request = dict(REQUESTS[name, example])
    response = client.open(request.pop("path"), **request)
    assert response.json == shown(name, example)


@pytest.mark.parametrize(
    ("name", "method", "path", "settings"),
    [
        ("TestError", "DELETE", "/api/appointments/1", {"TEST_ERROR": "1"}),
        ("Unavailable", "GET", "/api/days", {"DATABASE_URL": "postgres://127.0.0.1:1/none"}),
        (
            "RemoteDatabase",
            "GET",
            "/api/debug/reset",
            {"DATABASE_URL": "postgres://db.example.com/bookings"},
        ),
    ],
)
def test_other_settings_lead_to_the_example(
    environ: dict[str, str], name: str, method: str, path: str, settings: dict[str, str]
) -> None:
    client = create_app({**environ, **settings}).test_client()
    assert client.open(path, method=method).json == shown(name)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(short_timeouts.COMMAND)


@pytest.mark.parametrize("name", RAW_REQUESTS)
def test_the_real_server_sends_the_example(server: Server, name: str) -> None:
    assert send_bytes(server, RAW_REQUESTS[name]).json == shown(name)
