"""A counter that every worker process sees: which generation of the data this is.

Memory mapped before the fork, so that a worker knows of another's write before
the writer's client does. Adding one is not atomic between processes, and two
lost in one would be a stale read: each worker has a counter of its own, and all
of them together are the generation. Without gunicorn, one counter serves.
"""

from __future__ import annotations

import mmap
import threading

# gunicorn starts at most 64 workers, and as many again while it reloads.
SLOTS = 192
_BYTES = 8

_memory: bytearray | mmap.mmap = bytearray(_BYTES)
_counters = memoryview(_memory).cast("Q")
_own = 0
_lock = threading.Lock()


def share() -> None:
    """Use memory that processes forked from now on share; keeps what is shared already."""
    global _memory, _counters  # noqa: PLW0603 -- one per process, made before the fork
    if not isinstance(_memory, mmap.mmap):
        _memory = mmap.mmap(-1, SLOTS * _BYTES)
        _counters = memoryview(_memory).cast("Q")


def take(slot: int) -> None:
    """Count in this slot from now on; no other living process may have it."""
    global _own  # noqa: PLW0603 -- known only after the fork
    _own = slot


def current() -> bytes:
    """The generation: equal as long as nothing was changed through this server."""
    return bytes(_memory[:])


def advance() -> None:
    """Tell all processes that the data may have changed."""
    with _lock:
        _counters[_own] += 1
