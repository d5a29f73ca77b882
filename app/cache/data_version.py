"""The data version: it changes with every commit. A cached response is valid for one version.

Each worker process has two counters in shared memory: commits begun and commits
finished. The *begun* counters of all workers together are the version. Two rules make
cached responses linearizable among the workers of one gunicorn:

- A worker counts a commit as begun before it sends `COMMIT`. So the version changes
  before the new data becomes visible.
- A response is cached only if no commit was in flight when its query started
  (`Version.is_settled`), and served only while the version is the same.

Each worker has its own counters, because incrementing is not atomic between processes.
gunicorn.conf.py imports this module before the first fork, so all workers share the memory.
"""

from __future__ import annotations

import mmap
import threading
from typing import NamedTuple

MAX_WORKERS = 64
# There are more indexes: during a reload, old and new workers run at the same time.
WORKER_INDEXES = 3 * MAX_WORKERS
# The writer and every worker's change listener report the same transaction. It is counted
# once, as long as it is among the remembered ones.
_REMEMBERED = 64
_WORD = 8

_BEGUN = slice(0, WORKER_INDEXES * _WORD)
_FINISHED = slice(_BEGUN.stop, 2 * _BEGUN.stop)
_TRANSACTIONS = slice(_FINISHED.stop, _FINISHED.stop + _REMEMBERED * _WORD)

_memory = mmap.mmap(-1, _TRANSACTIONS.stop)
_begun, _finished, _transactions = (
    memoryview(_memory)[part].cast("Q") for part in (_BEGUN, _FINISHED, _TRANSACTIONS)
)
_index = 0
_lock = threading.Lock()


class Version(NamedTuple):
    """The version at one moment. It is settled if no commit was in flight."""

    value: bytes
    is_settled: bool


def take_over(index: int) -> None:
    """Use the counters of a worker index that no running worker uses."""
    global _index  # noqa: PLW0603 -- known only after the fork
    _index = index


def settle_counters(index: int) -> None:
    """Count all commits of a worker that has exited as finished.

    If it was killed during a COMMIT, that commit may still become visible. So all
    transactions are forgotten: the commit's notification will change the version.
    """
    forget_transactions()
    _finished[index] = _begun[index]


def current() -> bytes:
    """Return the version as bytes. They change whenever a commit begins."""
    return _memory[_BEGUN]


def read() -> Version:
    """Return the version. Call this before a query whose response may be cached."""
    value = current()
    # Comparing the copy detects a commit that begins and finishes in between.
    return Version(value, value == _memory[_FINISHED])


def commit_begun(transaction_id: int) -> None:
    """Count a commit as begun. Call this immediately before sending `COMMIT`."""
    with _lock:
        _begun[_index] += 1
    # Not earlier: a worker that finds the id here does not count the transaction again.
    _transactions[transaction_id % _REMEMBERED] = transaction_id


def commit_finished() -> None:
    """Count a commit as finished. Call this when its outcome is known."""
    with _lock:
        _finished[_index] += 1


def commit_abandoned(transaction_id: int) -> None:
    """Count a commit as finished although its outcome is unknown.

    It may still become visible. So the transaction is forgotten: its notification will change
    the version.
    """
    _transactions[transaction_id % _REMEMBERED] = 0
    commit_finished()


def record_change(transaction_id: int | None = None) -> None:
    """Count a change that is already visible, once for each transaction id."""
    if transaction_id is not None and _transactions[transaction_id % _REMEMBERED] == transaction_id:
        return
    with _lock:
        _begun[_index] += 1
        _finished[_index] += 1
    if transaction_id is not None:
        _transactions[transaction_id % _REMEMBERED] = transaction_id


def forget_transactions() -> None:
    """Forget all transactions: another PostgreSQL server may use the same ids."""
    _memory[_TRANSACTIONS] = bytes(_REMEMBERED * _WORD)
