"""Apply a document's instructions to a copy of the repository.

A fenced block that names a file is a change to it: `diff` replaces lines, any other
language is the whole new file. A block of `sh` is run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.project import ROOT

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".postgres", ".env", ".env.[!e]*", "__pycache__", ".*_cache", ".hypothesis",
    ".coverage*", "node_modules",
)  # fmt: skip


class GitCheckout:
    """A copy of the repository, under git, which a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for program in ("git", "perl", "ruff"):
            if not shutil.which(program, path=self._path):
                tools.skip(f"needs {program} on PATH")
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)
        (folder / ".venv").symlink_to(sys.prefix)
        self.run("git init -q")
        self.commit()

    def perform(self, document: str, *headings: str) -> None:
        """Apply the sections of a document, block by block."""
        for heading in headings:
            for language, file, block in _blocks(document, heading):
                if language == "sh":
                    self.run(block)
                elif language == "diff":
                    self._change(file, block)
                else:
                    (self.folder / file).write_text(block, encoding="utf-8")
        self.commit()

    def commit(self) -> None:
        who = "-c user.name=Copy -c user.email=copy@example.invalid"
        self.run(f"git add -A && git {who} commit -q --allow-empty -m Copy")

    def run(self, command: str, **environ: str) -> str:
        """Run a shell command in the copy and return its output.

        The test fails if the command does.
        """
        finished = subprocess.run(
            ["sh", "-euc", command],
            cwd=self.folder,
            env={"PATH": self._path, "HOME": str(self.folder), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if finished.returncode:
            pytest.fail(f"{command}\n{finished.stdout}")
        return finished.stdout

    def check(self, arguments: str, database: str) -> None:
        """Run tests of the copy, on this PostgreSQL; takes pytest's arguments."""
        self.run(f"pytest -q -p no:cacheprovider {arguments}", TEST_DATABASE_URL=database)

    def read(self, file: str) -> str:
        return (self.folder / file).read_text(encoding="utf-8")

    def _change(self, file: str, block: str) -> None:
        lines = block.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] != "+")
        new = "".join(line[1:] for line in lines if line[0] != "-")
        text = self.read(file)
        if f"\n{text}".count(f"\n{old}") != 1:
            pytest.fail(f"{file} does not contain these lines exactly once:\n{old}")
        changed = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
        (self.folder / file).write_text(changed, encoding="utf-8")


def _blocks(document: str, heading: str) -> list[tuple[str, str, str]]:
    """Return the language, the file and the text of each fenced block below a heading."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found, f"{document} has no heading {heading!r}"
    return re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", found[1], re.DOTALL | re.MULTILINE)
