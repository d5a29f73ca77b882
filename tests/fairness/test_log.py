"""The log stays whole, bounded and readable, whatever clients send and however it is read."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.logs import request_log
from app.logs.records import Formatter
from app.logs.stdout import CUT, stdout
from tests.support.http import ask
from tests.support.pace import is_within
from tests.support.server import Server, accepts, free_port
from tests.support.waiting import wait_for

FIELD = r'[A-Za-z_]+=(?:"(?:[^"\\]|\\.)*"|[^ "]*)'
is_logfmt = re.compile(f"{FIELD}(?: {FIELD})*").fullmatch

LONG = b"a" * 7000
# Without a limit, each of these makes a line longer than a pipe writes atomically.
HOSTILE_REQUESTS = [
    b"GET /nowhere?" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + LONG + b"\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\n" + b"X-Forwarded-For: \xff\t\xff\r\n" * 90 + b"\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-ID: " + LONG + b"\r\n\r\n",
    LONG.upper() + b" /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /nowhere HTTP/1.1" + LONG + b"\r\nHost: x\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\n" + LONG + b"\r\n\r\n",
    b"GET /api/days HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX-Forwarded-For: "
    + LONG
    + b"\r\n\r\n",
]


class PipedLog:
    """A named pipe that the server writes its log to, and a reader that can pause."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._pipe, True)
        self.may_read = threading.Event()
        self.may_read.set()
        # Seconds between two reads of 4 kB.
        self.pause = 0.0
        self._read_so_far = bytearray()
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        """Begin to read; the server has opened its end."""
        self._thread.start()

    def _read(self) -> None:
        while self.may_read.wait() and (data := os.read(self._pipe, 4096)):
            self._read_so_far += data
            time.sleep(self.pause)

    @property
    def lines(self) -> list[str]:
        """What it has read."""
        return bytes(self._read_so_far).decode().split("\n")[:-1]

    def forget(self) -> None:
        """Forget what it has read, when no more comes."""
        size = -1
        while size < (size := len(self._read_so_far)):
            time.sleep(0.1)
        self._read_so_far.clear()

    def close(self) -> None:
        """Read to the end; the server has closed its end."""
        self.may_read.set()
        self._thread.join(10)
        os.close(self._pipe)


@pytest.fixture(scope="module")
def server_and_log(
    tables: None, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, PipedLog]]:
    """The real server, and its log as a pipe."""
    log = PipedLog(tmp_path_factory.mktemp("piped") / "log")
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test", "PORT": str(free_port())}
    server = Server(environ, log.path)
    log.start()
    wait_for(lambda: accepts(server.port))
    wait_for(lambda: sum("listening for changes" in line for line in log.lines) == 2)
    yield server, log
    log.may_read.set()
    server.stop()
    log.close()


@pytest.fixture
def piped(server_and_log: tuple[Server, PipedLog]) -> tuple[Server, PipedLog]:
    """The same, without the lines of earlier tests."""
    _, log = server_and_log
    log.may_read.set()
    log.pause = 0.0
    log.forget()
    return server_and_log


def send(server: Server, request: bytes) -> None:
    """Send a request and wait for the response's beginning."""
    with closing(socket.create_connection(("127.0.0.1", server.port), 5)) as connection:
        connection.sendall(request)
        assert connection.recv(65536)


def request_lines(lines: list[str]) -> list[str]:
    """The lines for requests with a response."""
    return [line for line in lines if line.startswith("at=INFO msg=request ")]


def test_no_client_makes_a_line_long_or_torn(piped: tuple[Server, PipedLog]) -> None:
    server, log = piped
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda request: send(server, request), HOSTILE_REQUESTS * 30))
    ask(server, "GET", "/the-last")
    wait_for(lambda: any("/the-last" in line for line in log.lines))
    lines = log.lines
    assert max(len(line.encode()) for line in lines) < 4096
    assert [line for line in lines if not is_logfmt(line) or not line.startswith("at=")] == []
    assert all(CUT in line for line in request_lines(lines) if "a" * 20 in line)


