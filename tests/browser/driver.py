"""Playwright, or a reason to skip every module that needs it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip the test or module. In CI, which has to have everything, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    skip("playwright is not installed: pip install -r requirements-dev.txt")

__all__ = ["expect", "skip", "sync_playwright"]
