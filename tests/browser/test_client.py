"""The example client in a real browser, on one origin, against the real server on another.

A window notes every console message of weight, failed request and error status;
what a test does not name as meant fails it.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import pytest

from app import create_app
from app.database import schema
from tests.support.http import ask, booking
from tests.support.project import ROOT
from tests.support.server import Server, free_port
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import (
        Browser,
        ConsoleMessage,
        Error,
        Locator,
        Page,
        Request,
        Route,
        WebSocketRoute,
    )

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    HAS_PLAYWRIGHT = False
else:
    HAS_PLAYWRIGHT = True

Serve = Callable[..., Server]
Sql = Callable[..., list[tuple[Any, ...]]]
Open = Callable[..., "Window"]

CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WEBSOCKETS = re.compile("^ws:")
LONGEST = 15_000  # ms


def lack(reason: str) -> NoReturn:
    """Skip, but never where the browser has to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    if not HAS_PLAYWRIGHT:
        lack("playwright is not installed: pip install -r requirements-dev.txt")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        lack(f"no Chromium on the PATH: none of {', '.join(CHROMIUM)}")
    expect.set_options(timeout=LONGEST)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


class Files(SimpleHTTPRequestHandler):
    """The client's files, without a word."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the parent's name
        pass


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The origin that serves the client."""
    handler = partial(Files, directory=str(ROOT / "examples" / "client"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Window:
    """The client in a window of a browser profile of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.trouble: list[str] = []
        page.on("pageerror", self._note_error)
        page.on("requestfailed", self._note_request)
        page.on("console", self._note)

    def _note_error(self, error: Error) -> None:
        self.trouble.append(f"error: {error}")

    def _note_request(self, request: Request) -> None:
        self.trouble.append(f"failed: {request.method} {request.url}")

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.trouble.append(f"console: {message.text}")

    def means(self, *patterns: str) -> None:
        """Take trouble that was meant off the list; each kind has to have come."""
        for pattern in patterns:
            wait_for(partial(self._has, pattern))
            self.trouble = [said for said in self.trouble if not re.search(pattern, said)]

    def _has(self, pattern: str) -> bool:
        self.page.wait_for_timeout(20)
        return any(re.search(pattern, said) for said in self.trouble)

    def is_live(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("Live")

    def day(self, name: str) -> Locator:
        return self.page.get_by_role("navigation").get_by_role("link", name=name)

    def slot(self, time: str) -> Locator:
        return self.page.get_by_role("listitem", name=time, exact=True)

    def press(self, time: str, button: str) -> None:
        self.slot(time).get_by_role("button", name=re.compile(f"^{button}\\b")).click()

    def fill(self, time: str, student: str, interviewer: str | None = None) -> None:
        self.slot(time).get_by_label("Student").fill(student)
        if interviewer:
            self.slot(time).get_by_label(interviewer).check()


@pytest.fixture(scope="module")
def server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server, one for the tests that do not harm it."""
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test", "PORT": str(free_port())}
    with create_app(environ).app_context():
        schema.reset()
    server = Server(environ, tmp_path_factory.mktemp("server") / "log")
    server.wait_until_it_listens()
    yield server
    server.stop()


@pytest.fixture
def seeded(environ: dict[str, str]) -> None:
    """A freshly seeded database."""
    with create_app(environ).app_context():
        schema.reset()


@pytest.fixture
def window(browser: Browser, site: str, seeded: None) -> Iterator[Open]:
    """Opens the client on a server, each time as another visitor."""
    windows: list[Window] = []

    def open_it(server: Server, *, is_live: bool = True, is_mute: bool = False) -> Window:
        window = Window(browser.new_page())
        window.page.set_default_timeout(LONGEST)
        windows.append(window)
        if is_mute:  # no WebSocket gets through
            window.page.route_web_socket(WEBSOCKETS, lambda socket: socket.close())
        window.page.goto(f"{site}/?api={server.url}")
        if is_live:
            window.is_live()
        return window

    yield open_it
    troubles = []
    for window in windows:
        window.page.wait_for_timeout(20)
        troubles += window.trouble
        window.page.context.close()
    assert troubles == []


def interview(server: Server, slot: int) -> Any:
    """What is stored."""
    return ask(server, "GET", "/api/appointments").json[str(slot)]["interview"]


def test_the_week_is_shown_with_its_spots_and_the_slots_in_order(
    server: Server, window: Open
) -> None:
    one = window(server)
    expect(one.day("Monday")).to_contain_text("1 spot left")
    expect(one.day("Tuesday")).to_contain_text("2 spots left")
    expect(one.page.locator(".slot h3")).to_have_text(["12pm", "1pm"])
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")
    expect(one.slot("12pm")).to_contain_text("with Sylvia Palmer")
    expect(one.slot("1pm")).to_contain_text("Free")
    one.day("Tuesday").click()
    expect(one.page.get_by_role("heading", level=2)).to_have_text("Tuesday")
    expect(one.slot("12pm")).to_contain_text("Free")
    one.page.go_back()
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")


def test_an_interview_is_booked_edited_and_cancelled(serve: Serve, window: Open) -> None:
    server = serve(SAVE_DELAY="0.3")
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada Lovelace", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.slot("1pm")).to_contain_text("Saving…")
    expect(one.slot("1pm")).to_contain_text("with Tori Malcolm")
    expect(one.day("Monday")).to_contain_text("no spots left")
    assert interview(server, 2) == {"student": "Ada Lovelace", "interviewer": 2}

    one.press("1pm", "Edit")
    expect(one.slot("1pm").get_by_label("Student")).to_have_value("Ada Lovelace")
    expect(one.slot("1pm").get_by_label("Tori Malcolm")).to_be_checked()
    one.fill("1pm", "Ada King", "Sylvia Palmer")
    one.press("1pm", "Save")
    expect(one.slot("1pm")).to_contain_text("with Sylvia Palmer")
    assert interview(server, 2) == {"student": "Ada King", "interviewer": 1}

    one.press("1pm", "Cancel")
    expect(one.slot("1pm")).to_contain_text("Cancel the interview of Ada King")
    one.press("1pm", "Keep it")
    expect(one.slot("1pm")).to_contain_text("with Sylvia Palmer")
    one.press("1pm", "Cancel")
    one.press("1pm", "Cancel interview")
    expect(one.slot("1pm")).to_contain_text("Cancelling…")
    expect(one.slot("1pm")).to_contain_text("Free")
    expect(one.day("Monday")).to_contain_text("1 spot left")
    assert interview(server, 2) is None


def test_a_preflight_is_asked_once_and_then_remembered(
    serve: Serve, window: Open, site: str
) -> None:
    server = serve(CORS_ORIGINS=site)
    one = window(server)
    for student in ["Ada", "Bob", "Cy"]:
        one.press("12pm", "Edit")
        one.fill("12pm", student)
        one.press("12pm", "Save")
        expect(one.slot("12pm").locator(".student")).to_have_text(student)
    path = "path=/api/appointments/1 "
    wait_for(lambda: server.log.count(f"method=PUT {path}") == 3)
    assert server.log.count(f"method=OPTIONS {path}") == 1


def test_a_second_window_follows_live(server: Server, window: Open) -> None:
    one, two = window(server), window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(two.slot("1pm")).to_contain_text("Ada")
    expect(two.day("Monday")).to_contain_text("no spots left")
    expect(two.page.locator("#said")).to_have_text("Monday 1pm: now Ada with Tori Malcolm.")
    two.press("1pm", "Cancel")
    two.press("1pm", "Cancel interview")
    expect(one.slot("1pm")).to_contain_text("Free")
    expect(one.day("Monday")).to_contain_text("1 spot left")


def test_a_form_survives_news_of_other_slots_and_tells_of_its_own(
    server: Server, window: Open
) -> None:
    one = window(server)
    one.press("12pm", "Edit")
    student = one.slot("12pm").get_by_label("Student")
    student.fill("Archibald")
    student.evaluate("input => input.setSelectionRange(3, 3)")
    ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    expect(one.slot("1pm")).to_contain_text("Bob")
    expect(one.slot("12pm").locator(".notice")).to_be_hidden()
    ask(server, "PUT", "/api/appointments/1", booking("Eve", 2))
    expect(one.slot("12pm").locator(".notice")).to_contain_text("changed to Eve with Tori Malcolm")
    expect(student).to_have_value("Archibald")
    expect(student).to_be_focused()
    assert student.evaluate("input => input.selectionStart") == 3
    # A look at another day and back.
    one.day("Tuesday").click()
    one.day("Monday").click()
    expect(student).to_have_value("Archibald")


def test_a_client_comes_back_with_the_server_and_reads_what_it_missed(
    serve: Serve, window: Open, sql: Sql
) -> None:
    server = serve()
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Half ty")
    server.stop()
    expect(one.page.locator("#connection")).to_have_text("Reconnecting…")
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")
    sql("UPDATE interviews SET student = 'Zoe' WHERE appointment_id = 1")
    serve(PORT=str(server.port))
    one.is_live()
    expect(one.slot("12pm")).to_contain_text("Zoe")
    expect(one.slot("1pm").get_by_label("Student")).to_have_value("Half ty")
    ask(server, "DELETE", "/api/appointments/1")
    expect(one.slot("12pm")).to_contain_text("Free")
    one.means(r"console: WebSocket connection")


def test_a_booking_is_refused_kindly_when_somebody_was_faster(server: Server, window: Open) -> None:
    one, two = window(server), window(server)
    for each, student in [(one, "Ada"), (two, "Bob")]:
        each.press("1pm", "Book")
        each.fill("1pm", student, "Tori Malcolm")
    two.press("1pm", "Save")
    expect(one.slot("1pm").locator(".notice")).to_contain_text("Somebody has just booked")
    one.press("1pm", "Save")
    expect(one.slot("1pm")).to_contain_text("Somebody was faster")
    expect(one.slot("1pm")).to_contain_text("1pm now belongs to Bob with Tori Malcolm.")
    one.means(r"console: .* 412")
    one.press("1pm", "Close")
    expect(one.slot("1pm").locator(".student")).to_have_text("Bob")


def test_an_edit_of_a_cancelled_interview_offers_to_book_it(server: Server, window: Open) -> None:
    one = window(server)
    one.press("12pm", "Edit")
    one.fill("12pm", "Archibald")
    ask(server, "DELETE", "/api/appointments/1")
    expect(one.slot("12pm").locator(".notice")).to_contain_text("has just been cancelled")
    one.press("12pm", "Save")
    expect(one.slot("12pm")).to_contain_text("Somebody has cancelled this interview.")
    one.means(r"console: .* 412")
    one.press("12pm", "Book it")
    one.press("12pm", "Save")
    expect(one.slot("12pm").locator(".student")).to_have_text("Archibald")


def lose_the_answer(route: Route) -> None:
    """Let a write through to the server, and break the connection before it answers."""
    if route.request.method == "OPTIONS":
        route.continue_()
        return
    route.fetch()
    route.abort()


def lose_the_news(socket: WebSocketRoute) -> None:
    """Let nothing but "pong" through to the client."""
    server = socket.connect_to_server()
    server.on_message(lambda frame: socket.send(frame) if frame == '"pong"' else None)


def test_a_booking_whose_answer_was_lost_is_known_again(server: Server, window: Open) -> None:
    one = window(server)
    one.page.route_web_socket(WEBSOCKETS, lose_the_news)
    one.page.reload()
    one.is_live()
    one.page.route("**/api/appointments/2", lose_the_answer, times=1)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.slot("1pm").get_by_role("alert")).to_contain_text("No answer from")
    one.press("1pm", "Try again")
    expect(one.slot("1pm").locator(".student")).to_have_text("Ada")
    one.means(r"failed: PUT", r"console: .*ERR_FAILED", r"console: .* 412")


def test_news_stands_in_for_an_answer_that_was_lost(server: Server, window: Open) -> None:
    one = window(server)
    one.page.route("**/api/appointments/1", lose_the_answer, times=1)
    one.press("12pm", "Cancel")
    one.press("12pm", "Cancel interview")
    expect(one.slot("12pm")).to_contain_text("Free")
    one.means(r"failed: DELETE", r"console: .*ERR_FAILED")


def test_what_does_not_fit_is_shown_at_its_field(server: Server, window: Open) -> None:
    one = window(server)
    one.press("1pm", "Book")
    one.press("1pm", "Save")
    student = one.slot("1pm").get_by_label("Student")
    expect(student).to_have_accessible_description(re.compile("."))
    expect(student).to_be_focused()
    choice = one.slot("1pm").get_by_role("group", name="Interviewer")
    expect(choice).to_have_accessible_description(re.compile("."))
    one.fill("1pm", "Ada")
    one.press("1pm", "Save")
    expect(student).to_have_accessible_description("")
    expect(choice).to_have_accessible_description(re.compile("."))
    expect(student).to_have_value("Ada")
    one.means(r"console: .* 422")


def test_a_server_error_can_be_tried_again_or_closed(serve: Serve, window: Open) -> None:
    server = serve(TEST_ERROR="1")
    one = window(server)
    one.press("1pm", "Book")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    alert = one.slot("1pm").get_by_role("alert")
    expect(alert).to_contain_text("could not be saved")
    expect(alert).to_contain_text("Status 500")
    one.press("1pm", "Try again")
    expect(alert).to_contain_text("Status 500")
    one.press("1pm", "Close")
    expect(one.slot("1pm").get_by_label("Student")).to_have_value("Ada")
    expect(one.slot("1pm").get_by_label("Tori Malcolm")).to_be_checked()
    one.press("12pm", "Cancel")
    one.press("12pm", "Cancel interview")
    expect(one.slot("12pm").get_by_role("alert")).to_contain_text("could not be cancelled")
    one.press("12pm", "Close")
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")
    one.means(r"console: .* 500")


@pytest.fixture
def broken(seeded: None, sql: Sql) -> Iterator[Callable[[], None]]:
    """The database lacks a table; called, it has it again."""
    sql("ALTER TABLE days RENAME TO gone")

    def mend() -> None:
        sql("ALTER TABLE IF EXISTS gone RENAME TO days")

    yield mend
    mend()


def test_a_week_that_could_not_be_read_can_be_asked_for_again(
    broken: Callable[[], None], serve: Serve, window: Open
) -> None:
    one = window(serve(), is_live=False, is_mute=True)
    alert = one.page.get_by_role("alert")
    expect(alert).to_contain_text("The week could not be read.")
    expect(alert).to_contain_text(re.compile(r"Status 503 · try again in \d+ s"))
    alert.get_by_role("button", name="Try again").click()
    expect(alert.get_by_role("button", name="Try again")).to_be_focused()
    broken()
    alert.get_by_role("button", name="Try again").click()
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")
    expect(alert).to_have_count(0)
    one.means(r"console: .* 503")


def test_a_week_that_could_not_be_read_comes_by_itself(
    broken: Callable[[], None], serve: Serve, window: Open
) -> None:
    one = window(serve(), is_live=False)
    expect(one.page.get_by_role("alert")).to_contain_text("The week could not be read.")
    broken()
    one.is_live()
    expect(one.slot("12pm")).to_contain_text("Archie Cohen")
    expect(one.page.get_by_role("alert")).to_have_count(0)
    one.means(r"console: .* 503")


def test_an_origin_that_is_not_allowed_is_told_so(serve: Serve, window: Open, site: str) -> None:
    one = window(serve(CORS_ORIGINS="https://elsewhere.example"), is_live=False)
    alert = one.page.get_by_role("alert")
    expect(alert).to_contain_text(f"do its CORS_ORIGINS allow {site}?")
    expect(one.page.locator("#connection")).to_have_text("Reconnecting…")
    one.page.goto("about:blank")  # it tries again and again
    one.means(r"console: .*CORS policy", r"failed: GET", r"console: .*ERR_FAILED")
    one.means(r"console: WebSocket .* 403")


def test_an_interview_with_nobody_is_shown_and_can_be_edited(
    server: Server, window: Open, sql: Sql
) -> None:
    sql("INSERT INTO interviews (student, appointment_id) VALUES ('Ada', 2)")
    one = window(server)
    expect(one.slot("1pm")).to_contain_text("Ada")
    expect(one.slot("1pm")).to_contain_text("with nobody")
    one.press("1pm", "Edit")
    one.fill("1pm", "Ada", "Tori Malcolm")
    one.press("1pm", "Save")
    expect(one.slot("1pm")).to_contain_text("with Tori Malcolm")


def test_on_an_https_page_a_server_on_http_is_named_as_the_mistake(browser: Browser) -> None:
    page = browser.new_page()
    folder = ROOT / "examples" / "client"

    def give(route: Route) -> None:
        route.fulfill(path=folder / (urlsplit(route.request.url).path[1:] or "index.html"))

    page.route("https://client.example/**", give)
    page.goto("https://client.example/?api=http://api.example")
    expect(page.locator("body")).to_contain_text("a browser calls https addresses only")
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    page.context.close()


def test_all_can_be_done_from_the_keyboard(server: Server, window: Open) -> None:
    one = window(server)
    keys = one.page.keyboard
    focused = one.page.locator(":focus")

    def tab_to(name: str) -> None:
        for _ in range(20):
            keys.press("Tab")
            if focused.count() and re.match(name, focused.evaluate(NAME)):
                return
        pytest.fail(f"no Tab leads to {name}")

    tab_to("Book 1pm")
    keys.press("Enter")
    expect(focused).to_have_attribute("name", "student")
    keys.press("Escape")
    expect(focused).to_have_text("Book")
    keys.press("Enter")
    keys.type("Ada")
    keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(one.slot("1pm").locator(".student")).to_have_text("Ada")
    expect(focused).to_have_text("Edit")
    # Somebody's change draws the slot anew under the focus.
    keys.press("Tab")
    ask(server, "PUT", "/api/appointments/2", booking("Eve"))
    expect(one.slot("1pm").locator(".student")).to_have_text("Eve")
    expect(focused).to_have_text("Cancel")
    keys.press("Enter")
    expect(focused).to_have_text("Keep it")
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(focused).to_have_text("Book")
    assert interview(server, 2) is None


NAME = "element => element.getAttribute('aria-label') ?? element.textContent"


def test_names_are_text_and_never_markup(server: Server, window: Open) -> None:
    one = window(server)
    name = "<img src=x onerror=alert(1)><b>Ada</b>"
    ask(server, "PUT", "/api/appointments/2", booking(name))
    expect(one.slot("1pm").locator(".student")).to_have_text(name)


def test_the_address_is_remembered_and_a_bad_one_is_named(
    server: Server, window: Open, site: str
) -> None:
    one = window(server)
    one.page.goto(f"{site}/")
    one.is_live()
    expect(one.page.locator("#server")).to_have_text(server.url)
    one.page.get_by_text("Server").click()
    address = one.page.get_by_label("Address of the API")
    expect(address).to_have_value(server.url)
    address.fill(server.url.removeprefix("http://") + "/")
    one.page.get_by_role("button", name="Connect").click()
    one.page.wait_for_url("**/?api=*")
    one.is_live()
    one.page.goto(f"{site}/?api=ftp://nowhere")
    expect(one.page.locator("#api-error")).to_contain_text("ftp://nowhere")
    one.is_live()
    expect(one.page.locator("#server")).to_have_text(server.url)


def test_nothing_is_cut_off_on_a_phone(server: Server, window: Open) -> None:
    ask(server, "PUT", "/api/appointments/2", booking("W" * 255))
    one = window(server)
    one.press("12pm", "Edit")
    one.page.get_by_text("Server").click()
    expect(one.slot("1pm").locator(".student")).to_be_visible()
    for width in [320, 360, 600, 1280]:
        one.page.set_viewport_size({"width": width, "height": 740})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_is_not_there_is_named(window: Open, site: str, browser: Browser) -> None:
    port = free_port()
    page = browser.new_page()
    page.goto(f"{site}/?api=localhost:{port}")
    expect(page.get_by_role("alert")).to_contain_text(f"No answer from http://localhost:{port}.")
    page.close()
