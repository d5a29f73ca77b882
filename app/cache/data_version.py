"""The data version: shared memory that says whether a cached response is current.

Every worker process has two counters in memory mapped before the fork: commits
begun and commits finished. The *begun* counters of all workers together are the
version. Two rules make cached responses linearizable on one machine:

- A worker counts a commit as begun before it sends `COMMIT`. So the version has
  changed before anybody can see the new data.
- A response is cached only if no commit was in flight when its query started
  (`Version.is_settled`), and served only while the version is still the same.

A counter per worker, because adding one is not atomic between processes.
Without gunicorn there is one process, and the memory is its own.
"""

from __future__ import annotations

import mmap
import threading
from typing import NamedTuple

# gunicorn.conf.py allows 64 workers. A reload runs old and new ones side by side.
MAX_WORKERS = 64
WORKER_INDEXES = 3 * MAX_WORKERS
# The writer and every worker's listener report the same transaction. It counts once
# while it is among the last ones remembered.
_REMEMBERED = 64
_WORD = 8

_BEGUN = slice(0, WORKER_INDEXES * _WORD)
_FINISHED = slice(_BEGUN.stop, 2 * _BEGUN.stop)
_TRANSACTIONS = slice(_FINISHED.stop, _FINISHED.stop + _REMEMBERED * _WORD)

_memory: bytearray | mmap.mmap = bytearray(_TRANSACTIONS.stop)
_begun, _finished, _transactions = (
    memoryview(_memory)[part].cast("Q") for part in (_BEGUN, _FINISHED, _TRANSACTIONS)
)
_index = 0
_lock = threading.Lock()


class Version(NamedTuple):
    """The version at one moment, and whether no commit was in flight then."""

    begun: bytes
    is_settled: bool


def share() -> None:
    """Move the counters to memory that processes forked from now on share.

    A second call changes nothing: workers started after a reload use the same memory.
    """
    global _memory, _begun, _finished, _transactions  # noqa: PLW0603 -- set once, before the fork
    if not isinstance(_memory, mmap.mmap):
        _memory = mmap.mmap(-1, _TRANSACTIONS.stop)
        _begun, _finished, _transactions = (
            memoryview(_memory)[part].cast("Q") for part in (_BEGUN, _FINISHED, _TRANSACTIONS)
        )


def take_over(index: int) -> None:
    """Use the counters of this worker index from now on; no living worker may have it.

    A worker that was killed during a commit leaves the index unsettled. Its commit
    may still become visible, so its notification has to count.
    """
    global _index  # noqa: PLW0603 -- known only after the fork
    _index = index
    forget_transactions()
    _finished[index] = _begun[index]


def begun() -> bytes:
    """The version as bytes: equal as long as no commit has begun."""
    return bytes(_memory[_BEGUN])


def current() -> Version:
    """The version, to be taken before a query whose response may be cached."""
    version = begun()
    # Compared with the copy: a commit that begins in between has to make a difference.
    return Version(version, version == _memory[_FINISHED])


def commit_begun(transaction_id: int) -> None:
    """Count a commit; call it immediately before `COMMIT` is sent."""
    with _lock:
        _begun[_index] += 1
    # After counting: a worker that finds the transaction here does not count it again.
    _transactions[transaction_id % _REMEMBERED] = transaction_id


def commit_finished() -> None:
    """The outcome of a commit that was begun is known."""
    with _lock:
        _finished[_index] += 1


def commit_abandoned(transaction_id: int) -> None:
    """The outcome of a commit that was begun stays unknown.

    It may become visible later, so its notification has to count.
    """
    _transactions[transaction_id % _REMEMBERED] = 0
    commit_finished()


def changed(transaction_id: int | None = None) -> None:
    """Count a change that is visible already, once for each transaction id."""
    if transaction_id is not None and _transactions[transaction_id % _REMEMBERED] == transaction_id:
        return
    with _lock:
        _finished[_index] += 1
        _begun[_index] += 1
    if transaction_id is not None:
        _transactions[transaction_id % _REMEMBERED] = transaction_id


def forget_transactions() -> None:
    """Forget the remembered transactions: another server may use the same ids again."""
    _transactions[:] = memoryview(bytes(_REMEMBERED * _WORD)).cast("Q")
