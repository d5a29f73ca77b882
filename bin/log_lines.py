"""Turn the server's log, one logfmt line per event, into readable lines.

    at=INFO msg=request method=GET path=/api/days status=200 bytes=612 ms=0.4 …
    12:04:31  GET     200     0.4 ms  /api/days

A line that is not logfmt, such as a traceback at start-up, stays as it is.
"""

from __future__ import annotations

import re
import time

_FIELD = re.compile(r'(?:^|\s)(\w+)=("(?:[^"\\]|\\.)*"|\S*)')

# gunicorn's messages at each start and stop. They are hidden, because bin/dev prints its own.
_ROUTINE = re.compile(
    "Starting gunicorn|Listening at|Using worker|Booting worker|Handling signal|Worker exiting"
    "|Shutting down"
)

# SGR parameters (ECMA-48): 2 is dim, 3x a colour.
DIM, RED, GREEN, YELLOW, CYAN = "2", "31", "32", "33", "36"


def render(line: str, *, colour: bool) -> str:
    """Return one line of the log in readable form, with the time. Empty if it is hidden."""
    fields = parse(line)
    if not {"at", "msg"} <= fields.keys():
        return line

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    level, message = fields.pop("at"), fields.pop("msg")
    if level == "INFO" and _ROUTINE.match(message):
        return ""
    fields.pop("request_id", None)
    now = paint(time.strftime("%H:%M:%S"), DIM)
    if message == "request":
        status = paint(fields["status"], _status_colour(fields["status"]))
        duration = paint(f"{fields['ms']:>7} ms", DIM)
        return f"{now}  {fields['method']:<7} {status} {duration}  {fields['path']}"
    trace = fields.pop("exc_info", "").replace("\\n", "\n")
    level_colour = {"WARNING": YELLOW, "INFO": CYAN}.get(level, RED)
    details = paint(" ".join(f"{name}={value}" for name, value in fields.items()), DIM)
    shown = f"{now}  {paint(message, level_colour)}"
    return shown + (f"  {details}" if fields else "") + (f"\n{trace}" if trace else "")


def parse(line: str) -> dict[str, str]:
    """Return the fields of a logfmt line, none for any other line."""
    if not line.startswith("at="):
        return {}
    return {name: _unquote(value) for name, value in _FIELD.findall(line)}


def _unquote(value: str) -> str:
    """Remove quotes. Line breaks stay escaped, so that a client cannot forge a line."""
    return value[1:-1].replace(r"\"", '"') if value.startswith('"') else value


def _status_colour(status: str) -> str:
    if status.startswith("5"):
        return RED
    return YELLOW if status.startswith("4") else GREEN
