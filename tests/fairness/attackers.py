"""Hostile clients: each attack is a function that keeps one client busy at full speed.

Run as a program, this module is one attacker: `python attackers.py NAME PORT SECONDS`.
It ends by itself after that many seconds. An attacker is a process of its own: as a
thread of a test it would share the test's interpreter lock, and attack too slowly. So
this module imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# Frames of RFC 6455. A mask of zeros leaves the text unchanged.
MASK = b"\0\0\0\0"
PING = b"\x89\x80" + MASK
EMPTY_TEXT = b"\x81\x80" + MASK
PING_TEXT = b"\x81\x84" + MASK + b"ping"
FIRST_FRAGMENT = b"\x01\x80" + MASK
EMPTY_FRAGMENT = b"\x00\x80" + MASK
COMPRESSED_TEXT = b"\xc1\x84" + MASK + b"ping"
LARGEST_TEXT = b"\x81\xff" + (65536).to_bytes(8, "big") + MASK + b"x" * 65536

JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# 90 lines of 8 kB are nearly all that gunicorn accepts by itself.
LINES = 90
LINE_BYTES = 8000
# 7 lines of 8 kB fit below a limit of 64 kB for the whole head.
FEW_LINES = 7


def request(line: str, *headers: bytes) -> bytes:
    """The head of a request."""
    return f"{line} HTTP/1.1\r\nHost: x\r\n".encode() + b"".join(headers) + b"\r\n"


def lines_of(name: str, element: str, separator: str, lines: int = LINES) -> bytes:
    """Header lines that are lists of as many elements as fit."""
    count = LINE_BYTES // len(element + separator)
    return f"{name}: {separator.join([element] * count)}\r\n".encode() * lines


def connect(port: int) -> socket.socket:
    """Open a connection. Try again soon if the server does not accept it."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            time.sleep(0.02)


def discard(connection: socket.socket) -> None:
    """Read whatever comes, in a thread of its own."""

    def read() -> None:
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20):
                pass

    threading.Thread(target=read, daemon=True).start()


def flood(
    port: int, opening: bytes, repeated: bytes, *, reads: bool = True, at_once: int = 65536
) -> None:
    """Send the opening, then the rest again and again, on one connection after the other."""
    batch = repeated * max(1, at_once // len(repeated))
    while True:
        with connect(port) as connection, contextlib.suppress(OSError):
            if reads:
                discard(connection)
            connection.sendall(opening)
            while True:
                connection.sendall(batch)


def repeat_request(port: int, sent: bytes) -> None:
    """Send a request, read the response's beginning, and send it again on a new connection."""
    while True:
        with connect(port) as connection, contextlib.suppress(OSError):
            connection.sendall(sent)
            connection.recv(65536)


def drip(port: int, opening: bytes, dripped: bytes, connections: int) -> None:
    """Hold many connections open and send a little on each in turn."""
    held = []
    for _ in range(connections):
        held.append(connect(port))
        with contextlib.suppress(OSError):
            held[-1].sendall(opening)
        held[-1].setblocking(False)
    for index in itertools.cycle(range(connections)):
        try:
            held[index].send(dripped)
        except BlockingIOError:
            time.sleep(0.0001)
        except OSError:
            held[index].close()
            held[index] = connect(port)
            with contextlib.suppress(OSError):
                held[index].sendall(opening)
            held[index].setblocking(False)


def never_read(port: int, opening: bytes, repeated: bytes, connections: int) -> None:
    """Ask on many connections for more than their buffers hold, and read nothing."""
    held = [connect(port) for _ in range(connections)]
    for connection in held:
        connection.settimeout(0.05)
        with contextlib.suppress(OSError):
            connection.sendall(opening)
    while True:
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(repeated * 1000)
        time.sleep(0.01)


def each_in_turn(port: int, sent: Iterable[bytes]) -> None:
    """Send these in turn on one connection, each after the previous response."""
    requests = itertools.cycle(sent)
    while True:
        with connect(port) as connection, contextlib.suppress(OSError):
            while True:
                connection.sendall(next(requests))
                if not connection.recv(65536):
                    break


def read_whole_responses(port: int, sent: bytes, connections: int) -> None:
    """Ask on some connections, each time after reading the whole response."""

    def ask_again_and_again() -> None:
        while True:
            with connect(port) as connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(sent)
                    head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split()[0])
                    missing = length - len(body)
                    while missing > 0:
                        missing -= len(connection.recv(65536)) or missing

    for _ in range(connections):
        threading.Thread(target=ask_again_and_again, daemon=True).start()
    threading.Event().wait()


