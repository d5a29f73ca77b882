"""A semaphore that threads acquire in the order of arrival, those with priority first.

With `threading.Semaphore`, new threads overtake waiting ones. Under load, some wait
forever.
"""

from __future__ import annotations

import threading
import time
from collections import deque


class FairSemaphore:
    """Admits `count` threads: first those with priority, each group in order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._with_priority: deque[threading.Event] = deque()
        self._without_priority: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def acquire(self, deadline: float, *, has_priority: bool = False) -> None:
        """Wait until admitted. Raises `TimeoutError` after `deadline` (`time.monotonic()`)."""
        queue = self._with_priority if has_priority else self._without_priority
        with self._lock:
            if self._free:
                self._free -= 1
                return
            admitted = threading.Event()
            queue.append(admitted)
        try:
            if admitted.wait(max(0.0, deadline - time.monotonic())):
                return
            raise TimeoutError
        except BaseException:
            with self._lock:
                is_waiting = admitted in queue
                if is_waiting:
                    queue.remove(admitted)
            if not is_waiting:
                self.release()
            raise

    def release(self) -> None:
        """Admit the first waiting thread."""
        with self._lock:
            if queue := self._with_priority or self._without_priority:
                queue.popleft().set()
            else:
                self._free += 1
