"""The packages of `app/` depend on each other in one direction, and importing them does nothing.

The imports are read from the source, wherever they stand: in a function too.
"""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.project import ROOT

# What each package may import from the application; `app` is app/__init__.py, `create_app`.
MAY_IMPORT = {
    "app": {"api", "cache", "live", "database", "http", "logs", "config"},
    "api": {"database", "http", "logs"},
    "cache": {"database", "http", "logs"},
    "live": {"database", "http", "logs"},
    "server": {"cache", "http", "logs"},
    "database": {"config", "logs"},
    # To map the database's exceptions to responses, and for nothing else.
    "http": {"database.errors", "logs"},
    "logs": {"config"},
    "config": {"setting_parsers"},
    "setting_parsers": set(),
}
SERVERS = {"gunicorn", "gevent", "greenlet"}


def dotted(path: Path) -> str:
    """A module's name as it is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in sorted(ROOT.glob("app/**/*.py"))}
each_module = pytest.mark.parametrize("name", MODULES)


class WithoutTypeChecking(ast.NodeTransformer):
    """Leaves out what is imported for annotations only: it is never executed."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop `if TYPE_CHECKING:`."""
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported_names(path: Path, *, executed_only: bool = False) -> Iterator[str]:
    """Every name that a module imports, with the module that it comes from."""
    tree: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(WithoutTypeChecking().visit(tree) if executed_only else tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.ImportFrom():
                yield from (f".{alias.name}" for alias in node.names)


def imported_modules(name: str, *, executed_only: bool = False) -> set[str]:
    """The modules of the application that one imports."""
    names = imported_names(MODULES[name], executed_only=executed_only)
    imported = {other for other in names if f"{other}.".startswith("app.")}
    return {other if other in MODULES else other.rpartition(".")[0] for other in imported}


def package(name: str) -> str:
    """The part of the application that a module belongs to."""
    return name.split(".")[1] if "." in name else name


@each_module
def test_imports_are_absolute(name: str) -> None:
    assert not [other for other in imported_names(MODULES[name]) if other.startswith(".")]


@each_module
def test_a_package_imports_only_what_it_may(name: str) -> None:
    may_import = MAY_IMPORT[package(name)] | {package(name)}
    forbidden = {
        other
        for other in imported_modules(name)
        if package(other) not in may_import and other.removeprefix("app.") not in may_import
    }
    assert not forbidden


def test_no_modules_import_each_other() -> None:
    graph = {name: imported_modules(name, executed_only=True) - {"app"} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@each_module
def test_only_the_server_package_knows_gunicorn_and_gevent(name: str) -> None:
    if package(name) != "server":
        assert not SERVERS & {other.split(".")[0] for other in imported_names(MODULES[name])}


def test_a_package_is_introduced_by_its_docstring_alone() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name != "app":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{name} has no docstring"
            assert len(tree.body) == 1, f"{name} holds more than a docstring"


# Imports every module and prints each forbidden action.
IMPORT_ALL = """
import importlib, os, sys

FORBIDDEN = (
    "_thread.start_new_thread", "_thread.start_joinable_thread", "os.fork", "os.posix_spawn",
    "subprocess.Popen", "socket.__new__", "socket.bind", "socket.connect", "socket.getaddrinfo",
)

def audit(event, arguments):
    if event in FORBIDDEN and module:
        print(module, event, flush=True)

module = ""
sys.addaudithook(audit)
for name in sys.argv[1:]:
    module = name
    importlib.import_module(name)
module = ""
if os.path.isdir("/proc/self/task"):
    for thread in {*os.listdir("/proc/self/task")} - {str(os.getpid())}:
        print("thread", thread)
"""


def test_importing_connects_to_nothing_and_starts_nothing() -> None:
    # The audit hook does not see libpq, so a listening socket checks that nothing connects.
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        url = f"postgres://nobody@127.0.0.1:{port}/nothing?connect_timeout=1"
        finished = subprocess.run(
            [sys.executable, "-c", IMPORT_ALL, *MODULES],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
        database.setblocking(False)
        with pytest.raises(BlockingIOError):
            database.accept()
