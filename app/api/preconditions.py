"""The preconditions of a write: `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

An appointment has no entity tag. `*` stands for "is booked".
"""

from __future__ import annotations

from typing import NamedTuple

from flask import request


class Preconditions(NamedTuple):
    """The state of the appointment that a request requires."""

    must_be_booked: bool
    must_be_free: bool


def read() -> Preconditions:
    """Return what the request's `If-Match` and `If-None-Match` require.

    A list of tags in `If-None-Match` always passes. A list in `If-Match` always fails, as if
    it required both states.
    """
    environ = request.environ
    must_be_booked = "HTTP_IF_MATCH" in environ
    has_tags = must_be_booked and environ["HTTP_IF_MATCH"].strip() != "*"
    has_star = environ.get("HTTP_IF_NONE_MATCH", "").strip() == "*"
    return Preconditions(must_be_booked, must_be_free=has_tags or has_star)
