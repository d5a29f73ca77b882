"""Fields that the server rejects: wording, focus, and what happens once they are corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.driver import expect
from tests.browser.window import Open, Window
from tests.support.database import Sql
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Route


def interviewers(one: Window) -> Locator:
    return one.appointment("1pm").get_by_role("group", name="Interviewer")


def test_a_rejected_field_is_explained_in_the_words_of_the_form(
    server: Server, window: Open
) -> None:
    one = window(server)
    one.press("1pm", "Book")
    one.press("1pm", "Save")
    student = one.student("1pm")
    expect(student).to_have_accessible_description("Enter the student’s name.")
    expect(student).to_be_focused()
    expect(interviewers(one)).to_have_accessible_description("Choose an interviewer.")
    one.fill("1pm", "Ada")
    one.press("1pm", "Save")
    expect(one.focused).to_have_attribute("name", "interviewer")
    expect(student).to_have_accessible_description("")
    expect(interviewers(one)).to_have_accessible_description("Choose an interviewer.")
    one.fill("1pm", "é" * 256, "Tori Malcolm")
    one.press("1pm", "Save")
    expect(student).to_have_accessible_description(
        "Shorten the name to 255 characters. It has 256."
    )
    one.expect_trouble(r"console: .* 422")


def test_a_message_disappears_once_its_field_is_corrected(server: Server, window: Open) -> None:
    one = window(server)
    one.press("1pm", "Book")
    one.press("1pm", "Save")
    student = one.student("1pm")
    expect(student).to_have_attribute("aria-invalid", "true")
    one.page.keyboard.type("A")
    expect(student).to_have_accessible_description("")
    expect(student).not_to_have_attribute("aria-invalid", "true")
    expect(student).to_be_focused()
    expect(interviewers(one)).to_have_accessible_description("Choose an interviewer.")
    one.appointment("1pm").get_by_label("Tori Malcolm").check()
    expect(interviewers(one)).to_have_accessible_description("")
    expect(one.appointment("1pm").locator(".error:visible")).to_have_count(0)
    one.expect_trouble(r"console: .* 422")


def test_an_interviewer_who_has_left_is_explained_and_no_longer_offered(
    server: Server, window: Open, sql: Sql
) -> None:
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    sql("DELETE FROM interviewers WHERE id = 2")
    one.press("1pm", "Save")
    expect(interviewers(one)).to_have_accessible_description(
        "This interviewer is no longer available. Choose someone else."
    )
    expect(one.appointment("1pm").get_by_label("Tori Malcolm")).to_have_count(0)
    expect(one.student("1pm")).to_have_value("Ada")
    one.expect_trouble(r"console: .* 422")


def test_a_message_for_no_field_is_shown_above_the_form_until_something_changes(
    server: Server, window: Open
) -> None:
    one = window(server)

    def send_no_interview(route: Route) -> None:
        route.continue_(post_data='{"interview": null}')

    one.page.route("**/api/appointments/2", send_no_interview)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    message = one.appointment("1pm").locator("form > .error")
    expect(message).not_to_be_empty()
    one.expect_trouble(r"console: .* 422")
    one.student("1pm").press_sequentially("x")
    expect(message).to_be_empty()
