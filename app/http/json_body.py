"""Reads the JSON of a request's body, whatever the client does to it.

A body is UTF-8 JSON of at most 100 kB (as the original's parser has it); every
other one is refused with the status that says why.
"""

from __future__ import annotations

import json
from typing import NoReturn

from flask import request
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

MAX_BYTES = 100 * 1024


def read() -> object:
    """Give the current request's body as Python values.

    Numbers that no integer column holds come as floats. Raises the `HTTPException`
    for 400, 408, 413 or 415.
    """
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    body = _read_bytes()
    if not body:
        raise BadRequest("The body is empty; send JSON.")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_int=_number)
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None


def _read_bytes() -> bytes:
    declared = request.content_length
    if declared is not None and declared > MAX_BYTES:
        raise RequestEntityTooLarge(f"A body may have at most {MAX_BYTES} bytes.")
    try:
        body = request.environ["wsgi.input"].read(MAX_BYTES + 1 if declared is None else declared)
    except TimeoutError:
        raise RequestTimeout("The body did not arrive in time.") from None
    except (OSError, ValueError):
        raise BadRequest("The body's transfer encoding is broken.") from None
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge(f"A body may have at most {MAX_BYTES} bytes.")
    if declared is not None and len(body) < declared:
        raise ClientDisconnected("The body is shorter than its Content-Length.")
    return bytes(body)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _number(digits: str) -> int | float:
    # Python refuses to make an int of thousands of digits; a float becomes infinity.
    return int(digits) if len(digits) < 20 else float(digits)
