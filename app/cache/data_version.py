"""A counter that every worker process sees: which generation of the data this is.

Memory mapped before the fork, so that a worker knows of another's write before
the writer's client does. Adding one is not atomic between processes, and two
lost in one would be a stale read: each worker has a counter of its own, and all
of them together are the generation. Without gunicorn, one process has it all.

A change is in the database a moment before it is counted, and one process may see
it in there while another still has the answer from before. So each tells the
others what it saw: nobody is shown the present and then the past.
"""

from __future__ import annotations

import mmap
import threading
import zlib

# gunicorn starts at most 64 workers, and as many again while it reloads.
SLOTS = 192
# The transactions counted last are remembered: the writer and every worker's
# feed all report the same one, and it needs to be counted once.
REMEMBERED = 64
# What was seen last at a path, by each worker: in which generation, where, and what.
PATHS = 32
_SEEN = 3
_WORD = 8
_BYTES = (SLOTS + REMEMBERED + PATHS * SLOTS * _SEEN) * _WORD

_memory: bytearray | mmap.mmap = bytearray(_BYTES)
_words = memoryview(_memory).cast("Q")
_own = 0
_lock = threading.Lock()


def share() -> None:
    """Use memory that processes forked from now on share; keeps what is shared already."""
    global _memory, _words  # noqa: PLW0603 -- one per process, made before the fork
    if not isinstance(_memory, mmap.mmap):
        _memory = mmap.mmap(-1, _BYTES)
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
    _words[SLOTS : SLOTS + REMEMBERED] = memoryview(bytes(REMEMBERED * _WORD)).cast("Q")
    _count()


def agrees(path: str, seen: int, begun_in: bytes) -> bool:
    """Whether all processes that asked for a path since then saw the same there.

    Takes a path, a number that stands for what a query saw (less than 2**64), and
    the generation in which the query was begun. Tells the others; where one has
    seen something else, nothing that was stored before is served any more.
    """
    where = zlib.crc32(path.encode())
    first = SLOTS + REMEMBERED + where % PATHS * SLOTS * _SEEN
    own = first + _own * _SEEN
    with _lock:
        before = _words[own : own + _SEEN].tolist()
        while True:
            now = current()
            # Tell first, then look: of two that do so at once, one finds the other's.
            _words[own], _words[own + 1], _words[own + 2] = _number(now), where, seen
            told = before + _words[first : first + SLOTS * _SEEN].tolist()
            if now == current():
                break
        others = [
            seen_in
            for seen_in, seen_where, other in zip(told[::3], told[1::3], told[2::3], strict=True)
            if seen_where == where and other != seen and seen_in >= _number(begun_in)
        ]
        if others:
            # What is asked again was not seen.
            _words[own], _words[own + 1], _words[own + 2] = before
    if _number(now) in others:
        _count()
    return not others


def _number(generation: bytes) -> int:
    """A number that is higher for each generation than for those before."""
    return sum(memoryview(generation).cast("Q"))


def _count() -> None:
    with _lock:
        _words[_own] += 1
