"""What a `CommitObserver` learns: when a commit begins, and when its outcome is known."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.database import pool, statements
from tests.support.database import Sql
from tests.support.http import BOOKED, FREE, booking
from tests.support.proxy import Proxy

BEGUN, FINISHED, ABANDONED = "begun", "finished", "abandoned"
PATH = "/api/appointments/2"


class Recorder:
    """Notes each call, and how many COMMITs and questions about their outcome passed before it."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.calls: list[str] = []
        self.transaction_ids: list[int] = []
        self.commits: list[int] = []
        self.questions: list[int] = []
        self.on_begun: Callable[[], None] = lambda: None

    def commit_begun(self, transaction_id: int) -> None:
        self.transaction_ids.append(transaction_id)
        self._note(BEGUN)
        self.on_begun()

    def commit_finished(self) -> None:
        self._note(FINISHED)

    def commit_abandoned(self, transaction_id: int) -> None:
        assert transaction_id == self.transaction_ids[-1]
        self._note(ABANDONED)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.commits.append(self._proxy.count(b"COMMIT"))
        self.questions.append(self._proxy.count(b"pg_xact_status"))


@pytest.fixture
def recorder(proxy: Proxy) -> Recorder:
    return Recorder(proxy)


@pytest.fixture
def client(app: Flask, proxy: Proxy, recorder: Recorder) -> Iterator[FlaskClient]:
    """A client of an application behind a faulty network, which reports to the recorder."""
    app = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test"})
    statements.init_app(app, recorder)
    yield app.test_client()
    app.extensions["change_listener"].stop()


@pytest.mark.parametrize(
    ("method", "appointment", "headers"),
    [("PUT", 2, {}), ("PUT", 1, BOOKED), ("DELETE", 1, {})],
)
def test_a_commit_begins_before_it_is_sent_and_finishes_after_its_reply(
    client: FlaskClient, recorder: Recorder, method: str, appointment: int, headers: Any
) -> None:
    json = booking("Ada") if method == "PUT" else None
    path = f"/api/appointments/{appointment}"
    assert client.open(path, method=method, json=json, headers=headers).status_code == 204
    assert recorder.calls == [BEGUN, FINISHED]
    assert recorder.commits == [0, 1]


def test_the_transaction_id_is_that_of_the_stored_row(
    client: FlaskClient, recorder: Recorder, sql: Sql
) -> None:
    client.put(PATH, json=booking("Ada"))
    ((xmin,),) = sql("SELECT xmin::text::bigint FROM interviews WHERE appointment_id = 2")
    assert [each % 2**32 for each in recorder.transaction_ids] == [xmin]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PUT", "/api/appointments/99", booking("Ada"), {}, 404),
        ("PUT", "/api/appointments/1", booking("Ada"), FREE, 412),
        ("PUT", "/api/appointments/2", booking("Ada"), BOOKED, 412),
        ("PUT", "/api/appointments/2", booking("Ada", 99), {}, 422),
        ("DELETE", "/api/appointments/99", None, {}, 404),
        ("DELETE", "/api/appointments/2", None, BOOKED, 412),
        ("DELETE", "/api/appointments/1", None, FREE, 412),
        ("DELETE", "/api/appointments/2", None, {}, 204),
    ],
)
def test_what_changes_nothing_commits_nothing(  # noqa: PLR0917
    client: FlaskClient,
    recorder: Recorder,
    method: str,
    path: str,
    body: Any,
    headers: Any,
    status: int,
) -> None:
    assert client.open(path, method=method, json=body, headers=headers).status_code == status
    assert recorder.calls == []


def test_a_lost_commit_is_reported_as_finished_and_a_second_one_begins(
    client: FlaskClient, proxy: Proxy, recorder: Recorder
) -> None:
    proxy.breaks_before.append(b"COMMIT")
    assert client.put(PATH, json=booking("Ada")).status_code == 204
    assert recorder.calls == [BEGUN, FINISHED, BEGUN, FINISHED]
    assert recorder.questions == [0, 1, 1, 1]
    first, second = recorder.transaction_ids
    assert first != second


def test_a_commit_whose_reply_is_lost_is_in_flight_until_its_outcome_is_known(
    client: FlaskClient, proxy: Proxy, recorder: Recorder
) -> None:
    proxy.breaks_after.append(b"COMMIT")
    proxy.breaks_before.extend([b"pg_xact_status"] * 2)
    assert client.put(PATH, json=booking("Ada")).status_code == 204
    assert recorder.calls == [BEGUN, FINISHED]
    assert recorder.questions == [0, 3]


def test_a_write_that_is_given_up_abandons_its_commit(
    client: FlaskClient, proxy: Proxy, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TIMEOUT", 1.0)
    proxy.breaks_after.append(b"COMMIT")
    proxy.breaks_before.extend([b"pg_xact_status"] * 100)
    assert client.put(PATH, json=booking("Ada")).status_code == 503
    assert recorder.calls == [BEGUN, ABANDONED]


class Killed(BaseException):
    """Like gevent's GreenletExit: no `except Exception` catches it."""


def test_a_killed_write_abandons_its_commit(
    client: FlaskClient, proxy: Proxy, recorder: Recorder
) -> None:
    def lose_the_reply() -> None:
        proxy.lost_types = b"CZ"
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    def kill(signal_number: int, frame: object) -> None:
        raise Killed

    recorder.on_begun = lose_the_reply
    before = signal.signal(signal.SIGALRM, kill)
    try:
        with pytest.raises(Killed):
            client.put(PATH, json=booking("Ada"))
    finally:
        signal.signal(signal.SIGALRM, before)
        proxy.lost_types = b""
    assert recorder.calls == [BEGUN, ABANDONED]
    assert recorder.commits == [0, 1]
    recorder.on_begun = lambda: None
    assert client.put(PATH, json=booking("Bob")).status_code == 204
    assert recorder.calls == [BEGUN, ABANDONED, BEGUN, FINISHED]
