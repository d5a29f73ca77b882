"""Which server the page uses, and what it says if that server cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.browser.driver import expect
from tests.browser.window import Open
from tests.support.project import ROOT
from tests.support.server import Serve, Server, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route


def test_the_address_is_remembered_and_a_bad_one_is_named(
    server: Server, window: Open, site: str
) -> None:
    one = window(server)
    one.page.goto(f"{site}/")
    one.wait_until_live()
    expect(one.page.locator("#server")).to_have_text(server.url)
    one.page.get_by_text("Server").click()
    address = one.page.get_by_label("Address of the API")
    expect(address).to_have_value(server.url)
    address.fill(server.url.removeprefix("http://") + "/")
    one.page.get_by_role("button", name="Connect").click()
    one.page.wait_for_url("**/?api=*")
    one.wait_until_live()
    one.page.goto(f"{site}/?api=ftp://nowhere")
    expect(one.page.locator("#api-error")).to_contain_text("ftp://nowhere")
    expect(address).to_be_focused()
    expect(address).to_be_in_viewport()
    one.wait_until_live()
    expect(one.page.locator("#server")).to_have_text(server.url)


def test_a_server_that_does_not_respond_is_named(browser: Browser, site: str) -> None:
    port = free_port()
    page = browser.new_page()
    page.goto(f"{site}/?api=localhost:{port}")
    expect(page.get_by_role("alert")).to_contain_text(f"No response from http://localhost:{port}.")
    page.context.close()


def test_an_origin_that_is_not_allowed_is_named(serve: Serve, window: Open, site: str) -> None:
    one = window(serve(CORS_ORIGINS="https://elsewhere.example"), is_live=False)
    alert = one.page.get_by_role("alert")
    expect(alert).to_contain_text(f"does its CORS_ORIGINS setting allow {site}?")
    expect(one.connection).to_have_text("Reconnecting…")
    one.leave()
    one.expect_trouble(r"console: .*CORS policy", r"failed: GET", r"console: .*ERR_FAILED")
    one.expect_trouble(r"console: WebSocket .* 403")


def test_an_https_page_names_an_http_server_as_the_mistake(browser: Browser) -> None:
    page = browser.new_page()
    folder = ROOT / "examples" / "client"

    def respond(route: Route) -> None:
        route.fulfill(path=folder / (urlsplit(route.request.url).path[1:] or "index.html"))

    page.route("https://client.example/**", respond)
    page.goto("https://client.example/?api=http://api.example")
    expect(page.locator("body")).to_contain_text("An https page can only call https addresses.")
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    page.context.close()
