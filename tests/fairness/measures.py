"""What an attack costs everybody else: the slowest request and booking, memory, and stopping."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fairness.attackers import HANDSHAKE
from tests.support import processes
from tests.support.http import booking
from tests.support.pace import slowdown
from tests.support.server import Server

ATTACKERS = Path(__file__).with_name("attackers.py")
# An attack ends by itself after this; a test that passes ends it earlier.
ATTACK_SECONDS = 8.0
# A request without a response by then counts as one of this length.
NO_RESPONSE_SECONDS = 6.0
MEASUREMENTS = 3
GOING_AWAY = b"\x88\x02" + (1001).to_bytes(2, "big")


@dataclass
class Cost:
    """What others experienced: seconds, and megabytes of all workers together."""

    slowest_request: float = 0.0
    slowest_path: str = ""
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_booking: float = 0.0
    memory: float = 0.0
    stop: float = 0.0
    sockets_closed: bool = True

    def __str__(self) -> str:
        failures = [*self.failures[:3], "…"] if len(self.failures) > 3 else self.failures
        return (
            f"slowest of {self.requests} requests {self.slowest_request:.2f} s"
            f" ({self.slowest_path}), slowest booking {self.slowest_booking:.2f} s,"
            f" {self.memory:+.0f} MB, stopped in {self.stop:.1f} s"
            f" (every socket closed: {self.sockets_closed}),"
            f" {len(self.failures)} failures {failures}"
        )

    def keeps_promises(self, slowdown: float = 1.0) -> bool:
        """Whether the cost is within the promises. `slowdown` scales the limits in seconds."""
        return (
            not self.failures
            and self.slowest_request < 1.0 * slowdown
            and self.slowest_booking < 3.0 * slowdown
            and self.memory < 60.0
            and self.stop < 5.0 * slowdown
            and self.sockets_closed
        )


def must_keep_promises(measure: Callable[[], Cost]) -> None:
    """Fail if the cost exceeds the promises.

    Other programs on the machine can stall any one measurement, so it is repeated. A client
    that freezes a worker does so each time.
    """
    for _ in range(MEASUREMENTS):
        cost = measure()
        print(f"\n{cost}")
        if cost.keeps_promises() or cost.keeps_promises(slowdown()):
            return
    pytest.fail(str(cost))


@contextlib.contextmanager
def attackers(server: Server, name: str, count: int = 4) -> Iterator[None]:
    """Attack the server from this many processes while the block runs."""
    command = [sys.executable, "-S", str(ATTACKERS), name, str(server.port), str(ATTACK_SECONDS)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == b"attacking\n"
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


class Reader:
    """A WebSocket whose client only listens."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), 10)
        self._connection.sendall(HANDSHAKE)
        self._connection.settimeout(30)
        self._tail = self._connection.recv(4096)
        assert b" 101 " in self._tail
        self._expected = b""
        self._has_come = threading.Event()
        self._has_ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._connection.recv(1 << 20):
                if self._expected and self._expected in self._tail + data:
                    self._has_come.set()
                self._tail = (self._tail + data)[-100:]
        self._has_ended.set()

    def expect(self, text: bytes) -> None:
        """Wait for this text from now on."""
        self._has_come.clear()
        self._expected = text

    def receives(self, seconds: float) -> bool:
        """Whether it has come by then."""
        return self._has_come.wait(max(0.0, seconds))

    def is_closed(self, seconds: float) -> bool:
        """Whether the server has closed the socket in order by then."""
        return self._has_ended.wait(max(0.0, seconds)) and self._tail.endswith(GOING_AWAY)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def memory_of(server: Server) -> float:
    """Megabytes that the workers hold."""
    return processes.memory(server.workers) / 2**20


class Bystanders:
    """Clients of every worker that behave well: they read, book and listen."""

    def __init__(
        self,
        server: Server,
        memory_before: float | None = None,
        lists: Sequence[str] = ("/api/days", "/api/appointments"),
    ) -> None:
        self.server = server
        self.lists = lists
        self.cost = Cost()
        self.readers: list[Reader] = []
        self._kept: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._memory_before = memory_before or memory_of(server)
        workers = server.workers
        for worker in workers:
            # Only this one accepts connections.
            with processes.frozen(pid for pid in workers if pid != worker):
                self.readers += [Reader(server.port) for _ in range(2)]
                connection = http.client.HTTPConnection(
                    "127.0.0.1", server.port, timeout=NO_RESPONSE_SECONDS
                )
                connection.request("GET", lists[0])
                assert connection.getresponse().read()
                self._kept.append(connection)

    @contextlib.contextmanager
    def measuring(self) -> Iterator[Cost]:
        """Read, book and listen while the block runs. The cost is complete after it."""
        threads = [
            threading.Thread(target=self._ask_on_new_connections),
            threading.Thread(target=self._book),
            threading.Thread(target=self._watch_memory),
            *(threading.Thread(target=self._ask_on, args=[kept]) for kept in self._kept),
        ]
        for thread in threads:
            thread.start()
        try:
            yield self.cost
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()
        self._remember_memory()

    def stop(self) -> None:
        """Stop the server, and measure that too."""
        self.cost.stop = self.server.stop()
        deadline = time.monotonic() + 1
        self.cost.sockets_closed = all(
            reader.is_closed(deadline - time.monotonic()) for reader in self.readers
        )

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        for connection in self._kept:
            connection.close()

    def _watch_memory(self) -> None:
        while not self._stopping.wait(0.2):
            self._remember_memory()

    def _remember_memory(self) -> None:
        grown = memory_of(self.server) - self._memory_before
        self.cost.memory = max(self.cost.memory, grown)

    def _ask_on_new_connections(self) -> None:
        while not self._stopping.is_set():
            for path in [*self.lists, "/nowhere"]:
                with contextlib.closing(self._connection()) as connection:
                    self._ask(connection, 404 if path == "/nowhere" else 200, "GET", path)
                time.sleep(0.01)

    def _ask_on(self, kept: http.client.HTTPConnection) -> None:
        while not self._stopping.is_set():
            self._ask(kept, 200, "GET", self.lists[-1])
            time.sleep(0.01)

    def _book(self) -> None:
        for number in itertools.count():
            if self._stopping.is_set():
                break
            student = f"student {number}"
            for reader in self.readers:
                reader.expect(f'"{student}"'.encode())
            started = time.monotonic()
            with contextlib.closing(self._connection()) as connection:
                self._ask(connection, 204, "PUT", "/api/appointments/2", booking(student))
            deadline = started + NO_RESPONSE_SECONDS
            for reader in self.readers:
                if not reader.receives(deadline - time.monotonic()):
                    self.cost.failures.append(f"{student} was not received")
            self.cost.slowest_booking = max(self.cost.slowest_booking, time.monotonic() - started)
            time.sleep(0.02)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            "127.0.0.1", self.server.port, timeout=NO_RESPONSE_SECONDS
        )

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        expected: int,
        method: str,
        path: str,
        body: object = None,
    ) -> None:
        headers = {} if body is None else {"Content-Type": "application/json"}
        started = time.monotonic()
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            response.read()
            outcome = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            outcome = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        with self._lock:
            self.cost.requests += 1
            if seconds > self.cost.slowest_request:
                self.cost.slowest_request, self.cost.slowest_path = seconds, f"{method} {path}"
            if outcome != str(expected):
                self.cost.failures.append(f"{method} {path}: {outcome} after {seconds:.1f} s")
