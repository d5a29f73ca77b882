"""Install packages into the environment of this Python, and show the progress.

The arguments are those of `pip install`. On a terminal, it shows its progress in one line.
If pip fails, it prints pip's output.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path


def main() -> int:
    """Install, and return pip's exit code."""
    started = time.monotonic()
    _install_pip()
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    # Python compiles a module when it is first imported. Most modules never are.
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


def _install_pip() -> None:
    """Unpack the pip that is bundled with Python.

    This is four seconds faster than `python -m venv`.
    """
    if importlib.util.find_spec("pip"):
        return
    try:
        import ensurepip  # noqa: PLC0415 -- Debian installs it separately
    except ImportError:
        sys.exit("Python lacks ensurepip. On Debian and Ubuntu: apt install python3-venv")
    # Some Linux distributions keep the wheel in a separate folder.
    wheel_folder = sysconfig.get_config_var("WHEEL_PKG_DIR")
    folder = Path(wheel_folder) if wheel_folder else Path(ensurepip.__file__).parent / "_bundled"
    wheels = sorted(folder.glob("pip-*.whl"))
    if wheels:
        with zipfile.ZipFile(wheels[-1]) as wheel:
            wheel.extractall(sysconfig.get_path("purelib"))
    else:
        subprocess.run([sys.executable, "-m", "ensurepip"], check=True)


def _show(text: str) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text[:78]}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
