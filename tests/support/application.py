"""Applications in this process."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

MakeApp = Callable[..., Flask]
MakeClient = Callable[..., FlaskClient]
