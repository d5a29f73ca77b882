"""CORS: which origins may read the responses."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.application import MakeClient
from tests.support.statuses import each_request, send_each, words

LISTED = "https://good.example"
LOCAL = "http://localhost:8000"


@each_request
@pytest.mark.parametrize("origin", [None, LISTED, "null", "http://127.0.0.1:3000"])
def test_by_default_every_origin_may_read_every_response(
    open_client: FlaskClient, request_: Any, origin: str | None
) -> None:
    headers = send_each(open_client, request_, **({"Origin": origin} if origin else {})).headers
    assert headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Access-Control-Allow-Credentials" not in headers
    assert "origin" not in words(headers.get("Vary"))
    exposed = words(headers["Access-Control-Expose-Headers"])
    assert {"etag", "retry-after", "x-request-id"} <= exposed


@each_request
@pytest.mark.parametrize("origin", [LISTED, LOCAL])
def test_a_listed_origin_may_read_every_response(
    listed_client: FlaskClient, request_: Any, origin: str
) -> None:
    headers = send_each(listed_client, request_, Origin=origin).headers
    assert headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert "origin" in words(headers["Vary"])
    exposed = words(headers["Access-Control-Expose-Headers"])
    assert {"etag", "retry-after", "x-request-id"} <= exposed


NEAR_MISSES = [
    "https://good.example.evil.example",
    "https://evil.example/https://good.example",
    "https://evilgood.example",
    "https://sub.good.example",
    "https://goodxexample",
    "http://good.example",
    "https://good.example:8443",
    "https://good.example:443",
    "https://good.example/",
    "https://good.example ,https://evil.example",
    f"{LISTED}, {LOCAL}",
    "https://good.exampl",
    "https://GOOD.EXAMPLE",
    "HTTPS://good.example",
    "http://localhost",
    "http://localhost:80000",
    "http://localhost:8001",
    "good.example",
    "null",
    "*",
    "",
    "https://",
]


@pytest.mark.parametrize("origin", NEAR_MISSES)
def test_an_origin_that_almost_matches_may_not_read(
    listed_client: FlaskClient, origin: str
) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    for headers in (
        listed_client.get("/api/days", headers={"Origin": origin}).headers,
        listed_client.get("/nowhere", headers={"Origin": origin}).headers,
        listed_client.options("/api/appointments/1", headers=preflight).headers,
    ):
        assert "Access-Control-Allow-Origin" not in headers
        assert "Access-Control-Allow-Credentials" not in headers
        assert "origin" in words(headers["Vary"])


@each_request
def test_with_a_list_every_response_varies_even_without_an_origin(
    listed_client: FlaskClient, request_: Any
) -> None:
    headers = send_each(listed_client, request_).headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "origin" in words(headers["Vary"])
    assert len(headers.getlist("Vary")) == 1


def test_an_origin_setting_is_normalized_as_browsers_do(make_client: MakeClient) -> None:
    client = make_client(CORS_ORIGINS="HTTPS://Good.Example:443/")
    headers = client.get("/nowhere", headers={"Origin": LISTED}).headers
    assert headers["Access-Control-Allow-Origin"] == LISTED


def test_a_star_in_the_list_opens_to_all(make_client: MakeClient) -> None:
    client = make_client(CORS_ORIGINS=f"{LISTED},*")
    headers = client.get("/nowhere", headers={"Origin": "https://other.example"}).headers
    assert headers["Access-Control-Allow-Origin"] == "*"


PATHS = [
    "/",
    "/nowhere",
    "/api/days",
    "/api/days/",
    "/api/appointments",
    "/api/appointments/1",
    "/api/appointments/1/",
    "/api/appointments/abc",
    "/api/interviewers",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_preflight_is_allowed_on_any_path(
    open_client: FlaskClient, listed_client: FlaskClient, path: str, method: str
) -> None:
    for client, allowed in ((open_client, "*"), (listed_client, LISTED)):
        response = client.options(
            path,
            headers={
                "Origin": LISTED,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,if-none-match,x-request-id",
            },
        )
        assert response.status_code in {200, 204}
        assert response.data == b""
        headers = response.headers
        assert headers.getlist("Access-Control-Allow-Origin") == [allowed]
        assert headers["Access-Control-Max-Age"] == "7200"
        assert {"get", "put", "delete"} <= words(headers["Access-Control-Allow-Methods"])
        asked = {"content-type", "if-none-match", "x-request-id"}
        assert asked <= words(headers["Access-Control-Allow-Headers"])


def test_a_preflight_without_headers_is_allowed(open_client: FlaskClient) -> None:
    response = open_client.options(
        "/api/appointments/1", headers={"Origin": LISTED, "Access-Control-Request-Method": "DELETE"}
    )
    assert response.status_code in {200, 204}
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Max-Age"] == "7200"


def test_an_unlisted_origin_still_gets_a_response(listed_client: FlaskClient) -> None:
    response = listed_client.get("/api/interviewers", headers={"Origin": "https://evil.example"})
    assert response.status_code == 200
    assert list(response.get_json()) == ["1", "2"]


def test_vary_names_origin_and_encoding(
    open_client: FlaskClient, listed_client: FlaskClient
) -> None:
    assert words(open_client.get("/api/days").headers["Vary"]) == {"accept-encoding"}
    assert words(listed_client.get("/api/days").headers["Vary"]) == {"accept-encoding", "origin"}
