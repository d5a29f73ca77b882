"""A semaphore that threads acquire in the order of arrival.

With `threading.Semaphore`, new threads overtake waiting ones. Under load, some wait
forever.
"""

from __future__ import annotations

import threading
import time
from collections import deque


class FairSemaphore:
    """Admits `count` threads: first those with priority, then in order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def acquire(self, deadline: float, *, has_priority: bool = False) -> None:
        """Wait until admitted. Raises `TimeoutError` after `deadline` (`time.monotonic()`)."""
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
        """Admit the first waiting thread."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
