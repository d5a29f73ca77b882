"""The example client in a browser window, and what tests do there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.http import ask
from tests.support.server import Server
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import (
        ConsoleMessage,
        Error,
        Locator,
        Page,
        Request,
        Route,
        ViewportSize,
        WebSocketRoute,
    )

WEBSOCKETS = re.compile("^ws:")
TIMEOUT = 15_000  # ms
DESKTOP: ViewportSize = {"width": 1280, "height": 720}
PHONE: ViewportSize = {"width": 390, "height": 740}
SMALL_PHONE: ViewportSize = {"width": 320, "height": 568}


class Window:
    """The client in a window with a browser profile of its own.

    It collects every console warning and error, failed request and uncaught exception as
    trouble. A test fails if trouble is left that it did not expect.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.trouble: list[str] = []
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", self._note_error)
        page.on("requestfailed", self._note_request)
        page.on("console", self._note_message)

    def _note_error(self, error: Error) -> None:
        self.trouble.append(f"error: {error}")

    def _note_request(self, request: Request) -> None:
        self.trouble.append(f"failed: {request.method} {request.url}")

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.trouble.append(f"console: {message.text}")

    def expect_trouble(self, *patterns: str) -> None:
        """Wait for trouble of each kind, and forget it."""
        for pattern in patterns:
            wait_for(partial(self._has, pattern))
            self.trouble = [text for text in self.trouble if not re.search(pattern, text)]

    def _has(self, pattern: str) -> bool:
        self.page.wait_for_timeout(20)
        return any(re.search(pattern, text) for text in self.trouble)

    def visit(self, site: str, path: str, viewport: ViewportSize) -> None:
        """Open the client as somebody who was never there before."""
        storage = self.page.context.new_cdp_session(self.page)
        storage.send("Storage.clearDataForOrigin", {"origin": site, "storageTypes": "all"})
        self.page.set_viewport_size(viewport)
        self.page.goto(site + path)

    def leave(self) -> None:
        """Leave the page, which would try to reconnect again and again."""
        self.page.goto("about:blank")

    def reset(self) -> None:
        """Undo what tests do to a window, except to its WebSockets and its clock."""
        self.page.unroute_all()
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.leave()
        self.trouble.clear()

    @property
    def connection(self) -> Locator:
        return self.page.locator("#connection")

    @property
    def focused(self) -> Locator:
        return self.page.locator(":focus")

    def wait_until_live(self) -> None:
        self.page.locator("#connection[data-state=live]").wait_for()

    def day(self, name: str) -> Locator:
        return self.page.get_by_role("navigation").get_by_role("link", name=name)

    def appointment(self, time: str) -> Locator:
        return self.page.get_by_role("listitem", name=time, exact=True)

    def student(self, time: str) -> Locator:
        """The field for the student's name."""
        return self.appointment(time).get_by_label("Student")

    def notice(self, time: str) -> Locator:
        return self.appointment(time).locator(".notice")

    def press(self, time: str, button: str) -> None:
        self.button(time, button).click()

    def button(self, time: str, name: str) -> Locator:
        return self.appointment(time).get_by_role("button", name=re.compile(rf"^{name}\b"))

    def fill(self, time: str, student: str, interviewer: str | None = None) -> None:
        self.student(time).fill(student)
        if interviewer:
            self.appointment(time).get_by_label(interviewer).check()


Open = Callable[..., Window]


def stored_interview(server: Server, appointment: int) -> Any:
    """Return the interview that the server has stored, or None."""
    return ask(server, "GET", "/api/appointments").json[str(appointment)]["interview"]


def lose_response(route: Route) -> None:
    """Let a write reach the server, and break the connection before its response arrives."""
    if route.request.method == "OPTIONS":
        route.continue_()
        return
    route.fetch()
    route.abort()


def lose_updates(socket: WebSocketRoute) -> None:
    """Let only "pong" through to the client."""
    server = socket.connect_to_server()
    server.on_message(lambda frame: socket.send(frame) if frame == '"pong"' else None)
