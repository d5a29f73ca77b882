"""The example client in a real browser, on one origin, against the real server on another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import tools
from tests.support.database import Sql, refill
from tests.support.project import ROOT
from tests.support.server import Serve, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

    from tests.browser.window import Open, Window

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    return tools.program("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium."""
    from tests.browser.driver import expect, sync_playwright  # noqa: PLC0415 -- may skip

    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Files(SimpleHTTPRequestHandler):
    """The client's files, without log lines."""

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


@pytest.fixture(scope="module")
def server(serve_module: Serve, tables: None) -> Server:
    """The real server, one for the tests that do not harm it."""
    return serve_module()


@pytest.fixture
def whole_week(seeded: None, sql: Sql) -> None:
    """Five days, all free, instead of the test seed."""
    refill(sql, "production")


@pytest.fixture(scope="session")
def idle() -> list[Window]:
    """Windows that no test uses at the moment. Opening a new one takes much longer."""
    return []


@pytest.fixture
def window(browser: Browser, idle: list[Window], site: str, seeded: None) -> Iterator[Open]:
    """Opens the client on a server, each time as another visitor."""
    from tests.browser.window import (  # noqa: PLC0415 -- may skip
        DESKTOP,
        WEBSOCKETS,
        Window,
        lose_updates,
    )

    reusable: list[Window] = []
    others: list[Window] = []

    def open_window(
        server: Server,
        *,
        is_live: bool = True,
        has_websocket: bool = True,
        has_updates: bool = True,
        viewport: ViewportSize = DESKTOP,
        **options: Any,
    ) -> Window:
        if has_websocket and has_updates and not options:
            window = idle.pop() if idle else Window(browser.new_page())
            reusable.append(window)
        else:
            window = Window(browser.new_page(**options))
            others.append(window)
        if not has_websocket:
            window.page.route_web_socket(WEBSOCKETS, lambda socket: socket.close())
        elif not has_updates:
            window.page.route_web_socket(WEBSOCKETS, lose_updates)
        window.visit(site, f"/?api={server.url}", viewport)
        if is_live:
            window.wait_until_live()
        return window

    yield open_window
    trouble = []
    for window in [*reusable, *others]:
        window.page.wait_for_timeout(20)
        trouble += window.trouble
    for window in reusable:
        window.reset()
    for window in others:
        window.page.context.close()
    assert trouble == []
    idle.extend(reusable)
