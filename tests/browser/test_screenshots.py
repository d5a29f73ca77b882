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


def take(folder: Path) -> dict[str, bytes]:
    """Take the pictures; return them by name."""
    tools.embedded_postgres_program("postgres")
    command = [sys.executable, "bin/screenshots.py", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_the_screenshots_are_the_same_every_time(chromium: str, tmp_path: Path) -> None:
    assert take(tmp_path / "first") == take(tmp_path / "second")


def test_the_screenshots_show_light_and_dark_on_desktop_and_phone(
    chromium: str, tmp_path: Path
) -> None:
    pictures = take(tmp_path)
    assert sorted(pictures) == sorted(path.name for path in (ROOT / "docs" / "images").iterdir())
    assert len(set(pictures.values())) == 4
    for picture in pictures.values():
        assert len(picture) < LARGEST
        width, height = struct.unpack(">II", picture[16:24])
        assert (width, height) in {(1440, 1122), (585, 1116)}
