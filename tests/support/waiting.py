"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until a condition holds; return its value, or fail.

    Checks once more after the time is up: an earlier check may have started long before.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline
        if value := condition():
            return value
        if is_last:
            pytest.fail(f"waited {seconds} s in vain")
        time.sleep(0.02)
