"""Slow and failing writes, for developing a front end's "Saving" and error screens.

`SAVE_DELAY` delays the response to a write that succeeds. With `TEST_ERROR`, every write
fails with 500 after that delay, and stores nothing.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import InternalServerError


def init_blueprint(bp: Blueprint) -> None:
    """Apply `SAVE_DELAY` and `TEST_ERROR` to the writes of a blueprint."""

    @bp.record
    def register(state: BlueprintSetupState) -> None:
        # Hooks slow down every request, so they are added only if the setting is on.
        if state.app.config["TEST_ERROR"]:
            state.app.before_request_funcs[bp.name].append(_fail)
        if state.app.config["SAVE_DELAY"]:
            state.app.after_request_funcs[bp.name].append(_delay)


def _is_write() -> bool:
    return request.method in {"PUT", "DELETE"}


def _fail() -> None:
    if _is_write():
        time.sleep(current_app.config["SAVE_DELAY"])
        raise InternalServerError("TEST_ERROR is true: every write fails.")


def _delay(response: Response) -> Response:
    if _is_write() and response.status_code < 400:
        time.sleep(current_app.config["SAVE_DELAY"])
    return response
