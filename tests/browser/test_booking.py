"""Reading the week, booking, editing and cancelling."""

from __future__ import annotations

import re

import pytest

from tests.browser.driver import expect
from tests.browser.window import Open, stored_interview
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.server import Serve, Server
from tests.support.waiting import wait_for


def test_the_week_is_shown_with_its_spots_and_the_appointments_in_order(
    server: Server, window: Open
) -> None:
    one = window(server)
    expect(one.page).to_have_title("Monday · Interview Scheduler")
    expect(one.day("Monday")).to_contain_text("1 spot left")
    expect(one.day("Tuesday")).to_contain_text("2 spots left")
    expect(one.page.locator(".appointment h3")).to_have_text(["12pm", "1pm"])
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(one.appointment("12pm")).to_contain_text("with Sylvia Palmer")
    expect(one.appointment("1pm")).to_contain_text("Free")
    one.day("Tuesday").click()
    expect(one.page.get_by_role("heading", level=2)).to_have_text("Tuesday")
    expect(one.page).to_have_title("Tuesday · Interview Scheduler")
    expect(one.appointment("12pm")).to_contain_text("Free")
    one.page.go_back()
    expect(one.appointment("12pm")).to_contain_text("Archie Cohen")
    expect(one.page).to_have_title("Monday · Interview Scheduler")


def test_an_interview_is_booked_edited_and_cancelled(serve: Serve, window: Open) -> None:
    server = serve(SAVE_DELAY="1")
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada Lovelace", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.appointment("1pm")).to_contain_text("Saving…")
    expect(one.appointment("1pm")).to_contain_text("Ada Lovelace")
    expect(one.button("1pm", "Edit")).to_be_visible()
    expect(one.appointment("1pm")).to_contain_text("with Tori Malcolm")
    expect(one.day("Monday")).to_contain_text("no spots left")
    assert stored_interview(server, 2) == {"student": "Ada Lovelace", "interviewer": 2}

    one.press("1pm", "Edit")
    expect(one.student("1pm")).to_have_value("Ada Lovelace")
    expect(one.appointment("1pm").get_by_label("Tori Malcolm")).to_be_checked()
    one.fill("1pm", "Ada King", "Sylvia Palmer")
    one.press("1pm", "Save")
    expect(one.button("1pm", "Edit")).to_be_visible()
    expect(one.appointment("1pm")).to_contain_text("with Sylvia Palmer")
    assert stored_interview(server, 2) == {"student": "Ada King", "interviewer": 1}

    one.press("1pm", "Cancel")
    expect(one.appointment("1pm")).to_contain_text("Cancel the interview of Ada King")
    one.press("1pm", "Keep it")
    expect(one.appointment("1pm")).to_contain_text("with Sylvia Palmer")
    one.press("1pm", "Cancel")
    one.press("1pm", "Cancel interview")
    expect(one.appointment("1pm")).to_contain_text("Cancelling…")
    expect(one.appointment("1pm")).to_contain_text("Ada King")
    expect(one.appointment("1pm")).to_contain_text("Free")
    expect(one.day("Monday")).to_contain_text("1 spot left")
    assert stored_interview(server, 2) is None


def test_the_browser_remembers_a_preflight(serve: Serve, window: Open, site: str) -> None:
    server = serve(CORS_ORIGINS=site)
    one = window(server)
    for student in ["Ada", "Bob", "Cy"]:
        one.press("12pm", "Edit")
        one.fill("12pm", student)
        one.press("12pm", "Save")
        expect(one.appointment("12pm").locator(".student")).to_have_text(student)
        expect(one.button("12pm", "Edit")).to_be_visible()
    path = "path=/api/appointments/1 "
    wait_for(lambda: server.log.count(f"method=PUT {path}") == 3)
    assert server.log.count(f"method=OPTIONS {path}") == 1


def test_an_interview_without_interviewer_is_shown_and_can_be_edited(
    server: Server, window: Open, sql: Sql
) -> None:
    sql("INSERT INTO interviews (student, appointment_id) VALUES ('Ada', 2)")
    one = window(server)
    expect(one.appointment("1pm")).to_contain_text("Ada")
    expect(one.appointment("1pm")).to_contain_text("with nobody")
    one.press("1pm", "Edit")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.appointment("1pm")).to_contain_text("with Tori Malcolm")


def test_names_are_text_and_never_markup(server: Server, window: Open) -> None:
    one = window(server)
    name = "<img src=x onerror=alert(1)><b>Ada</b>"
    ask(server, "PUT", "/api/appointments/2", booking(name))
    expect(one.appointment("1pm").locator(".student")).to_have_text(name)


ACCESSIBLE_NAME = "element => element.getAttribute('aria-label') ?? element.textContent"


def test_everything_can_be_done_with_the_keyboard(server: Server, window: Open) -> None:
    one = window(server)
    keys = one.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(20):
            keys.press("Tab")
            if one.focused.count() and re.match(name, one.focused.evaluate(ACCESSIBLE_NAME)):
                return
        pytest.fail(f"Tab never reaches {name}")

    tab_to("Book 1pm")
    keys.press("Enter")
    expect(one.focused).to_have_attribute("name", "student")
    keys.press("Escape")
    expect(one.focused).to_have_text("Book")
    keys.press("Enter")
    keys.type("Ada")
    keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(one.appointment("1pm").locator(".student")).to_have_text("Ada")
    expect(one.focused).to_have_text("Edit")
    # Somebody else's change draws the appointment again while it has the focus.
    keys.press("Tab")
    ask(server, "PUT", "/api/appointments/2", booking("Eve"))
    expect(one.appointment("1pm").locator(".student")).to_have_text("Eve")
    expect(one.focused).to_have_text("Cancel")
    keys.press("Enter")
    expect(one.focused).to_have_text("Keep it")
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(one.focused).to_have_text("Book")
    assert stored_interview(server, 2) is None
