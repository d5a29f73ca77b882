"""Connections are lent in the order of the requests, and to reads first."""

from __future__ import annotations

import threading
import time

import pytest

from app.database.fair_semaphore import FairSemaphore
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def waiting(semaphore: FairSemaphore) -> int:
    return len(semaphore._with_priority) + len(semaphore._without_priority)


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


ARRIVALS = [
    ("first write", False),
    ("first read", True),
    ("second write", False),
    ("second read", True),
]


def test_it_is_handed_over_to_those_with_priority_and_then_in_the_order_of_arrival() -> None:
    semaphore = FairSemaphore(1)
    semaphore.acquire(soon())
    order: list[str] = []

    def wait(name: str, has_priority: bool) -> None:
        semaphore.acquire(soon(), has_priority=has_priority)
        order.append(name)
        semaphore.release()

    with Threads() as threads:
        for number, (name, has_priority) in enumerate(ARRIVALS, 1):
            threads.start(wait, name, has_priority)
            wait_for(lambda: waiting(semaphore) == number)  # noqa: B023
        semaphore.release()
    assert order == ["first read", "second read", "first write", "second write"]


def test_a_newcomer_does_not_overtake() -> None:
    semaphore = FairSemaphore(1)
    semaphore.acquire(soon())
    has_it = threading.Event()

    def wait() -> None:
        semaphore.acquire(soon())
        has_it.set()

    with Threads() as threads:
        threads.start(wait)
        wait_for(lambda: waiting(semaphore))
        semaphore.release()
        # The other thread already has it, although it may not run yet.
        with pytest.raises(TimeoutError):
            semaphore.acquire(soon(0.05))
        assert has_it.wait(30)
        semaphore.release()


def test_a_waiter_that_gives_up_leaves_the_count_unchanged() -> None:
    semaphore = FairSemaphore(2)
    for _ in range(2):
        semaphore.acquire(soon())
    for _ in range(5):
        with pytest.raises(TimeoutError):
            semaphore.acquire(soon(0.01))
    for _ in range(2):
        semaphore.release()
    for _ in range(2):
        semaphore.acquire(soon(0))
    with pytest.raises(TimeoutError):
        semaphore.acquire(soon(0))
