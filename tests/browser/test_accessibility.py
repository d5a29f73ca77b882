"""axe-core, which checks the rules of WCAG that a program can check, finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from tests.browser.driver import expect
from tests.browser.window import PHONE, Open, Window
from tests.support import tools
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.server import Serve, Server

axe = tools.package("axe_playwright_python.sync_playwright")
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]


def assert_accessible(one: Window) -> None:
    """Check every rule of axe, in light and dark."""
    for scheme in SCHEMES:
        one.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        results = axe.Axe().run(one.page, options={})
        assert len(results.response["passes"]) > 10
        assert not results.response["violations"], results.generate_report()


def form(one: Window) -> None:
    one.press("1pm", "Book")
    one.appointment("1pm").get_by_label("Tori Malcolm").check()


def rejected_fields(one: Window) -> None:
    one.press("1pm", "Book")
    one.press("1pm", "Save")
    expect(one.appointment("1pm")).to_contain_text("Choose an interviewer.")
    one.expect_trouble(r"console: .* 422")


def confirm(one: Window) -> None:
    one.press("12pm", "Cancel")
    expect(one.button("12pm", "Keep it")).to_be_visible()


@pytest.mark.parametrize("show", [form, rejected_fields, confirm])
def test_each_state_of_an_appointment_is_accessible(
    server: Server, window: Open, show: Callable[[Window], None]
) -> None:
    one = window(server)
    show(one)
    assert_accessible(one)


def test_the_week_and_the_settings_are_accessible(server: Server, window: Open) -> None:
    one = window(server)
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    assert_accessible(one)
    one.page.get_by_text("Server").click()
    expect(one.page.get_by_label("Address of the API")).to_be_visible()
    assert_accessible(one)


def test_the_page_is_accessible_on_a_phone(server: Server, window: Open) -> None:
    one = window(server, viewport=PHONE)
    form(one)
    assert_accessible(one)


def test_a_full_day_and_a_form_that_lost_a_race_are_accessible(
    server: Server, window: Open
) -> None:
    one = window(server)
    form(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    expect(one.notice("1pm")).to_be_visible()
    assert_accessible(one)
    one.day("Tuesday").click()
    assert_accessible(one)


def test_an_error_is_accessible(serve: Serve, window: Open) -> None:
    one = window(serve(TEST_ERROR="1"))
    one.press("12pm", "Cancel")
    one.press("12pm", "Cancel interview")
    expect(one.appointment("12pm").get_by_role("alert")).to_be_visible()
    assert_accessible(one)
    one.expect_trouble(r"console: .* 500")


def test_an_outage_is_accessible(seeded: None, server: Server, window: Open, sql: Sql) -> None:
    sql("ALTER TABLE days RENAME TO gone")
    try:
        one = window(server, is_live=False)
        expect(one.page.get_by_role("alert")).to_be_visible()
        expect(one.connection).to_have_text("Reconnecting…")
        assert_accessible(one)
        one.leave()
        one.expect_trouble(r"console: .* 503")
    finally:
        sql("ALTER TABLE gone RENAME TO days")
