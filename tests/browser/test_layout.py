"""Where things are, on a desktop and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.driver import expect
from tests.browser.window import PHONE, SMALL_PHONE, Open
from tests.support.http import ask, booking
from tests.support.server import Server

FINGER = 44  # CSS pixels: WCAG 2.2, success criterion 2.5.5
COLOR = "element => getComputedStyle(element).color"


def test_the_avatar_belongs_to_the_interviewer(server: Server, window: Open) -> None:
    one = window(server)
    expect(one.appointment("12pm").locator(".interviewer")).to_contain_text("with Sylvia Palmer")
    expect(one.appointment("12pm").locator(".interviewer .avatar")).to_have_text("SP")
    expect(one.appointment("12pm").locator(".avatar")).to_have_count(1)


def test_a_full_day_is_not_grey_while_it_is_selected(server: Server, window: Open) -> None:
    ask(server, "PUT", "/api/appointments/2", booking("Ada"))
    one = window(server)
    monday, tuesday = (one.day(name).locator(".name") for name in ["Monday", "Tuesday"])
    expect(one.day("Monday")).to_contain_text("no spots left")
    selected = monday.evaluate(COLOR)
    assert selected == tuesday.evaluate(COLOR)
    one.day("Tuesday").click()
    expect(one.day("Tuesday")).to_have_attribute("aria-current", "true")
    assert monday.evaluate(COLOR) != selected


@pytest.mark.usefixtures("whole_week")
@pytest.mark.parametrize("viewport", [PHONE, SMALL_PHONE])
def test_a_phone_hints_at_days_out_of_sight_and_reaches_friday(
    server: Server, window: Open, viewport: dict[str, int]
) -> None:
    one = window(server, viewport=viewport, has_touch=True)
    strip = one.page.get_by_role("navigation")
    hint = "(element, end) => getComputedStyle(element, `::${end}`).display"
    expect(one.day("Friday")).not_to_be_in_viewport()
    assert strip.evaluate(hint, "after") != "none"
    assert strip.evaluate(hint, "before") == "none"
    # At the end of the strip, Friday is fully in sight and the hint has changed sides.
    strip.evaluate("element => element.scrollTo(element.scrollWidth, 0)")
    expect(strip).to_have_attribute("data-more", "start")
    expect(one.day("Friday")).to_be_in_viewport(ratio=1)
    assert strip.evaluate(hint, "after") == "none"
    assert strip.evaluate(hint, "before") != "none"
    one.day("Friday").click()
    expect(one.page.get_by_role("heading", level=2)).to_have_text("Friday")
    one.page.reload()
    expect(one.day("Friday")).to_be_in_viewport(ratio=1)
    # On a desktop all days are in sight, and no hint is needed.
    one.page.set_viewport_size({"width": 1280, "height": 720})
    expect(strip).to_have_attribute("data-more", "")
    expect(one.day("Friday")).to_be_in_viewport(ratio=1)


def test_the_server_toggle_is_easy_to_hit(server: Server, window: Open) -> None:
    one = window(server)
    address = one.page.get_by_label("Address of the API")
    for width, is_visible in [(320, True), (1280, False)]:
        one.page.set_viewport_size({"width": width, "height": 740})
        box = one.page.locator("summary").bounding_box()
        assert box is not None
        assert box["height"] >= FINGER
        one.page.mouse.click(box["x"] + 20, box["y"] + 2)
        expect(address).to_be_visible(visible=is_visible)


def test_controls_are_big_enough_for_a_finger_on_a_phone(server: Server, window: Open) -> None:
    one = window(server, viewport=PHONE)
    one.press("1pm", "Book")
    one.page.get_by_text("Server").click()
    for target in one.page.locator("button, .choice, nav a, input:not([type=radio])").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= FINGER, target.inner_text()


def test_nothing_is_cut_off_on_a_phone(server: Server, window: Open) -> None:
    ask(server, "PUT", "/api/appointments/2", booking("W" * 255))
    one = window(server)
    one.press("12pm", "Edit")
    one.page.get_by_text("Server").click()
    expect(one.appointment("1pm").locator(".student")).to_be_visible()
    for width in [320, 360, 600, 1280]:
        one.page.set_viewport_size({"width": width, "height": 740})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
