"""How the server stops, reloads and replaces a worker, under load and with slow clients."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from contextlib import ExitStack, closing
from pathlib import Path

from tests.support.database import Sql
from tests.support.http import BODY_BYTES, ask, booking
from tests.support.load import Load
from tests.support.pace import is_within
from tests.support.processes import is_running
from tests.support.project import ROOT
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def test_a_stop_under_load_completes_every_accepted_request(serve: Serve, seeded: None) -> None:
    server = serve(SAVE_DELAY="0.2")
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(16):
            threads.start(load.on_one_connection)
        wait_for(lambda: len(load.statuses) > 50)
        workers = server.workers
        seconds = server.stop()
        threads.join()
    assert load.dropped == []
    assert set(load.statuses) <= {200, 204}
    assert is_within(seconds, 5)
    assert not [pid for pid in workers if is_running(pid)]


def test_a_stop_resets_no_connection_that_was_opened_before_the_listener_closed(
    serve: Serve, seeded: None
) -> None:
    # One that arrives between the last accept and the closing is reset. This moment is long only
    # if other programs use the cores. A server that accepts none fails each time.
    assert any(resets_during_a_stop(serve()) == [] for _ in range(3))


def resets_during_a_stop(server: Server) -> list[str]:
    """Stop a server while clients open new connections. Returns the resets that they get."""
    responses: list[bytes] = []
    resets: list[str] = []

    def ask_on_new_connections() -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", server.port), 10)
            except OSError:
                return  # refused: nobody listens any more
            with connection:
                try:
                    connection.sendall(
                        b"GET /api/days HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    )
                    responses.append(connection.recv(65536)[:12])
                except ConnectionResetError as error:
                    resets.append(str(error))

    with Threads() as threads:
        for _ in range(12):
            threads.start(ask_on_new_connections)
        wait_for(lambda: len(responses) > 50)
        server.stop()
    assert set(responses) == {b"HTTP/1.1 200"}
    return resets


def test_a_slow_request_is_completed_before_the_stop(serve: Serve, seeded: None, sql: Sql) -> None:
    server = serve(SAVE_DELAY="1")
    statuses = []
    with Threads() as threads:
        for appointment in (1, 2, 3, 4):
            threads.start(
                lambda appointment: statuses.append(
                    ask(server, "PUT", f"/api/appointments/{appointment}", booking("Ada")).status
                ),
                appointment,
            )
        wait_for(lambda: sql("SELECT count(*) FROM interviews") == [(4,)])
        assert is_within(server.stop(), 5)
    assert statuses == [204] * 4


def test_a_reload_under_load_drops_nothing(serve: Serve, seeded: None) -> None:
    server = serve()
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(6):
            threads.start(load.on_new_connections)
        for _ in range(6):
            threads.start(load.on_kept_connections)
        wait_for(lambda: len(load.statuses) > 50)
        old = set(server.workers)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(server.workers) == 2 and not old & set(server.workers))
        before = len(load.statuses)
        wait_for(lambda: len(load.statuses) > before + 50)
    assert load.dropped == []
    assert set(load.statuses) <= {200, 204}


def test_a_killed_worker_is_replaced(serve: Serve, seeded: None) -> None:
    server = serve()
    killed, living = server.workers
    os.kill(killed, signal.SIGKILL)
    server.wait_for_boots(3)
    assert killed not in server.workers
    assert len(server.workers) == 2
    assert living in server.workers
    for _ in range(20):
        assert ask(server, "GET", "/api/days").status == 200


def test_idle_connections_do_not_delay_the_stop(serve: Serve, seeded: None) -> None:
    server = serve(WEB_CONCURRENCY="1")
    with ExitStack() as stack:
        for number in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            stack.enter_context(closing(connection))
            connection.connect()
            if number % 2:
                connection.request("GET", "/api/days")
                assert connection.getresponse().read()
        # The grace period is four seconds; idle connections do not use it up.
        assert is_within(server.stop(), 4)


def test_half_a_request_does_not_delay_the_stop(serve: Serve, seeded: None) -> None:
    server = serve(WEB_CONCURRENCY="1")
    with ExitStack() as stack:
        for half in (
            b"GET /api/da",
            b"PUT /api/appointments/1 HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
        ):
            for _ in range(10):
                connection = socket.create_connection(("127.0.0.1", server.port))
                stack.enter_context(connection)
                connection.sendall(half)
        assert ask(server, "GET", "/api/days").status == 200
        workers = server.workers
        assert is_within(server.stop(), 5)
        assert not [pid for pid in workers if is_running(pid)]


def test_a_request_that_begins_at_the_last_moment_before_the_stop_is_served(
    serve: Serve, seeded: None
) -> None:
    server = serve(WEB_CONCURRENCY="1")
    (worker,) = server.workers
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET /api/days HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.2)
        # The head arrives while the worker is frozen, and its deadline passes.
        os.kill(worker, signal.SIGSTOP)
        connection.sendall(
            b"PUT /api/appointments/2 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(BODY_BYTES)
        )
        time.sleep(0.6)
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.3)
        connection.sendall(BODY_BYTES)
        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")


def test_sigttin_adds_no_workers_beyond_the_limit(
    serve: Serve, seeded: None, tmp_path: Path
) -> None:
    # The real limit takes gigabytes to reach, so this server has a lower one.
    configuration = tmp_path / "few_workers.py"
    original = str(ROOT / "gunicorn.conf.py")
    configuration.write_text(
        "from app.cache import data_version\n"
        "data_version.MAX_WORKERS = 3\n"
        f"exec(compile(open({original!r}).read(), {original!r}, 'exec'))\n"
    )
    server = serve(f'gunicorn -c {configuration} "app:create_app()"')
    server.process.send_signal(signal.SIGTTIN)
    server.wait_for_boots(3)
    for warnings in (1, 2):
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: server.log.count("too many workers") == warnings)  # noqa: B023
    # gunicorn starts missing workers once a second.
    for _ in range(30):
        assert ask(server, "GET", "/api/days").status == 200
        time.sleep(0.05)
    assert len(server.workers) == 3
    assert "Traceback" not in server.log
    server.process.send_signal(signal.SIGTTOU)
    wait_for(lambda: len(server.workers) == 2)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_boots(5)
    assert ask(server, "GET", "/api/days").status == 200
    assert is_within(server.stop(), 5)
