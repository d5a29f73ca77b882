"""Facts about processes from the operating system, on Linux and macOS.

Tests that ask are skipped if psutil is not installed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.support import tools


def _psutil() -> Any:
    return tools.package("psutil")


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not waited for does not."""
    psutil = _psutil()
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return bool(status != psutil.STATUS_ZOMBIE)


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    psutil = _psutil()
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def memory(pids: list[int]) -> int:
    """Return the bytes that processes hold in memory."""
    psutil = _psutil()
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def worker_of(pids: Iterable[int], client_port: int) -> int:
    """Return the process that serves the client with this local port."""
    psutil = _psutil()
    for pid in pids:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.raddr and connection.raddr.port == client_port:
                return pid
    raise AssertionError(f"no process serves the client with port {client_port}")


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Freeze processes; they continue at the end of the block."""
    stopped = list(pids)
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
