"""Playwright, or a reason to skip every module that needs it."""

from __future__ import annotations

from tests.support import tools

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    tools.skip("needs playwright: pip install -r requirements-dev.txt")

__all__ = ["expect", "sync_playwright"]
