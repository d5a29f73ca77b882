"""The seeds for production and development."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from flask import Flask

from app.database import schema
from tests.support.database import Sql
from tests.support.tables import (
    INTERVIEWERS,
    rows,
)

pytestmark = pytest.mark.usefixtures("clean_slate")


DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
TIMES = ["12pm", "1pm", "2pm", "3pm", "4pm"]


@pytest.mark.parametrize("name", ["production", "development"])
def test_a_term_has_five_days_of_five_appointments_and_ten_interviewers(
    sql: Sql, prepare: Callable[[str], None], name: str
) -> None:
    prepare(name)
    stored = rows(sql)
    assert stored["days"] == list(enumerate(DAYS, 1))
    appointments = [(time, day) for day in range(1, 6) for time in TIMES]
    assert stored["appointments"] == [
        (row, *appointment) for row, appointment in enumerate(appointments, 1)
    ]
    assert stored["interviewers"] == INTERVIEWERS
    available = defaultdict(set)
    for _, day, interviewer in stored["available_interviewers"]:
        available[day].add(interviewer)
    assert {day: len(those) for day, those in available.items()} == dict.fromkeys(range(1, 6), 5)
    assert len(stored["available_interviewers"]) == 25


def test_a_term_starts_without_interviews(sql: Sql, prepare: Callable[[str], None]) -> None:
    prepare("production")
    assert rows(sql)["interviews"] == []


def test_development_has_ten_interviews_with_available_interviewers(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    prepare("development")
    stored = rows(sql)
    available = {(day, interviewer) for _, day, interviewer in stored["available_interviewers"]}
    day_of = {appointment: day for appointment, _, day in stored["appointments"]}
    interviews = stored["interviews"]
    assert all(
        (day_of[appointment], interviewer) in available
        for _, _, interviewer, appointment in interviews
    )
    assert Counter(student for _, student, _, _ in interviews) == Counter(
        [
            "Liam Martinez",
            "Richard Wong",
            "Lydia Miller-Jones",
            "Archie Cohen",
            "Chad Takahashi",
            "Leopold Silvers",
            "Maria Boucher",
            "Jamal Jordan",
            "Michael Chan-Montoya",
            "Yuko Smith",
        ]
    )
    assert len({appointment for _, _, _, appointment in interviews}) == 10


def test_random_rows_differ_from_seed_to_seed(sql: Sql, app_of: Callable[[str], Flask]) -> None:
    seen = set()
    app = app_of("development")
    for _ in range(3):
        with app.app_context():
            schema.reset()
        stored = rows(sql)
        seen.add(str(stored["available_interviewers"]) + str(stored["interviews"]))
    assert len(seen) == 3


def test_after_the_seed_new_rows_have_ids_of_their_own(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    prepare("production")
    assert sql("INSERT INTO days (name) VALUES ('Saturday') RETURNING id")[0][0] == 6
    assert sql("INSERT INTO appointments (time) VALUES ('5pm') RETURNING id")[0][0] == 26
    row = sql("INSERT INTO interviewers (name, avatar) VALUES ('Ada', '') RETURNING id")[0]
    assert row[0] == 11
