"""How greenlets wait for a socket that gevent does not know."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest

from app.server.socket_wait import wait_until_ready

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_others_run_until_there_is_something_to_read(pair: Pair) -> None:
    one, other = pair
    waiting = gevent.spawn(wait_until_ready, one.fileno(), True, 5)
    gevent.sleep(0.05)
    assert not waiting.ready()
    other.send(b"x")
    assert waiting.get(timeout=1) is True
    # Still unread.
    assert wait_until_ready(one.fileno(), True, 0) is True


def test_an_end_is_something_to_read(pair: Pair) -> None:
    one, other = pair
    waiting = gevent.spawn(wait_until_ready, one.fileno(), True, 5)
    gevent.sleep(0.05)
    other.close()
    assert waiting.get(timeout=1) is True


def test_a_socket_can_be_written_until_its_buffer_is_full(pair: Pair) -> None:
    one, other = pair
    assert wait_until_ready(one.fileno(), False, 1) is True
    one.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            one.send(b"x" * 65536)
    assert wait_until_ready(one.fileno(), False, 0.05) is False
    other.recv(10_000_000)
    assert wait_until_ready(one.fileno(), False, 1) is True


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_the_wait_ends_in_time(pair: Pair, seconds: float) -> None:
    # Timers count from the loop's idea of now, which is old if the machine is busy.
    gevent.get_hub().loop.update_now()
    started = time.monotonic()
    assert wait_until_ready(pair[0].fileno(), True, seconds) is False
    assert seconds <= time.monotonic() - started + 0.01 < seconds + 1


def test_a_killed_greenlet_stops_waiting(pair: Pair) -> None:
    one, other = pair
    waiting = gevent.spawn(wait_until_ready, one.fileno(), True, 5)
    gevent.sleep(0.05)
    waiting.kill(timeout=1)
    assert waiting.ready()
    other.send(b"x")
    assert wait_until_ready(one.fileno(), True, 1) is True
