"""Cached responses: ETags, compression, and headers that depend on the request."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.database import schema
from tests.support.database import Sql
from tests.support.http import FREE, ask, booking
from tests.support.lists import PATHS, each_path
from tests.support.server import Serve
from tests.support.waiting import wait_for


@each_path
def test_a_get_has_an_etag_that_changes_with_the_data(
    cached: FlaskClient, sql: Sql, path: str
) -> None:
    first = cached.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    assert cached.get(path).headers["ETag"] == tag
    sql("INSERT INTO days (name) VALUES ('Sunday')")
    sql("INSERT INTO appointments (time) VALUES ('5pm')")
    sql("INSERT INTO interviewers (name, avatar) VALUES ('x', 'x')")
    wait_for(lambda: cached.get(path).headers["ETag"] != tag)


@each_path
def test_an_unchanged_list_gets_304(cached: FlaskClient, path: str) -> None:
    tag = cached.get(path).headers["ETag"]
    strong = tag.removeprefix("W/")
    for condition in (tag, strong, f'"x", {tag}', f'{strong}, "y"', "*", f'W/"a" , {tag},"b"'):
        response = cached.get(path, headers={"If-None-Match": condition})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Accept-Encoding" in response.headers["Vary"]
        assert "Content-Type" not in response.headers
    for condition in ('"x"', 'W/"x", "y"', "", "x", f"{tag[:-1]}"):
        response = cached.get(path, headers={"If-None-Match": condition})
        assert response.status_code == 200
        assert response.data == cached.get(path).data


@each_path
def test_a_query_and_a_trailing_slash_change_nothing(cached: FlaskClient, path: str) -> None:
    plain = cached.get(path)
    for same in (f"{path}/", f"{path}?x=1", f"{path}/?", f"{path}?{'y' * 5000}"):
        response = cached.get(same)
        assert (response.status_code, response.data) == (200, plain.data)
        assert response.headers["ETag"] == plain.headers["ETag"]
        assert (
            cached.get(same, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
        )


def test_a_refused_write_leaves_the_etag(cached: FlaskClient) -> None:
    tag = cached.get("/api/appointments").headers["ETag"]
    response = cached.put("/api/appointments/1", json=booking("Ada"), headers=FREE)
    assert response.status_code == 412
    assert cached.get("/api/appointments").headers["ETag"] == tag


@pytest.fixture
def week(environ: dict[str, str], sql: Sql) -> FlaskClient:
    """A client of an application whose lists are long enough to compress."""
    app = create_app({**environ, "APP_ENV": "development"})
    with app.app_context():
        schema.reset()
    sql("INSERT INTO days (name) VALUES ('Saturday'), ('Sunday')")
    return app.test_client()


@each_path
def test_a_large_body_is_compressed_for_clients_that_accept_gzip(
    week: FlaskClient, path: str
) -> None:
    plain = week.get(path)
    assert len(plain.data) > 500
    assert "Content-Encoding" not in plain.headers
    accepting = [
        "gzip",
        "gzip, deflate, br, zstd",
        "gzip;q=0.5",
        "*",
        "GZIP",
        "br;q=1.0, gzip;q=0.8",
    ]
    for accepted in accepting:
        response = week.get(path, headers={"Accept-Encoding": accepted})
        assert response.headers["Content-Encoding"] == "gzip", accepted
        assert gzip.decompress(response.data) == plain.data
        assert int(response.headers["Content-Length"]) == len(response.data) < len(plain.data)
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["ETag"] == plain.headers["ETag"]
        tag = {"If-None-Match": response.headers["ETag"], "Accept-Encoding": accepted}
        unchanged = week.get(path, headers=tag)
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        assert "Content-Encoding" not in unchanged.headers
    for refused in (
        "",
        "identity",
        "br",
        "gzip;q=0",
        "gzip;q=0.0, *",
        "*;q=0",
        "deflate, gzip;q=0",
    ):
        response = week.get(path, headers={"Accept-Encoding": refused})
        assert "Content-Encoding" not in response.headers, refused
        assert response.data == plain.data
    for response in (plain, week.head(path), week.get(path, headers={"Accept-Encoding": "gzip"})):
        assert "Accept-Encoding" in response.headers["Vary"]


def test_an_endless_accept_encoding_is_ignored(week: FlaskClient) -> None:
    for repetitions in (200, 100_000):
        response = week.get("/api/days", headers={"Accept-Encoding": "gzip, " * repetitions})
        assert response.status_code == 200
        assert "Content-Encoding" not in response.headers


def test_a_small_body_is_not_compressed(cached: FlaskClient) -> None:
    response = cached.get("/api/days", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    assert response.json == cached.get("/api/days").json


def test_an_error_has_no_etag(cached: FlaskClient) -> None:
    for path in ("/", "/api/days/1", "/api/appointments/1"):
        response = cached.get(path)
        assert response.status_code in {404, 405}
        assert "ETag" not in response.headers


def test_a_cached_response_has_the_headers_for_its_own_request(environ: dict[str, str]) -> None:
    good, other = "https://good.example", "http://localhost:8000"
    app = create_app({**environ, "CORS_ORIGINS": f"{good},{other}"})
    with app.app_context():
        schema.reset()
    client = app.test_client()
    for turn in range(3):
        for origin in (good, other, "https://evil.example", None):
            headers = {
                "X-Request-ID": f"{turn}-{origin}"[:5],
                **({"Origin": origin} if origin else {}),
            }
            response = client.get("/api/days", headers=headers)
            allowed = origin if origin in {good, other} else None
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
            assert response.headers.getlist("X-Request-ID") == [headers["X-Request-ID"]]
            assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]
            (vary,) = response.headers.getlist("Vary")
            assert sorted(vary.split(", ")) == ["Accept-Encoding", "Origin"]
            assert "Strict-Transport-Security" not in response.headers
        over_https = client.get("/api/days", base_url="https://localhost")
        assert "Strict-Transport-Security" in over_https.headers


def test_two_servers_send_the_same_etag(serve: Serve, app: Flask) -> None:
    servers = [serve(), serve()]
    for path in PATHS:
        tags = {ask(server, "GET", path).headers["Etag"] for server in servers for _ in range(6)}
        assert len(tags) == 1


@each_path
def test_a_cached_response_does_not_depend_on_the_request_that_made_it(
    cached: FlaskClient, sql: Sql, path: str
) -> None:
    # Not a host name (RFC 1035); Werkzeug refuses it.
    strange = {"Host": "a..b"}
    first = cached.get(path, headers=strange)
    sql("UPDATE days SET name = 'x'; UPDATE interviewers SET name = 'x'")
    sql("UPDATE interviews SET student = 'x'")
    wait_for(lambda: cached.get(path, headers=strange).data != first.data)
    assert cached.get(path, headers=strange).status_code == first.status_code == 200


def test_strange_paths_and_queries_are_not_cached(cached: FlaskClient, app: Flask) -> None:
    entries = set(app.extensions["cache"].entries)
    for number in range(500):
        cached.get(f"/api/days?{number}")
        cached.get(f"/api/days{number}")
        cached.get("/api/days" + "/" * (number % 50))
        cached.head(f"/api/appointments/{number}")
    assert set(app.extensions["cache"].entries) == entries
    assert entries == {*PATHS, *(f"{path}/" for path in PATHS)}
