"""bin/screenshots.py, which takes the README's pictures."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.project import ROOT

LARGEST = 200_000  # bytes of a file, since the pictures are in the repository
SIZES = {"client": (1440, 1122), "client-phone": (585, 1116)}


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Return the pictures of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def take(folder: Path) -> dict[str, bytes]:
    """Take the pictures; return them by name."""
    tools.embedded_postgres_program("postgres")
    command = [sys.executable, "bin/screenshots.py", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return read_pictures(folder)


def assert_complete(pictures: dict[str, bytes]) -> None:
    """Check that they show light and dark on desktop and phone, in the right sizes."""
    sizes = {f"{name}-{scheme}.png": SIZES[name] for name in SIZES for scheme in ("light", "dark")}
    assert pictures.keys() == sizes.keys()
    assert len(set(pictures.values())) == 4
    for name, picture in pictures.items():
        assert picture.startswith(b"\x89PNG\r\n")
        assert struct.unpack(">II", picture[16:24]) == sizes[name]
        assert len(picture) < LARGEST


def test_the_documents_have_every_picture() -> None:
    assert_complete(read_pictures(ROOT / "docs" / "images"))


@pytest.mark.slow
def test_the_pictures_are_complete_and_the_same_every_time(chromium: str, tmp_path: Path) -> None:
    first = take(tmp_path / "first")
    assert_complete(first)
    assert take(tmp_path / "second") == first
