"""A semaphore that is acquired in the order of arrival.

`threading.Semaphore` lets a newcomer overtake those who wait: under load, somebody
waits forever.
"""

from __future__ import annotations

import threading
import time
from collections import deque


class FairSemaphore:
    """At most `count` holders at once: first those with priority, then in order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def acquire(self, deadline: float, *, has_priority: bool = False) -> None:
        """Acquire it; raises `TimeoutError` if that takes longer than until `deadline`.

        The deadline is a moment of `time.monotonic()`.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            handed_over = threading.Event()
            if has_priority:
                self._waiting.appendleft(handed_over)
            else:
                self._waiting.append(handed_over)
        try:
            if handed_over.wait(max(0.0, deadline - time.monotonic())):
                return
            raise TimeoutError
        except BaseException:
            with self._lock:
                is_waiting = handed_over in self._waiting
                if is_waiting:
                    self._waiting.remove(handed_over)
            if not is_waiting:
                self.release()
            raise

    def release(self) -> None:
        """Hand it over to the first who waits."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
