"""Temporary folders for sockets and for the data of PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import reaper

# Leaves enough for a folder, another one in it, and PostgreSQL's name for a socket.
LONGEST_PARENT = 50


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder with a short path, and delete it at the end of the block.

    The path of a socket may have 103 bytes on macOS and 107 on Linux, which `tmp_path`
    may exceed. And whenever root starts pytest, pytest denies other users access to the
    folder with all `tmp_path`s, so that a running PostgreSQL, which is not root, fails.
    """
    parent = tempfile.gettempdir()
    if len(parent) > LONGEST_PARENT:
        parent = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=parent))
    folder.chmod(0o755)
    reaper.watch(str(folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        reaper.forget(str(folder))
