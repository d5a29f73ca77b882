"""bin/screenshots.py, which takes the README's pictures."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from tests.support import tools
from tests.support.project import ROOT

LARGEST = 200_000  # bytes of a file, since the pictures are in the repository


def test_the_screenshots_are_the_same_every_time(chromium: str, tmp_path: Path) -> None:
    tools.embedded_postgres_program("postgres")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        command = [sys.executable, "bin/screenshots.py", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    first, second = ({path.name: path.read_bytes() for path in each.iterdir()} for each in folders)
    assert sorted(first) == sorted(path.name for path in (ROOT / "docs" / "images").iterdir())
    assert first == second
    assert len(set(first.values())) == 4  # light and dark, desktop and phone
    for picture in first.values():
        assert len(picture) < LARGEST
        width, height = struct.unpack(">II", picture[16:24])
        assert (width, height) in {(1440, 1122), (585, 1116)}
