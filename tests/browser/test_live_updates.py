"""What other people change while the page is open, and lost connections."""

from __future__ import annotations

from tests.browser.driver import expect
from tests.browser.window import Open, lose_response
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.server import Serve, Server


def test_a_second_window_follows_live(server: Server, window: Open) -> None:
    one, two = window(server), window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(two.appointment("1pm")).to_contain_text("Ada")
    expect(two.day("Monday")).to_contain_text("no spots left")
    expect(two.page.locator("#announcement")).to_have_text("Monday 1pm: now Ada with Tori Malcolm.")
    two.press("1pm", "Cancel")
    two.press("1pm", "Cancel interview")
    expect(one.appointment("1pm")).to_contain_text("Free")
    expect(one.day("Monday")).to_contain_text("1 spot left")


def test_a_form_keeps_its_draft_and_reports_changes_of_its_own_interview(
    server: Server, window: Open
) -> None:
    one = window(server)
    one.press("12pm", "Edit")
    student = one.student("12pm")
    student.fill("Archibald")
    student.evaluate("input => input.setSelectionRange(3, 3)")
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    expect(one.appointment("1pm")).to_contain_text("Bob")
    expect(one.notice("12pm")).to_be_hidden()
    ask(server, "PUT", "/api/appointments/1", booking("Eve", 2))
    expect(one.notice("12pm")).to_contain_text("changed this to Eve with Tori Malcolm")
    expect(student).to_have_value("Archibald")
    expect(student).to_be_focused()
    assert student.evaluate("input => input.selectionStart") == 3
    # The draft survives a look at another day.
    one.day("Tuesday").click()
    one.day("Monday").click()
    expect(student).to_have_value("Archibald")


def test_a_client_reconnects_and_reads_what_it_missed(serve: Serve, window: Open, sql: Sql) -> None:
    server = serve()
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Half ty")
    server.stop()
    expect(one.connection).to_have_text("Reconnecting…")
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    sql("UPDATE interviews SET student = 'Zoe' WHERE appointment_id = 1")
    serve(PORT=str(server.port))
    one.wait_until_live()
    expect(one.appointment("12pm")).to_contain_text("Zoe")
    expect(one.student("1pm")).to_have_value("Half ty")
    ask(server, "DELETE", "/api/appointments/1")
    expect(one.appointment("12pm")).to_contain_text("Free")
    one.expect_trouble(r"console: WebSocket connection")


def test_a_booking_whose_response_was_lost_is_recognised(server: Server, window: Open) -> None:
    one = window(server, has_updates=False)
    one.page.route("**/api/appointments/2", lose_response, times=1)
    # Otherwise the page would read the lists after some seconds, and find the booking there.
    one.page.clock.install()
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.appointment("1pm").get_by_role("alert")).to_contain_text("No response from")
    one.press("1pm", "Try again")
    expect(one.appointment("1pm").locator(".student")).to_have_text("Ada")
    expect(one.button("1pm", "Edit")).to_be_visible()
    one.expect_trouble(r"failed: PUT", r"console: .*ERR_FAILED", r"console: .* 412")


def test_an_update_replaces_a_response_that_was_lost(server: Server, window: Open) -> None:
    one = window(server)
    one.page.route("**/api/appointments/1", lose_response, times=1)
    one.press("12pm", "Cancel")
    one.press("12pm", "Cancel interview")
    expect(one.appointment("12pm")).to_contain_text("Free")
    one.expect_trouble(r"failed: DELETE", r"console: .*ERR_FAILED")
