"""What contributors and CI run is what `bin/test` runs, on every version that is supported."""

from __future__ import annotations

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from tests.support import tools
from tests.support.project import ROOT

PYTHONS = {"3.10", "3.11", "3.12", "3.13", "3.14"}
POSTGRES = {"13", "14", "15", "16", "17", "18"}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def parse_yaml(path: str) -> Any:
    yaml = tools.package("yaml")
    return yaml.safe_load(read(path))


@pytest.fixture(scope="module")
def workflow() -> Any:
    return parse_yaml(".github/workflows/test.yml")


def test_ci_runs_every_supported_version(workflow: Any) -> None:
    pairs = workflow["jobs"]["versions"]["strategy"]["matrix"]["include"]
    assert {pair["python"] for pair in pairs} == PYTHONS
    assert {pair["postgres"] for pair in pairs} == POSTGRES
    assert 'requires-python = ">=3.10"' in read("pyproject.toml")
    assert read("runtime.txt").strip().removeprefix("python-") in PYTHONS
    assert "Python 3.10 to 3.14 and PostgreSQL 13 to 18" in " ".join(
        read("CONTRIBUTING.md").split()
    )


def test_ci_runs_the_commands_that_contributors_run(workflow: Any) -> None:
    for job in workflow["jobs"].values():
        (command,) = (step["run"] for step in job["steps"] if "run" in step)
        assert command.split()[0] in {"bin/test", ".ci/run"}
        assert (ROOT / command.split()[0]).is_file()


def test_ci_may_only_read_and_runs_only_pinned_actions(workflow: Any) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), name


def test_commit_hooks_are_the_checks_of_bin_test() -> None:
    (local,) = parse_yaml(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    commands = [
        re.fullmatch(r"\.venv/bin/python -m ((?:ruff )?\w+).*", hook["entry"])
        for hook in local["hooks"]
    ]
    names = [command.group(1) if command else "" for command in commands]
    assert names == re.findall(r"^[^#\n]*\b(ruff \w+|mypy)\b", read("bin/test"), re.MULTILINE)
    for name in names:
        assert re.search(rf"^{name.split()[0]}==", read("requirements-dev.txt"), re.MULTILINE)


def test_dependabot_finds_the_requirements() -> None:
    updates = parse_yaml(".github/dependabot.yml")["updates"]
    folders = {
        folder.strip("/") or "."
        for update in updates
        if update["package-ecosystem"] == "pip"
        for folder in update.get("directories", [update.get("directory")])
    }
    tools.program("git")
    listed = subprocess.run(
        ["git", "ls-files", "*requirements.txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        tools.skip("needs a git checkout")
    assert folders >= {str(Path(path).parent) for path in listed.stdout.split()}


@pytest.mark.parametrize("form", ["bug", "idea"])
def test_an_issue_form_asks_for_something(form: str) -> None:
    described = parse_yaml(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert {"name", "description", "body"} <= described.keys()
    required = [
        field["id"] for field in described["body"] if field.get("validations", {}).get("required")
    ]
    assert required


def test_the_editor_breaks_lines_where_ruff_does() -> None:
    editorconfig = ConfigParser()
    editorconfig.read_string("[DEFAULT]\n" + read(".editorconfig"))
    assert f"line-length = {editorconfig['*.py']['max_line_length']}\n" in read("pyproject.toml")
