"""A counter that every worker process sees: which generation of the data this is.

Memory mapped before the fork, so that a worker knows of another's write before
the writer's client does. Adding one is not atomic between processes, and two
lost in one would be a stale read: each worker has a counter of its own, and all
of them together are the generation. Without gunicorn, one process has it all.
"""

from __future__ import annotations

import mmap
import threading

# gunicorn starts at most 64 workers, and as many again while it reloads.
SLOTS = 192
# The transactions counted last are remembered: the writer and every worker's
# feed all report the same one, and it needs to be counted once.
REMEMBERED = 64
_WORD = 8

_memory: bytearray | mmap.mmap = bytearray((SLOTS + REMEMBERED) * _WORD)
_words = memoryview(_memory).cast("Q")
_own = 0
_lock = threading.Lock()


def share() -> None:
    """Use memory that processes forked from now on share; keeps what is shared already."""
    global _memory, _words  # noqa: PLW0603 -- one per process, made before the fork
    if not isinstance(_memory, mmap.mmap):
        _memory = mmap.mmap(-1, (SLOTS + REMEMBERED) * _WORD)
        _words = memoryview(_memory).cast("Q")


def take(slot: int) -> None:
    """Count in this slot from now on; no other living process may have it."""
    global _own  # noqa: PLW0603 -- known only after the fork
    _own = slot


def current() -> bytes:
    """The generation: equal as long as no change was reported."""
    return bytes(_memory[: SLOTS * _WORD])


def advance(transaction_id: int | None = None) -> None:
    """Tell all processes that data may have changed, by this transaction if it is known."""
    if transaction_id is None:
        _count()
        return
    cell = SLOTS + transaction_id % REMEMBERED
    if _words[cell] != transaction_id:
        _count()
        # Only now: whoever finds it here relies on its having been counted.
        _words[cell] = transaction_id


def forget() -> None:
    """Remember no transaction: another server's may have the same ids."""
    _words[SLOTS:] = memoryview(bytes(REMEMBERED * _WORD)).cast("Q")
    _count()


def _count() -> None:
    with _lock:
        _words[_own] += 1
