"""A stream on stdout that never blocks a worker for long.

- A line has at most 4,096 bytes and is written in one system call. A pipe keeps such a
  write in one piece (PIPE_BUF on Linux), so lines of different processes never mix. A
  longer line is cut and marked with `[...]`.
- If the reader of a pipe stops, a worker waits once, for at most 0.1 seconds. It then
  drops lines until the pipe accepts one, and logs their number:
  `at=WARNING msg="log lines dropped" count=1234`. A reader that takes at least 4,096
  bytes in every 0.1 seconds loses none.

stdout stays in blocking mode, because other processes share it. A worker calls `poll`
before it writes: a writable pipe has at least PIPE_BUF free bytes. Several workers may see
the same free bytes, but these are enough for several lines of the usual length.
"""

from __future__ import annotations

import os
import re
import select

STDOUT = 1
MAX_LINE_BYTES = 4096
CUT = "[...]"
# Milliseconds that a worker waits for the reader of a full pipe.
FULL_PIPE_TIMEOUT = 100


class StandardOutput:
    """A stream for log handlers. It writes each line whole, or drops and counts it."""

    def __init__(self) -> None:
        # Created on import, before gevent replaces `select.poll` in a worker.
        self._poll = select.poll()
        self._poll.register(STDOUT, select.POLLOUT)
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write a line, which ends with a newline, in one system call. Never raises."""
        data = line.encode("utf-8", "backslashreplace")
        if len(data) > MAX_LINE_BYTES:
            data = _shorten(data)
        if self._dropped:
            notice = f'at=WARNING msg="log lines dropped" count={self._dropped}\n'
            if not self._write_within(0, notice.encode()):
                self._dropped += 1
                return
            self._dropped = 0
        if not self._write_within(FULL_PIPE_TIMEOUT, data):
            self._dropped += 1

    def flush(self) -> None:
        """Do nothing: `write` has no buffer."""

    def _write_within(self, milliseconds: int, data: bytes) -> bool:
        """Write when stdout accepts data. Returns False if it does not within `milliseconds`."""
        try:
            return bool(self._poll.poll(milliseconds)) and os.write(STDOUT, data) == len(data)
        except OSError:
            return False


def _shorten(line: bytes) -> bytes:
    """Cut a line to the maximum length. It remains logfmt."""
    # Leaves room for the mark, a quotation mark and the newline. Drops an incomplete
    # character, and a backslash that would escape the quotation mark.
    start = line[: MAX_LINE_BYTES - len(CUT) - 8].decode(errors="ignore").rstrip("\\")
    if re.sub(r"\\.", "", start).count('"') % 2:
        return f'{start}{CUT}"\n'.encode()
    if start.endswith('"'):
        return f"{start} cut={CUT}\n".encode()
    before, _, field = start.rpartition(" ")
    # The cut is in an unquoted value, or in a field's name, which is dropped.
    return f"{start if '=' in field else f'{before} cut='}{CUT}\n".encode()


stdout = StandardOutput()
