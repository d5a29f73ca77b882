"""The checker of histories, on histories written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.histories import Operation, is_linearizable


def op(kind: Any, value: Any, outcome: Any, called_at: float, returned_at: float) -> Operation:
    return Operation(kind, value, outcome, called_at, returned_at)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([op("book", "A", 204, 0, 1), op("read", None, None, 2, 3)], id="stale read"),
        pytest.param(
            [op("book free", "A", 204, 0, 2), op("book free", "B", 204, 1, 3)], id="booked twice"
        ),
        pytest.param(
            [op("book free", "A", 412, 0, 1), op("read", None, None, 2, 3)], id="412 although free"
        ),
        pytest.param(
            [
                op("book", "A", 204, 0, 1),
                op("book", "B", 204, 2, 9),
                op("read", None, "B", 3, 4),
                op("read", None, "A", 5, 6),
            ],
            id="older after newer",
        ),
        pytest.param(
            [op("book", "A", 204, 0, 1), op("edit", "B", 412, 2, 3)],
            id="412 although booked",
        ),
        pytest.param(
            [op("book", "A", "unknown", 5, 6), op("read", None, "A", 1, 2)],
            id="read before its write",
        ),
    ],
)
def test_an_impossible_history_is_not_linearizable(history: list[Operation]) -> None:
    assert not is_linearizable(history)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([op("book", "A", 204, 0, 5), op("read", None, None, 1, 2)], id="not yet"),
        pytest.param([op("book", "A", 204, 0, 5), op("read", None, "A", 1, 2)], id="already"),
        pytest.param(
            [op("book", "A", "unknown", 0, 1), op("read", None, None, 2, 3)], id="lost for good"
        ),
        pytest.param(
            [
                op("book", "A", "unknown", 0, 1),
                op("read", None, None, 2, 3),
                op("read", None, "A", 4, 5),
            ],
            id="late",
        ),
        pytest.param(
            [op("cancel", None, 204, 0, 4), op("book free", "A", 412, 1, 2)], id="just before"
        ),
    ],
)
def test_a_possible_history_is_linearizable(history: list[Operation]) -> None:
    initial = "B" if history[0].kind == "cancel" else None
    assert is_linearizable(history, initial)


def test_many_unknown_outcomes_are_decided_quickly() -> None:
    history = []
    for moment in range(0, 300, 3):
        student = f"student {moment}"
        history += [
            op("book free", student, "unknown", moment, moment + 1),
            op("cancel", None, "unknown", moment, moment + 1),
            op("edit", f"another {moment}", 204, moment + 1, moment + 2),
            op("read", None, f"another {moment}", moment + 2, moment + 3),
        ]
    assert is_linearizable(history)
    history.append(op("read", None, "another 0", 400, 401))
    assert not is_linearizable(history)
