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
    it required both states at once.
    """
    if_match, if_none_match = (
        request.headers.get(name, "").strip() for name in ("If-Match", "If-None-Match")
    )
    must_be_booked = "If-Match" in request.headers
    has_tags = must_be_booked and if_match != "*"
    return Preconditions(must_be_booked, has_tags or if_none_match == "*")
