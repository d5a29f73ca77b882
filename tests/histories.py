"""Decides whether what clients saw of one slot can have happened in some order.

A history is linearizable (Herlihy and Wing, 1990) if each operation can be given
a moment between its call and its return so that, done one after another at these
moments, they answer as they did. The search is Wing and Gong's, with Lowe's
memory of what was tried.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

State = str | None


class Operation(NamedTuple):
    """What one client did to the slot, and how that ended.

    `outcome` is the status of a write, what a read saw, or "unknown": then it may
    have been carried out at any time after the call, or not at all.
    """

    kind: Literal["book", "book free", "edit", "cancel", "read"]
    value: State
    outcome: int | State | Literal["unknown"]
    called_at: float
    returned_at: float


def is_linearizable(history: list[Operation], state: State = None) -> bool:
    """Whether the history of one slot, which starts in `state`, is linearizable."""
    operations = [
        operation._replace(returned_at=math.inf) if operation.outcome == "unknown" else operation
        for operation in history
        if not (operation.kind == "read" and operation.outcome == "unknown")
    ]
    operations.sort(key=lambda operation: operation.called_at)
    # A place in the search: all operations before `first` are done, so are the ones in
    # `done`, and the slot is in `state`.
    to_try: list[tuple[int, frozenset[int], State]] = [(0, frozenset(), state)]
    tried = set(to_try)
    while to_try:
        first, done, state = to_try.pop()
        possible = _possible_next(operations, first, done)
        if all(operations[index].outcome == "unknown" for index in possible):
            # What is left may never have happened.
            return True
        for index in possible:
            after_first, after_done = first, done | {index}
            while after_first in after_done:
                after_done -= {after_first}
                after_first += 1
            for after in _states_after(operations[index], state):
                place = (after_first, after_done, after)
                if place not in tried:
                    tried.add(place)
                    to_try.append(place)
    return False


def _possible_next(operations: list[Operation], first: int, done: frozenset[int]) -> list[int]:
    """The operations that were called before any that is not done had returned."""
    possible = []
    earliest_return = math.inf
    for index in range(first, len(operations)):
        if index in done:
            continue
        if operations[index].called_at > earliest_return:
            break
        possible.append(index)
        earliest_return = min(earliest_return, operations[index].returned_at)
    return possible


def _states_after(operation: Operation, state: State) -> list[State]:
    """The states in which the operation can leave the slot, given how it ended."""
    if operation.kind == "read":
        return [state] if operation.outcome == state else []
    is_refused = (operation.kind == "book free" and state is not None) or (
        operation.kind == "edit" and state is None
    )
    after = None if operation.kind == "cancel" else operation.value
    if operation.outcome == "unknown":
        return [state] if is_refused else [state, after]
    if operation.outcome == 412:
        return [state] if is_refused else []
    return [] if is_refused else [after]
