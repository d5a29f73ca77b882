"""Many clients at once, including slow and greedy ones, do not delay the others."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.server import sending
from tests.support import short_timeouts
from tests.support.database import Sql
from tests.support.http import BODY_BYTES, FREE, ask, booking
from tests.support.pace import is_within
from tests.support.processes import memory
from tests.support.server import Serve, Server

SLOW = pytest.mark.slow
HALF_A_HEAD = b"GET /api/days HTTP/1.1\r\nHost: x\r\nX-"
HALF_A_BODY = (
    b"PUT /api/appointments/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 900\r\n\r\n{"
)


@pytest.fixture(scope="module")
def server(tables: None, serve_module: Serve) -> Server:
    """The real server, for the tests that leave it running."""
    return serve_module()


@contextlib.contextmanager
def crowd(server: Server, size: int, opening: bytes) -> Iterator[list[socket.socket]]:
    """Connect clients that have sent the beginning of a request, or nothing, and wait."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(size):
            clients.append(
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            )
            clients[-1].sendall(opening)
        yield clients


@pytest.mark.parametrize(
    ("opening", "size"),
    [
        pytest.param(HALF_A_HEAD, 100, id="heads"),
        pytest.param(HALF_A_BODY, 100, id="bodies"),
        pytest.param(b"", 200, id="idle"),
        pytest.param(HALF_A_HEAD, 500, id="500 heads", marks=SLOW),
        pytest.param(HALF_A_BODY, 500, id="500 bodies", marks=SLOW),
        pytest.param(b"", 2000, id="2000 idle", marks=SLOW),
    ],
)
def test_slow_clients_delay_nobody(server: Server, opening: bytes, size: int) -> None:
    with crowd(server, size, opening) as clients:
        seconds = []
        for count in range(300):
            if opening:
                clients[count % size].sendall(b"a")
            response = ask(server, "GET", ["/api/days", "/api/appointments"][count % 2])
            assert response.status == 200
            seconds.append(response.seconds)
            if count % 10 == 0:
                response = ask(server, "PUT", "/api/appointments/2", booking("Ada"))
                assert response.status == 204
                assert is_within(response.seconds, 1)
        assert is_within(statistics.quantiles(seconds, n=100)[98], 1)


def test_a_response_that_nobody_reads_delays_nobody(serve: Serve, seeded: None) -> None:
    server = serve(WEB_CONCURRENCY="1")
    requests = memoryview(b"GET /api/appointments HTTP/1.1\r\nHost: x\r\n\r\n" * 50_000)
    with crowd(server, 20, b"") as clients:
        for client in clients:
            client.setblocking(False)
            # As many as fit: the responses fill the buffers on the way back.
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while sent < len(requests):
                    sent += client.send(requests[sent:])
        assert is_within(max(ask(server, "GET", "/api/days").seconds for _ in range(50)), 1)
        assert is_within(server.stop(), 5)


def test_a_response_that_nobody_reads_in_time_is_not_followed_by_another(
    serve: Serve, seeded: None, sql: Sql
) -> None:
    sql("INSERT INTO appointments (time, day_id) SELECT '1pm', 1 FROM generate_series(1, 20000)")
    server = serve(short_timeouts.COMMAND, WEB_CONCURRENCY="1")
    with socket.socket() as on_fast_path, socket.socket() as on_gunicorn_path:
        clients = {
            on_fast_path: b"GET /api/appointments?0 HTTP/1.1\r\nHost: x\r\n\r\n",
            on_gunicorn_path: b"GET /api/appointments?1 HTTP/1.1\r\nHost: x\r\nTE: a\r\n\r\n",
        }
        for client, request in clients.items():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(request * 20)
        # After the first response has timed out, and before an error response in its middle would.
        time.sleep(1.5 * short_timeouts.SEND_TIMEOUT)
        for number, client in enumerate(clients):
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(1 << 20):
                    received += data
            assert set(re.findall(rb"HTTP/1.1 \d+", received)) == {b"HTTP/1.1 200"}
            # The request whose response was not read is logged too.
            logged = server.log.count(f"path=/api/appointments?{number} ")
            assert logged > received.count(b"HTTP/1.1 200") - 1
    assert "request refused" not in server.log
    assert ask(server, "GET", "/api/days").status == 200


def test_a_list_of_any_length_reaches_a_slow_client(serve: Serve, seeded: None, sql: Sql) -> None:
    sql(
        "INSERT INTO appointments (time, day_id)"
        " SELECT repeat('x', 200), 1 FROM generate_series(1, 40000)"
    )
    server = serve(WEB_CONCURRENCY="1")
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET /api/appointments HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.5)
        response = http.client.HTTPResponse(client)
        response.begin()
        assert len(response.read()) > sending.MAX_STALLED_BYTES


def test_a_full_server_closes_idle_connections_to_serve_new_clients(
    serve: Serve, seeded: None
) -> None:
    few_files = "sh -c 'ulimit -n 100; exec gunicorn \"app:create_app()\"'"
    server = serve(few_files, WEB_CONCURRENCY="1")
    with crowd(server, 200, b""):
        for _ in range(5):
            response = ask(server, "PUT", "/api/appointments/2", booking("Ada"))
            assert response.status == 204
            assert is_within(response.seconds, 3)
        # A new client whose head arrives in two pieces is not closed before idle ones.
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(b"GET /api/days HTTP/1.1\r\n")
            time.sleep(0.5)
            client.sendall(b"Host: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert "Traceback" not in server.log


@SLOW
def test_of_all_bookings_of_a_free_appointment_exactly_one_succeeds(
    server: Server, seeded: None
) -> None:
    path = "/api/appointments/3"

    def book(racer: int) -> int:
        return ask(server, "PUT", path, booking(f"racer {racer}"), FREE).status

    with ThreadPoolExecutor(100) as threads:
        for _ in range(50):
            statuses = sorted(threads.map(book, range(100)))
            assert statuses == [204] + [412] * 99
            assert ask(server, "DELETE", path).status == 204


@SLOW
def test_a_million_requests_leave_the_memory_flat(serve: Serve, seeded: None) -> None:
    server = serve()

    def request(method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    reads = [request("GET", f"/api/{name}") for name in ("days", "appointments", "interviewers")]
    batch = [
        *(reads * 32),
        request("GET", "/api/nothing"),
        request("PUT", "/api/appointments/1", b"{"),
        request("PUT", "/api/appointments/2", BODY_BYTES),
        request("DELETE", "/api/appointments/2"),
    ]
    assert len(batch) == 100

    def ask_often(count: int) -> None:
        """Requests of every kind, many on each connection."""
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            for _ in range(count // len(batch)):
                connection.sendall(b"".join(batch))
                responses = 0
                rest = b""
                while responses < len(batch):
                    received = connection.recv(1 << 20)
                    assert received, "the server hung up"
                    responses += (rest + received).count(b"HTTP/1.1 ")
                    rest = (rest + received)[-8:]

    def all_ask(requests: int) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ask_often, [requests // 8] * 8))

    all_ask(10_000)
    before = memory(server.workers)
    started = time.monotonic()
    all_ask(1_000_000)
    assert memory(server.workers) - before < 5 * 2**20, f"after {time.monotonic() - started:.0f} s"
