"""Tests that need what a machine lacks are skipped, with a reason; in CI they fail."""

from __future__ import annotations

import re

import pytest

from tests.support import tools
from tests.support.project import ROOT


def test_without_a_program_or_package_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs no-such-program or neither on PATH"):
        tools.program("no-such-program", "neither")
    with pytest.raises(pytest.skip.Exception, match="needs no_such_package: pip install"):
        tools.package("no_such_package")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs no-such-program on PATH; with CI set"):
        tools.program("no-such-program")


def test_no_test_is_skipped_in_another_way() -> None:
    # Tests that need root may be skipped.
    skips = r"pytest\.(mark\.skip|mark\.skipif|skip|importorskip)\("
    by_itself = re.compile(skips + r"(?!\"needs root|os\.geteuid\(\) != 0,)")
    files = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("tests/**/*.py")
        if by_itself.search(path.read_text(encoding="utf-8"))
    ]
    assert files == ["tests/support/tools.py"]
