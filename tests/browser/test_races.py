"""Someone else booked first: the draft stays, and the page offers what is still possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.driver import expect
from tests.browser.window import Open, Window, stored_interview
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Route

MAIN_BUTTON = ".primary"


def type_booking(one: Window) -> None:
    one.press("1pm", "Book")
    one.fill("1pm", "Ada Lovelace", "Tori Malcolm")


def test_a_form_whose_appointment_was_booked_offers_the_next_free_one(
    server: Server, window: Open
) -> None:
    one = window(server)
    type_booking(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob", 1))
    expect(one.notice("1pm")).to_have_text(
        "Someone else booked first. 1pm is now booked: Bob with Sylvia Palmer."
    )
    # Save could only fail now, so another button takes its place.
    expect(one.button("1pm", "Save")).to_have_count(0)
    expect(one.appointment("1pm").locator(MAIN_BUTTON)).to_have_text("Take Tuesday 12pm instead")
    expect(one.student("1pm")).to_have_value("Ada Lovelace")
    one.press("1pm", "Take")
    expect(one.page.get_by_role("heading", level=2)).to_have_text("Tuesday")
    expect(one.student("12pm")).to_have_value("Ada Lovelace")
    expect(one.student("12pm")).to_be_focused()
    expect(one.appointment("12pm").get_by_label("Tori Malcolm")).to_be_checked()
    one.press("12pm", "Save")
    expect(one.button("12pm", "Edit")).to_be_visible()
    assert stored_interview(server, 3) == {"student": "Ada Lovelace", "interviewer": 2}
    assert stored_interview(server, 2) == {"student": "Bob", "interviewer": 1}


def test_a_race_lost_while_saving_keeps_the_draft_and_offers_the_next_free_one(
    server: Server, window: Open
) -> None:
    one = window(server, has_updates=False)
    type_booking(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob", 1))
    one.press("1pm", "Save")
    expect(one.notice("1pm")).to_contain_text("1pm is now booked: Bob with Sylvia Palmer.")
    one.expect_trouble(r"console: .* 412")
    expect(one.student("1pm")).to_have_value("Ada Lovelace")
    expect(one.appointment("1pm").get_by_label("Tori Malcolm")).to_be_checked()
    expect(one.focused).to_have_text("Take Tuesday 12pm instead")
    expect(one.page.locator("#announcement")).to_contain_text("Someone else booked first.")
    one.press("1pm", "Back")
    expect(one.appointment("1pm").locator(".student")).to_have_text("Bob")


def test_the_offer_follows_the_week(server: Server, window: Open) -> None:
    one = window(server)
    type_booking(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    main = one.appointment("1pm").locator(MAIN_BUTTON)
    expect(main).to_have_text("Take Tuesday 12pm instead")
    main.focus()
    ask(server, "PUT", "/api/appointments/3", booking("Bob"))
    expect(main).to_have_text("Take Tuesday 1pm instead")
    expect(main).to_be_focused()
    ask(server, "PUT", "/api/appointments/4", booking("Bob"))
    expect(one.notice("1pm")).to_contain_text("No appointments are free this week.")
    expect(main).to_have_count(0)
    # After the end of the week, the search goes on at its start.
    ask(server, "DELETE", "/api/appointments/1")
    expect(main).to_have_text("Take 12pm instead")
    ask(server, "DELETE", "/api/appointments/2")
    expect(main).to_have_text("Save")
    expect(one.notice("1pm")).to_be_hidden()
    expect(one.student("1pm")).to_have_value("Ada Lovelace")


def test_an_interviewer_who_is_not_available_on_the_offered_day_is_named(
    server: Server, window: Open, sql: Sql
) -> None:
    sql("DELETE FROM available_interviewers WHERE day_id = 2 AND interviewer_id = 2")
    one = window(server)
    type_booking(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    one.press("1pm", "Take")
    group = one.appointment("12pm").get_by_role("group", name="Interviewer")
    expect(group).to_have_accessible_description(
        "Tori Malcolm is not available on Tuesday. Choose someone else."
    )
    expect(one.student("12pm")).to_have_value("Ada Lovelace")
    one.appointment("12pm").get_by_label("Sylvia Palmer").check()
    expect(group).to_have_accessible_description("")
    one.press("12pm", "Save")
    expect(one.button("12pm", "Edit")).to_be_visible()


def test_an_appointment_that_is_free_again_after_a_lost_race_can_be_saved(
    server: Server, window: Open
) -> None:
    one = window(server, has_updates=False)
    type_booking(one)
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))

    def cancel_first(route: Route) -> None:
        ask(server, "DELETE", "/api/appointments/2")
        route.continue_()

    one.page.route("**/api/appointments", cancel_first, times=1)
    one.press("1pm", "Save")
    expect(one.notice("1pm")).to_contain_text("has cancelled. You can save now.")
    one.expect_trouble(r"console: .* 412")
    one.press("1pm", "Save")
    expect(one.appointment("1pm").locator(".student")).to_have_text("Ada Lovelace")
    expect(one.button("1pm", "Edit")).to_be_visible()


def test_an_edited_interview_that_was_cancelled_can_be_booked_again(
    server: Server, window: Open
) -> None:
    one = window(server)
    one.press("12pm", "Edit")
    one.fill("12pm", "Archibald")
    ask(server, "DELETE", "/api/appointments/1")
    expect(one.notice("12pm")).to_contain_text("cancelled this interview. 12pm is free now.")
    one.press("12pm", "Book it again")
    expect(one.appointment("12pm").locator(".student")).to_have_text("Archibald")
    expect(one.button("12pm", "Edit")).to_be_visible()
    assert stored_interview(server, 1) == {"student": "Archibald", "interviewer": 1}


def test_an_edited_interview_that_was_cancelled_unnoticed_can_be_booked_again(
    server: Server, window: Open
) -> None:
    one = window(server, has_updates=False)
    one.press("12pm", "Edit")
    one.fill("12pm", "Archibald")
    ask(server, "DELETE", "/api/appointments/1")
    one.press("12pm", "Save")
    expect(one.notice("12pm")).to_contain_text("cancelled this interview. 12pm is free now.")
    one.expect_trouble(r"console: .* 412")
    one.press("12pm", "Book it again")
    expect(one.appointment("12pm").locator(".student")).to_have_text("Archibald")
    expect(one.button("12pm", "Edit")).to_be_visible()
