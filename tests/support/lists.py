"""The three lists, which are cached."""

from __future__ import annotations

import pytest

PATHS = ["/api/days", "/api/appointments", "/api/interviewers"]
each_path = pytest.mark.parametrize("path", PATHS)
