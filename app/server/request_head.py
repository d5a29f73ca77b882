"""Receives the head of a request, at most 64 kB of it.

gunicorn's parser searches everything received so far after each read, and by
default accepts 819 kB: a few hundred clients that send slowly could occupy a
worker. Here each byte is searched once, and other requests run between reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gunicorn.http.errors import LimitRequestHeaders, NoMoreData

MAX_BYTES = 64 * 1024
# gunicorn's limit for the request line.
MAX_LINE_BYTES = 8190
END = b"\r\n\r\n"

_bare_line_feed = re.compile(rb"(?<!\r)\n").search


def receive_head(
    receive: Callable[[], bytes], received: bytes, take_turn: Callable[[], None]
) -> bytes:
    """Receive until a head is complete; return everything received, b"" at the end.

    Args: a function that receives the next bytes, what was received before, and a
    function that lets other requests run. A head that will never be complete is returned
    for gunicorn to refuse. Raises `NoMoreData` if it is cut off, and
    `LimitRequestHeaders` if it is too large.
    """
    received = received or receive()
    if not received or END in received:
        return received
    head = bytearray(received)
    searched = 0
    while head.find(END, max(0, searched - len(END))) < 0:
        if _bare_line_feed(head, searched) or (
            len(head) > MAX_LINE_BYTES + 2 and b"\r\n" not in head[: MAX_LINE_BYTES + 2]
        ):
            break
        if len(head) > MAX_BYTES:
            raise LimitRequestHeaders(f"more than {MAX_BYTES} bytes")
        searched = len(head)
        take_turn()
        more = receive()
        if not more:
            raise NoMoreData
        head += more
    return bytes(head)
