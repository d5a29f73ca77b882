"""Slow and failing writes, for developing a front end's "Saving" and error screens.

`SAVE_DELAY` delays the response to a write that succeeds. With `TEST_ERROR`, every write
fails with 500 after that delay, and stores nothing.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import InternalServerError


def init_blueprint(bp: Blueprint) -> None:
    """Apply `SAVE_DELAY` and `TEST_ERROR` to the writes of a blueprint."""
    bp.before_request(_fail)
    bp.after_request(_delay)


def _is_write() -> bool:
    return request.method in {"PUT", "DELETE"}


def _fail() -> None:
    if current_app.config["TEST_ERROR"] and _is_write():
        time.sleep(current_app.config["SAVE_DELAY"])
        raise InternalServerError("TEST_ERROR is true: every write fails.")


def _delay(response: Response) -> Response:
    if current_app.config["SAVE_DELAY"] and _is_write() and response.status_code < 400:
        time.sleep(current_app.config["SAVE_DELAY"])
    return response
