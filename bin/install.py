"""Installs packages with pip, and shows how far it is: the arguments are those of `pip install`.

On a terminal one line that changes; elsewhere a line at the end. What pip said is
shown if it fails.
"""

import re
import subprocess
import sys
import time


def main() -> int:
    """Install. Returns pip's exit code."""
    started = time.monotonic()
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    # Bytecode is made when a module is first imported; most of them never are.
    pip += ["--no-compile", "--progress-bar=off", *sys.argv[1:]]
    process = subprocess.Popen(
        pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    said = []
    count = 0
    for line in process.stdout or ():
        said.append(line)
        if re.match(r"\s*(Collecting|Processing|Downloading|Using cached|Installing) ", line):
            count += line.startswith(("Collecting", "Processing"))
            _show(f"  {count} packages: {line.strip()}")
    _show("")
    if process.wait() != 0:
        sys.stderr.write("".join(said))
    else:
        print(f"Done in {time.monotonic() - started:.0f} s.")
    return process.returncode


def _show(text: str) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text[:78]}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
