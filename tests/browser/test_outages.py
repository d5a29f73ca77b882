"""Errors of the server, outages, and the recovery from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.driver import expect
from tests.browser.window import PHONE, SMALL_PHONE, Open, Window
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.server import Serve, Server

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect


def test_an_error_names_the_interview_and_can_be_retried_or_closed(
    serve: Serve, window: Open
) -> None:
    one = window(serve(TEST_ERROR="1"))
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    alert = one.appointment("1pm").get_by_role("alert")
    expect(alert).to_contain_text("The interview of Ada with Tori Malcolm could not be saved.")
    expect(alert).to_contain_text("Status 500")
    one.press("1pm", "Try again")
    expect(alert).to_contain_text("Status 500")
    one.press("1pm", "Close")
    expect(one.student("1pm")).to_have_value("Ada")
    expect(one.appointment("1pm").get_by_label("Tori Malcolm")).to_be_checked()
    one.press("12pm", "Cancel")
    one.press("12pm", "Cancel interview")
    expect(one.appointment("12pm").get_by_role("alert")).to_contain_text(
        "The interview of Archie Cohen with Sylvia Palmer could not be cancelled."
    )
    one.press("12pm", "Close")
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(one.button("12pm", "Edit")).to_be_visible()
    one.expect_trouble(r"console: .* 500")


def test_errors_disappear_when_the_server_is_back(serve: Serve, window: Open) -> None:
    server = serve()
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("12pm", "Cancel")
    server.stop()
    expect(one.connection).to_have_text("Reconnecting…")
    one.press("1pm", "Save")
    one.press("12pm", "Cancel interview")
    expect(one.page.get_by_role("alert")).to_have_count(2)
    serve(PORT=str(server.port))
    one.wait_until_live()
    expect(one.page.get_by_role("alert")).to_have_count(0)
    expect(one.notice("1pm")).to_have_text(
        "The server is available again. This interview is not saved yet."
    )
    expect(one.student("1pm")).to_have_value("Ada")
    expect(one.button("12pm", "Edit")).to_be_visible()
    one.press("1pm", "Save")
    expect(one.button("1pm", "Edit")).to_be_visible()
    one.expect_trouble(r"failed: PUT", r"failed: DELETE", r"console: .*(ERR_|WebSocket)")


def test_an_error_disappears_when_the_database_is_back_though_the_websocket_stayed_open(
    server: Server, window: Open, sql: Sql
) -> None:
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    sql("ALTER TABLE interviews RENAME TO gone")
    try:
        one.press("1pm", "Save")
        alert = one.appointment("1pm").get_by_role("alert")
        expect(alert).to_contain_text("Status 503")
    finally:
        sql("ALTER TABLE gone RENAME TO interviews")
    expect(alert).to_have_count(0)
    expect(one.student("1pm")).to_have_value("Ada")
    one.press("1pm", "Save")
    expect(one.button("1pm", "Edit")).to_be_visible()
    one.expect_trouble(r"console: .* 503")


@pytest.fixture
def repair(seeded: None, sql: Sql) -> Iterator[Callable[[], None]]:
    """The database lacks a table until this is called."""
    sql("ALTER TABLE days RENAME TO gone")

    def rename_back() -> None:
        sql("ALTER TABLE IF EXISTS gone RENAME TO days")

    yield rename_back
    rename_back()


def test_a_week_that_could_not_be_loaded_leaves_no_empty_page(
    repair: Callable[[], None], server: Server, window: Open
) -> None:
    one = window(server, is_live=False, has_websocket=False)
    alert = one.page.get_by_role("alert")
    expect(alert).to_contain_text("The week could not be loaded.")
    expect(alert).to_contain_text(re.compile(r"Status 503 · try again in \d+ s"))
    # No button closes it, because behind it the page is empty.
    expect(alert.get_by_role("button")).to_have_text(["Try again", "Change server"])
    alert.get_by_role("button", name="Try again").click()
    expect(alert.get_by_role("button", name="Try again")).to_be_focused()
    alert.get_by_role("button", name="Change server").click()
    expect(one.page.get_by_label("Address of the API")).to_be_focused()
    expect(alert).to_be_visible()
    repair()
    # It loads by itself, even without a WebSocket.
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(alert).to_have_count(0)
    one.expect_trouble(r"console: .* 503")


def test_a_week_that_could_not_be_loaded_can_be_tried_again(
    repair: Callable[[], None], server: Server, window: Open
) -> None:
    one = window(server, is_live=False, has_websocket=False)
    alert = one.page.get_by_role("alert")
    expect(alert).to_contain_text("The week could not be loaded.")
    one.page.clock.pause_at(one.page.evaluate("Date.now() + 1000"))  # it does not load by itself
    repair()
    alert.get_by_role("button", name="Try again").click()
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(alert).to_have_count(0)
    expect(one.focused).to_have_text("Monday")
    one.expect_trouble(r"console: .* 503")


def test_a_week_that_could_not_be_loaded_comes_with_the_connection(
    repair: Callable[[], None], server: Server, window: Open
) -> None:
    one = window(server, is_live=False)
    expect(one.page.get_by_role("alert")).to_contain_text("The week could not be loaded.")
    repair()
    one.wait_until_live()
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(one.page.get_by_role("alert")).to_have_count(0)
    one.expect_trouble(r"console: .* 503")


def places(one: Window) -> list[FloatRect | None]:
    return [one.page.locator(part).bounding_box() for part in ("h1", "nav", "main", "footer")]


# Whether the title's text reaches under the state of the connection.
OVERLAP = """() => {
  const title = document.createRange();
  title.selectNodeContents(document.querySelector("h1"));
  const { left } = document.querySelector("#connection").getBoundingClientRect();
  return title.getBoundingClientRect().right > left;
}"""


@pytest.mark.usefixtures("whole_week")
def test_the_state_of_the_connection_moves_nothing_and_stays_in_sight(
    serve: Serve, window: Open
) -> None:
    server = serve()
    for appointment in range(1, 6):
        # A day of free appointments would fit on the screen.
        ask(server, "PUT", f"/api/appointments/{appointment}", booking("Ada"))
    windows = [window(server, viewport=viewport) for viewport in (PHONE, SMALL_PHONE)]
    before = [places(one) for one in windows]
    server.stop()
    for one, places_before in zip(windows, before, strict=True):
        expect(one.connection).to_have_text("Reconnecting…")
        assert places(one) == places_before
        assert not one.page.evaluate(OVERLAP)
        assert one.page.evaluate("scrollTo(0, document.body.scrollHeight); scrollY") > 20
        expect(one.connection).to_be_in_viewport(ratio=1)
        one.leave()
        one.expect_trouble(r"console: WebSocket connection")
