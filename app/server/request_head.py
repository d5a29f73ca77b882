"""Receives the head of a request, at most 64 KiB of it.

After each read, gunicorn's parser searches everything received so far, by default up to
819 kB. A few hundred slow clients could occupy a worker with that. Here each byte is
searched once, and other requests run between reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gunicorn.http.errors import LimitRequestHeaders, NoMoreData

MAX_BYTES = 64 * 1024
# The highest limit of a request line that gunicorn's options allow, except 0 (no limit).
MAX_REQUEST_LINE_BYTES = 8190
END = b"\r\n\r\n"

_bare_line_feed = re.compile(rb"(?<!\r)\n").search


def receive_head(
    receive: Callable[[], bytes], received: bytes, take_turn: Callable[[], None]
) -> bytes:
    """Receive until a head is complete. Returns everything received.

    `receive` returns the next bytes, `received` are the bytes received before, and
    `take_turn` lets other requests run. A malformed head is returned as it is, and gunicorn
    refuses it. Raises `NoMoreData` if the head is incomplete, and `LimitRequestHeaders`
    if it is too large.
    """
    head = bytearray(received)
    searched = 0
    while head.find(END, max(0, searched - len(END))) < 0:
        if _bare_line_feed(head, searched) or (
            len(head) > MAX_REQUEST_LINE_BYTES + 2
            and b"\r\n" not in head[: MAX_REQUEST_LINE_BYTES + 2]
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
