"""Slow and failing writes, for front ends that want to see their screens for them.

`SAVE_DELAY` delays the response to a write that succeeds. `TEST_ERROR` makes every
write fail with 500, and stores nothing.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import InternalServerError


def init_blueprint(bp: Blueprint) -> None:
    """Simulate trouble with the writes of a blueprint, if the settings ask for it."""
    bp.before_request(_fail)
    bp.after_request(_delay)


def _is_write() -> bool:
    return request.method in {"PUT", "DELETE"}


def _fail() -> None:
    if current_app.config["TEST_ERROR"] and _is_write():
        time.sleep(current_app.config["SAVE_DELAY"])
        raise InternalServerError("TEST_ERROR is set: every write fails.")


def _delay(response: Response) -> Response:
    if current_app.config["SAVE_DELAY"] and _is_write() and response.status_code < 400:
        time.sleep(current_app.config["SAVE_DELAY"])
    return response