def listen(port: int, connections: int) -> None:
    """Hold many sockets open and read them."""
    for _ in range(connections):
        connection = connect(port)
        connection.sendall(HANDSHAKE)
        connection.settimeout(None)
        discard(connection)
    threading.Event().wait()


def book(student: str, *headers: bytes) -> bytes:
    """A booking of appointment 1."""
    return put(f'{{"interview":{{"student":"{student}","interviewer":1}}}}'.encode(), *headers)


def put(body: bytes, *headers: bytes) -> bytes:
    """A request with this body."""
    length = f"Content-Length: {len(body)}\r\n".encode()
    return request("PUT /api/appointments/1", JSON, length, *headers) + body


GET_DAYS = request("GET /api/days")
NEVER_ENDING_HEAD = request("GET /api/days")[:-2] + b"X-A: %b\r\n" % (b"a" * LINE_BYTES) * LINES
TAGS = ("If-None-Match", '"a"', ",")
HUGE = b"Content-Length: 100000000000\r\n"
# Open sockets of each `listeners` process.
SOCKETS_PER_PROCESS = 50

Attack = Callable[[int], None]
ATTACKS: dict[str, Attack] = {
    # WebSockets: every frame costs the server much more than its client.
    "protocol pings": lambda port: flood(port, HANDSHAKE, PING),
    "protocol pings, no pong read": lambda port: flood(port, HANDSHAKE, PING, reads=False),
    "empty texts": lambda port: flood(port, HANDSHAKE, EMPTY_TEXT),
    "ping texts": lambda port: flood(port, HANDSHAKE, PING_TEXT),
    "endless fragments": lambda port: flood(port, HANDSHAKE + FIRST_FRAGMENT, EMPTY_FRAGMENT),
    "largest texts": lambda port: flood(port, HANDSHAKE, LARGEST_TEXT),
    "compressed texts": lambda port: flood(port, HANDSHAKE, COMPRESSED_TEXT),
    "pings in many sockets": lambda port: drip(port, HANDSHAKE, PING * 500, 50),
    "unfinished messages": lambda port: drip(
        port,
        HANDSHAKE + b"\x01\xfe" + (60_000).to_bytes(2, "big") + MASK + b"x" * 60_000,
        PING,
        250,
    ),
    "handshakes": lambda port: repeat_request(port, HANDSHAKE),
    # Bodies.
    "tiny chunks to PUT": lambda port: flood(
        port, request("PUT /api/appointments/1", JSON, CHUNKED), b"1\r\na\r\n"
    ),
    "tiny chunks to DELETE": lambda port: flood(
        port, request("DELETE /api/appointments/1", CHUNKED), b"1\r\na\r\n"
    ),
    "tiny chunks to GET": lambda port: flood(
        port, request("GET /api/days", CHUNKED), b"1\r\na\r\n"
    ),
    "tiny chunks to nowhere": lambda port: flood(
        port, request("POST /nowhere", CHUNKED), b"1\r\na\r\n"
    ),
    "tiny chunks to a handshake": lambda port: flood(
        port, HANDSHAKE[:-2] + CHUNKED + b"\r\n", b"1\r\na\r\n"
    ),
    "long chunk extensions": lambda port: flood(
        port,
        request("PUT /api/appointments/1", JSON, CHUNKED),
        b"1" + b";a=b" * 2000 + b"\r\na\r\n",
    ),
    "trailers": lambda port: flood(
        port,
        request("PUT /api/appointments/1", JSON, CHUNKED) + b"2\r\n{}\r\n0\r\n",
        b"A: b\r\n",
    ),
    "tiny chunks in many connections": lambda port: drip(
        port, request("PUT /api/appointments/1", JSON, CHUNKED), b"1\r\na\r\n" * 500, 50
    ),
    "huge bodies to nowhere": lambda port: flood(
        port, request("POST /nowhere", HUGE), b"a" * 65536
    ),
    "huge bodies to GET": lambda port: flood(port, request("GET /api/days", HUGE), b"a" * 65536),
    # Heads.
    "unfinished heads": lambda port: drip(port, NEVER_ENDING_HEAD, b"a", 70),
    "short unfinished heads": lambda port: drip(port, NEVER_ENDING_HEAD[:60_000], b"a", 70),
    "entity tags": lambda port: repeat_request(port, request("GET /api/days", lines_of(*TAGS))),
    "fewer entity tags": lambda port: repeat_request(
        port, request("GET /api/days", lines_of(*TAGS, FEW_LINES))
    ),
    "entity tags for a booking": lambda port: repeat_request(
        port, book("x", lines_of(*TAGS, FEW_LINES))
    ),
    "subprotocols": lambda port: repeat_request(
        port, HANDSHAKE[:-2] + lines_of("Sec-WebSocket-Protocol", "a", ",") + b"\r\n"
    ),
    "fewer subprotocols": lambda port: repeat_request(
        port, HANDSHAKE[:-2] + lines_of("Sec-WebSocket-Protocol", "a", ",", FEW_LINES) + b"\r\n"
    ),
    "websocket extensions": lambda port: repeat_request(
        port,
        HANDSHAKE[:-2]
        + lines_of("Sec-WebSocket-Extensions", "permessage-deflate;a=1", ",", FEW_LINES)
        + b"\r\n",
    ),
    "cookies": lambda port: repeat_request(
        port, request("GET /api/days", lines_of("Cookie", "a=b", ";"))
    ),
    "encodings": lambda port: repeat_request(
        port, request("GET /api/days", lines_of("Accept-Encoding", "a", ","))
    ),
    "forwarded for": lambda port: repeat_request(
        port, request("GET /nowhere", lines_of("X-Forwarded-For", "10.0.0.1", ","))
    ),
    "requested headers": lambda port: repeat_request(
        port,
        request(
            "OPTIONS /api/days",
            b"Origin: http://x\r\nAccess-Control-Request-Method: PUT\r\n",
            lines_of("Access-Control-Request-Headers", "a", ",", FEW_LINES),
        ),
    ),
    "many header lines": lambda port: flood(port, GET_DAYS[:-2], b"A: b\r\n"),
    "unfinished bodies": lambda port: drip(
        port,
        request("PUT /api/appointments/1", JSON, b"Content-Length: 102400\r\n") + b" " * 102000,
        b" ",
        70,
    ),
    "nested JSON": lambda port: each_in_turn(port, [put(b"[" * 100_000)]),
    "large JSON": lambda port: each_in_turn(port, [put(b"[" + b"1," * 50_000 + b"1]")]),
    # Requests.
    "lists with a query": lambda port: flood(port, b"", request("GET /api/appointments?a")),
    "bookings on many connections": lambda port: drip(port, b"", book("Ada"), 50),
    "pipelined reads": lambda port: flood(port, b"", GET_DAYS),
    "pipelined reads of nothing": lambda port: flood(port, b"", request("GET /nowhere")),
    "pipelined preflights": lambda port: flood(
        port,
        b"",
        request("OPTIONS /x", b"Origin: http://x\r\nAccess-Control-Request-Method: PUT\r\n"),
    ),
    "responses that nobody reads": lambda port: never_read(
        port, b"", request("GET /api/appointments"), 50
    ),
    "sockets that nobody reads": lambda port: never_read(port, HANDSHAKE, PING_TEXT, 250),
    "upgrades on many connections": lambda port: drip(
        port, b"", request("GET /api/days", b"X: upgrade\r\n"), 100
    ),
    "reads on many connections": lambda port: drip(port, b"", GET_DAYS, 100),
    "compressed lists": lambda port: read_whole_responses(
        port, request("GET /api/appointments", b"Accept-Encoding: gzip\r\n"), 10
    ),
    "listeners": lambda port: listen(port, SOCKETS_PER_PROCESS),
    "bookings": lambda port: each_in_turn(port, [book("Ada"), book("Bob")]),
    "connections": lambda port: repeat_request(port, request("GET /nowhere")),
    "connections that say nothing": lambda port: drip(port, b"", b"", 500),
    "tunnels": lambda port: flood(port, b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", b"a" * 8192),
    "garbage": lambda port: flood(port, b"", os.urandom(8192)),
}


def main(name: str, port: int, seconds: float) -> None:
    """Attack until the time is up."""
    # Ends the process even while the attack blocks.
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()
    print("attacking", flush=True)
    ATTACKS[name](port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
