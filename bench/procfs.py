"""What the kernel knows of processes: their CPU time, their memory, who listens (/proc)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"


class Stat(NamedTuple):
    """What /proc/<pid>/stat says of a process (proc(5))."""

    parent: int
    cpu_seconds: float


def parent(pid: int) -> int:
    """The process that started this one."""
    return _stat(pid).parent


def children(pid: int) -> list[int]:
    """The processes that this one started and that still run."""
    return [child for child, stat in _stats().items() if stat.parent == pid]


def tree(root: int) -> dict[int, Stat]:
    """A process and all its descendants."""
    stats = _stats()
    found = {root: stats[root]} if root in stats else {}
    waiting = list(found)
    while waiting:
        pid = waiting.pop()
        for child, stat in stats.items():
            if stat.parent == pid and child not in found:
                found[child] = stat
                waiting.append(child)
    return found


def cpu_seconds(root: int) -> float:
    """The CPU time that a process and its descendants, also the ended ones, have used."""
    return sum(stat.cpu_seconds for stat in tree(root).values())


def memory_bytes(root: int) -> int:
    """The memory of a process and its descendants; what several share is counted once (PSS)."""
    total = 0
    for pid in tree(root):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def listener(port: int) -> int:
    """The process that listens on a TCP port; of several, the one that started the others.

    Raises `LookupError` where none is found, as for another user's processes.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    holders = set()
    for descriptors in PROC.glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in descriptors.iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        holders.add(int(descriptors.parent.name))
    for pid in sorted(holders):
        if parent(pid) not in holders:
            return pid
    raise LookupError(f"no process of ours listens on port {port}")


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        for line in (PROC / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _stats() -> dict[int, Stat]:
    stats = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            stats[int(folder.name)] = _stat(int(folder.name))
    return stats


def _stat(pid: int) -> Stat:
    # The program's name, in parentheses, may hold blanks.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    # Its own time, in the program and in the kernel, and that of its ended children.
    return Stat(int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_SECOND)
