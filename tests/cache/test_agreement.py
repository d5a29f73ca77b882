"""Worker processes agree about what they have seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from app.cache import data_version


@pytest.fixture
def another_process() -> Callable[[str, int], bool]:
    """What another process says that it sees at a path, in the present generation."""
    own = data_version._own

    def sees(path: str, seen: int) -> bool:
        data_version.take(own + 1)
        try:
            return data_version.agrees(path, seen, data_version.current())
        finally:
            data_version.take(own)

    return sees


def test_processes_that_see_the_same_agree(another_process: Callable[[str, int], bool]) -> None:
    now = data_version.current()
    assert data_version.agrees("/api/days", 7, now)
    assert another_process("/api/days", 7)
    assert another_process("/api/interviewers", 8)
    assert data_version.agrees("/api/days", 7, now)
    assert data_version.current() == now


def test_who_sees_something_else_makes_what_is_stored_old(
    another_process: Callable[[str, int], bool],
) -> None:
    now = data_version.current()
    assert data_version.agrees("/api/days", 7, now)
    assert not another_process("/api/days", 8)
    assert data_version.current() != now
    # The other asks again, and shows it to somebody.
    assert another_process("/api/days", 8)
    shown_in = data_version.current()
    # A query that was begun before may have brought the past.
    assert not data_version.agrees("/api/days", 7, now)
    assert data_version.current() != shown_in
    assert data_version.agrees("/api/days", 9, data_version.current())


def test_a_query_that_saw_something_else_than_another_process_is_made_again(
    stored: FlaskClient, another_process: Callable[[str, int], bool]
) -> None:
    expected = stored.get("/api/days").data
    data_version.advance()
    another_process("/api/days", 7)
    before = data_version.current()
    assert stored.get("/api/days").data == expected
    after = data_version.current()
    assert after != before
    # Made in the new generation, in which it is stored.
    assert stored.get("/api/days").data == expected
    assert not another_process("/api/days", 7)
    assert data_version.current() != after
