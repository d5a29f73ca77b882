"""Many clients at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Threads:
    """Runs functions in threads until the block ends; then raises the first error of any."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        def run() -> None:
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001 -- raised again below
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def repeat(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function repeatedly until the block ends."""

        def run() -> None:
            while not self.stopping.is_set():
                function(*arguments)

        self.start(run)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stopping.set()
        self.join()
