"""How bin/dev shows the server's log."""

from __future__ import annotations

import re

import pytest

from bin.log_lines import render


def shown(line: str, *, colour: bool = False) -> str:
    """A line as it is shown, without the time of day."""
    time_of_day, _, rest = render(line, colour=colour).partition("  ")
    assert re.fullmatch(r"(\x1b\[2m)?\d\d:\d\d:\d\d(\x1b\[0m)?", time_of_day)
    return rest


def request(status: int) -> str:
    return (
        f"at=INFO msg=request method=PUT path=/api/appointments/1 status={status} bytes=140 "
        "ms=6.0 client=127.0.0.1 request_id=72289130c798e65a7aa2f40e3cab9d00"
    )


def test_a_request_is_a_line_of_columns() -> None:
    assert shown(request(204)) == "PUT     204     6.0 ms  /api/appointments/1"


@pytest.mark.parametrize(("status", "code"), [(200, 32), (304, 32), (412, 33), (503, 31)])
def test_the_colour_says_whether_it_went_well(status: int, code: int) -> None:
    assert f"\x1b[{code}m{status}\x1b[0m" in shown(request(status), colour=True)


def test_an_event_has_its_details_without_the_request_id() -> None:
    line = 'at=WARNING msg="database unavailable" error="relation \\"days\\" is gone" request_id=1'
    assert shown(line) == 'database unavailable  error=relation "days" is gone'


def test_a_traceback_has_its_lines_again() -> None:
    line = r'at=ERROR msg="unexpected error" exc_info="Traceback:\n  File \"x\"\nValueError"'
    assert shown(line) == 'unexpected error\nTraceback:\n  File "x"\nValueError'


def test_a_client_cannot_forge_a_line() -> None:
    line = request(404).replace("/api/appointments/1", r'"/x\n12:00:00  GET 200"')
    assert "\n" not in shown(line)


def test_routine_is_left_out() -> None:
    assert render('at=INFO msg="Booting worker with pid: 5"', colour=False) == ""
    assert "Booting" in render('at=ERROR msg="Booting worker failed"', colour=False)


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):", '  File "x"', "at=x"])
def test_what_is_not_logfmt_stays_as_it_is(line: str) -> None:
    assert render(line, colour=True) == line
