"""The log line of a request."""

from __future__ import annotations

from app.logs.records import Formatter
from app.logs.stdout import CUT, stdout

# Maximum characters of values from clients. Only hostile requests exceed them.
MAX_METHOD = 32
MAX_TARGET = 1024
MAX_CLIENT = 64
MAX_REQUEST_ID = 128


def client_address(forwarded_for: str | None, peer: str) -> str:
    """Return the last address in `X-Forwarded-For`, or else the connection's peer.

    Heroku's router appends the last address. A client can forge the others, and without a
    proxy all of them.
    """
    if not forwarded_for:
        return peer
    return forwarded_for[forwarded_for.rfind(",") + 1 :].strip() or peer


def write(
    *,
    method: str,
    target: str,
    status: int,
    length: int,
    seconds: float,
    client: str,
    request_id: str,
) -> None:
    """Log a request and its response. Never raises.

    `length` is the size of the response's body in bytes, `client` is the result of
    `client_address`. Bypasses `logging`, which takes ten times as long.
    """
    stdout.write(
        f"at=INFO msg=request method={_quote(method, MAX_METHOD)}"
        f" path={_quote(target, MAX_TARGET)} status={status} bytes={length}"
        f" ms={seconds * 1000:.1f} client={_quote(client, MAX_CLIENT)}"
        f" request_id={_quote(request_id, MAX_REQUEST_ID)}\n"
    )


def _quote(value: str, max_length: int) -> str:
    if len(value) > max_length:
        value = value[:max_length] + CUT
    return Formatter.format_string(value)