def test_a_reader_that_stops_delays_no_request_and_learns_what_it_missed(
    piped: tuple[Server, PipedLog],
) -> None:
    server, log = piped
    log.may_read.clear()
    count = 1500
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: ask(server, "GET", "/api/days"), range(count)))
    assert {response.status for response in responses} == {200}
    assert is_within(max(response.seconds for response in responses), 1)
    log.may_read.set()

    def dropped() -> int:
        notices = [re.search(r'msg="log lines dropped" count=(\d+)', line) for line in log.lines]
        return sum(int(notice[1]) for notice in notices if notice)

    # Each worker says what it has dropped when it writes again.
    def all_are_counted() -> bool:
        nonlocal count
        ask(server, "GET", "/api/days")
        count += 1
        time.sleep(0.05)
        return len(request_lines(log.lines)) + dropped() == count

    wait_for(all_are_counted)
    assert dropped() > 500
    assert all(line.startswith("at=") and is_logfmt(line) for line in log.lines)


def test_a_slow_reader_loses_nothing(piped: tuple[Server, PipedLog]) -> None:
    server, log = piped
    log.pause = 0.02
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: ask(server, "GET", "/api/days"), range(1500)))
    assert is_within(max(response.seconds for response in responses), 1)
    wait_for(lambda: len(request_lines(log.lines)) == 1500)
    assert not any("dropped" in line for line in log.lines)


# A long text of few characters, so that its escapes fall on every place of the line.
TEXTS = st.text() | st.text(min_size=1, max_size=3).map(lambda part: part * 5000)


def line_written(write: Callable[[], None]) -> str:
    """The line that a function writes to the log."""
    read_end, write_end = os.pipe()
    before = os.dup(1)
    os.dup2(write_end, 1)
    try:
        write()
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(write_end)
        data = os.read(read_end, 1 << 20)
        os.close(read_end)
    assert len(data) <= 4096
    line = data.decode()
    assert line.endswith("\n")
    assert is_logfmt(line[:-1])
    assert line[:-1].isprintable()
    return line


@settings(deadline=None)
@given(method=TEXTS, target=TEXTS, client=TEXTS, request_id=TEXTS)
@example(
    method="", target="\U0002ee5e\n\n" * 5000, client="\U0002ee5e\n\n" * 5000, request_id="\x1f"
)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_any_request_makes_one_line(method: str, target: str, client: str, request_id: str) -> None:
    line = line_written(
        lambda: request_log.write(
            method=method,
            target=target,
            status=200,
            length=2,
            seconds=0.1,
            client=client,
            request_id=request_id,
        )
    )
    assert line.startswith("at=INFO msg=request method=")
    assert " status=200 bytes=2 ms=100.0 client=" in line or CUT in line


@settings(deadline=None)
@given(message=TEXTS, value=TEXTS)
def test_any_message_and_any_traceback_make_one_line(message: str, value: str) -> None:
    error = RuntimeError(value)
    exc_info = (RuntimeError, error, None)
    record = logging.LogRecord("app", logging.ERROR, "", 0, message, None, exc_info)
    line = line_written(lambda: stdout.write(Formatter().format(record) + "\n"))
    assert line.startswith("at=ERROR msg=")


def test_escapes_are_unambiguous() -> None:
    for text in ("\U000e0001", "\x85", "\u200b1", "\n"):
        escaped = Formatter.format_string(text).strip('"')
        assert json.loads(f'"{escaped}"') == text


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    error: Exception = KeyError("the first")
    for _ in range(40):
        error, error.__context__ = ValueError("in between"), error
    error, error.__context__ = RuntimeError("the last"), error
    formatted = Formatter().formatException((RuntimeError, error, None))
    assert len(formatted) < 3100
    assert formatted.startswith("KeyError: 'the first'\n")
    assert CUT in formatted
    assert formatted.endswith("\nRuntimeError: the last")
