"""How fast this machine is at the moment, for promises that count seconds."""

from __future__ import annotations

import subprocess
import sys

CORES = 2  # those of the machine that the promises speak of
SECONDS = 0.4
# Two workers, four attackers and a client: as many processes as want the cores in a test.
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
    """How many times slower it is than two idle cores: at least 1.

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
