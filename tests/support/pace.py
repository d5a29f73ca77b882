"""How fast this machine is at the moment, for promises in seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

CORES = 2  # of the machine that the promises assume
SECONDS = 0.4
# As many processes as compete for the cores in a test: two workers, four attackers, a client.
SPINNERS = 7
SPIN = f"""
import sys, time
sys.stdin.readline()
end = time.monotonic() + {SECONDS}
cpu_before = time.process_time()
while time.monotonic() < end:
    pass
print(time.process_time() - cpu_before)
"""


def slowdown() -> float:
    """Return how many times slower this machine is than two idle cores: at least 1.

    Processes spin for a while, and the CPU time that they get is compared with what two
    idle cores would have given them. Whatever else runs on this machine, or on others
    that share its cores, makes it less.
    """
    spinners = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(SPINNERS)
    ]
    for spinner in spinners:
        assert spinner.stdin
        spinner.stdin.write(b"go\n")
        spinner.stdin.flush()
    got = sum(float(spinner.communicate()[0]) for spinner in spinners)
    return max(1.0, CORES * SECONDS / got)


def is_within(seconds: float, limit: float) -> bool:
    """Return whether the time is below the limit, scaled to the speed of this machine.

    Measures this machine only if the limit is exceeded.
    """
    return seconds < limit or seconds < limit * slowdown()


@contextmanager
def within(limit: float) -> Iterator[None]:
    """Check that a block takes less than its limit in seconds, scaled to this machine."""
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    assert is_within(seconds, limit), f"took {seconds:.2f} s"
