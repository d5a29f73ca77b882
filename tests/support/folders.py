"""Temporary folders for sockets and for the data of PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder with a short path, and delete it at the end of the block.

    A socket's path has at most 103 bytes on macOS, 107 on Linux. And whenever root
    starts pytest, pytest closes the folder that holds its `tmp_path`s to other users;
    PostgreSQL, which does not run as root, loses what it has there.
    """
    root = "/tmp" if Path("/tmp").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="scheduler-test-", dir=root))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
