"""Decides whether what clients saw of one appointment is linearizable.

A history is linearizable (Herlihy and Wing, 1990) if each operation can be given
a moment between its call and its return so that, executed one after another at these
moments, they have the same outcomes. The search is Wing and Gong's, with Lowe's
memory of what was tried. Operations with an unknown outcome multiply the orders to
try, so the search tries them last, and only one of those that are equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

State = str | None

# Operations that change nothing.
READS = {"read", "count"}


class Operation(NamedTuple):
    """What one client did to the appointment, and the outcome.

    `outcome` is the status of a write, what a read saw, whether a count of the free
    appointments counted it, or "unknown": then the write may have been carried out at any
    time after the call, or not at all.
    """

    kind: Literal["book", "book free", "edit", "cancel", "read", "count"]
    value: State
    outcome: int | State | bool | Literal["unknown"]
    called_at: float
    returned_at: float


class Place(NamedTuple):
    """A place in the search.

    `first` and `done` are indexes into the operations with a known outcome: all before
    `first`, and those in `done`, have been ordered. `carried_out` are indexes into those
    with an unknown outcome.
    """

    first: int
    done: frozenset[int]
    state: State
    carried_out: frozenset[int]


def is_linearizable(history: list[Operation], state: State = None) -> bool:
    """Return whether the history of one appointment, which starts in `state`, is linearizable."""
    seen = {operation.outcome for operation in history if operation.kind == "read"}
    operations = sorted(
        (
            # Students that no read shows are interchangeable.
            operation if operation.value in seen else operation._replace(value="unseen")
            for operation in history
        ),
        key=lambda operation: operation.called_at,
    )
    known = [operation for operation in operations if operation.outcome != "unknown"]
    unknown = [
        operation
        for operation in operations
        if operation.outcome == "unknown" and operation.kind not in READS
    ]
    tried: dict[tuple[int, frozenset[int], State], list[frozenset[int]]] = defaultdict(list)
    ways = [iter([Place(0, frozenset(), state, frozenset())])]
    while ways:
        place = next(ways[-1], None)
        if place is None:
            ways.pop()
            continue
        if place.first == len(known):
            # The writes that are left may never have been executed.
            return True
        before = tried[place.first, place.done, place.state]
        # Skip this place if it was reached before with a subset of these carried out.
        if not any(carried_out <= place.carried_out for carried_out in before):
            before.append(place.carried_out)
            ways.append(_next_places(place, known, unknown))
    return False


def _next_places(place: Place, known: list[Operation], unknown: list[Operation]) -> Iterator[Place]:
    possible = _possible_next(known, place.first, place.done)
    after = {index: _states_after(known[index], place.state) for index in possible}
    for index in possible:
        changes_nothing = known[index].kind in READS or known[index].outcome == 412
        if changes_nothing and after[index]:
            # Ordering it now rules nothing out.
            yield _with_done(place, index, place.state)
            return
    for index in possible:
        for state in after[index]:
            yield _with_done(place, index, state)
    earliest_return = min(known[index].returned_at for index in possible)
    alike = set()
    for index, operation in enumerate(unknown):
        if operation.called_at > earliest_return:
            break
        # Of two equal operations, the one called first can replace the other.
        if index not in place.carried_out and (operation.kind, operation.value) not in alike:
            alike.add((operation.kind, operation.value))
            for state in _states_after(operation, place.state):
                yield place._replace(state=state, carried_out=place.carried_out | {index})


def _with_done(place: Place, index: int, state: State) -> Place:
    first, done = place.first, place.done | {index}
    while first in done:
        done -= {first}
        first += 1
    return place._replace(first=first, done=done, state=state)


def _possible_next(operations: list[Operation], first: int, done: frozenset[int]) -> list[int]:
    """Return the operations that were called before any pending one had returned."""
    possible = []
    earliest_return = operations[first].returned_at
    for index in range(first, len(operations)):
        if index in done:
            continue
        if operations[index].called_at > earliest_return:
            break
        possible.append(index)
        earliest_return = min(earliest_return, operations[index].returned_at)
    return possible


def _states_after(operation: Operation, state: State) -> list[State]:
    """Return the state after the operation, or nothing if it is impossible in this state."""
    if operation.kind == "read":
        return [state] if operation.outcome == state else []
    if operation.kind == "count":
        return [state] if operation.outcome == (state is None) else []
    is_refused = (operation.kind == "book free" and state is not None) or (
        operation.kind == "edit" and state is None
    )
    if operation.outcome == 412:
        return [state] if is_refused else []
    if is_refused:
        return []
    return [None if operation.kind == "cancel" else operation.value]
