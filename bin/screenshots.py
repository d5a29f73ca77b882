"""Take the pictures of the example client, in light and dark.

    .venv/bin/python bin/screenshots.py [FOLDER]

The default of FOLDER is docs/images. The script starts its own PostgreSQL, API server and
web server. It books the same week every time, so that the pictures change only if the page
does. It needs requirements-dev.txt and Chromium.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psycopg2
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"

sys.path.insert(0, str(ROOT))

from bin import embedded_postgres  # noqa: E402

CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
DESKTOP = {"width": 960, "height": 748}
PHONE = {"width": 390, "height": 744}

# Student and interviewer of each appointment that is booked.
WEEK = {
    ("Monday", "12pm"): ("Lydia Miller-Jones", 4),
    ("Monday", "3pm"): ("Archie Cohen", 1),
    ("Tuesday", "12pm"): ("Leopold Silvers", 2),
    ("Tuesday", "1pm"): ("Chad Takahashi", 9),
    ("Tuesday", "3pm"): ("Jamal Jordan", 5),
    ("Wednesday", "12pm"): ("Richard Wong", 1),
    ("Wednesday", "1pm"): ("Yuko Smith", 3),
    ("Wednesday", "2pm"): ("Michael Chan-Montoya", 7),
    ("Wednesday", "3pm"): ("Susan Ng", 8),
    ("Wednesday", "4pm"): ("Ada Lovelace", 10),
    ("Friday", "2pm"): ("Liam Martinez", 6),
}
# The seed chooses each day's interviewers at random.
SET_INTERVIEWERS = """
    DELETE FROM available_interviewers;
    INSERT INTO available_interviewers (day_id, interviewer_id)
    SELECT days.id, interviewers.id
    FROM days
    CROSS JOIN interviewers
    WHERE interviewers.id IN (1, 2, 4, 5);
"""


def main() -> None:
    """Write every picture."""
    images = Path(sys.argv[1]).resolve() if sys.argv[1:] else IMAGES
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        sys.exit(f"Chromium is not on the PATH: none of {', '.join(CHROMIUM)}")
    images.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres.running(Path(folder, "postgres")) as database,
        serving_api(database) as api,
        serving_page() as site,
        sync_playwright() as playwright,
    ):
        book_week(api, database)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in ["light", "dark"]:
            for name, viewport in {"client": DESKTOP, "client-phone": PHONE}.items():
                path = images / f"{name}-{scheme}.png"
                take(browser, f"{site}/?api={api}", path, color_scheme=scheme, viewport=viewport)
                print(f"{path}  {path.stat().st_size // 1000} kB")
        browser.close()


def take(browser: Browser, url: str, path: Path, **options: Any) -> None:
    """Write a picture of the page. On a desktop, it shows a form that is being filled in."""
    page = browser.new_page(device_scale_factor=1.5, reduced_motion="reduce", **options)
    page.goto(url)
    page.wait_for_selector("#connection[data-state=live]")
    if options["viewport"] == DESKTOP:
        fill_form(page)
    # The footer shows the server's address, which has a random port.
    page.screenshot(path=path, animations="disabled", style="footer { visibility: hidden }")
    page.close()


def fill_form(page: Page) -> None:
    """Open the form of a free appointment and fill it in."""
    page.get_by_role("button", name="Book 1pm").click()
    page.get_by_label("Student").fill("Maria Boucher")
    page.get_by_label("Sven Jones").check()
    page.evaluate("document.activeElement.blur()")


def book_week(api: str, database: str) -> None:
    """Replace the seed's random interviews with those of `WEEK`."""
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cur:
        cur.execute(SET_INTERVIEWERS)
    days, appointments = send(api, "/api/days"), send(api, "/api/appointments")
    for day in days:
        for number in day["appointments"]:
            booking = WEEK.get((day["name"], appointments[str(number)]["time"]))
            if booking:
                interview = {"student": booking[0], "interviewer": booking[1]}
                send(api, f"/api/appointments/{number}", "PUT", {"interview": interview})
            else:
                send(api, f"/api/appointments/{number}", "DELETE")


def send(api: str, path: str, method: str = "GET", body: Any = None) -> Any:
    """Send a request to the API and return its response."""
    headers = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(api + path, data, headers, method=method)  # noqa: S310 -- our own server
    with urlopen(request, timeout=10) as response:  # noqa: S310
        text = response.read()
    return json.loads(text) if text else None


@contextmanager
def serving_api(database: str) -> Iterator[str]:
    """Run the Procfile's server on a seeded database, and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "APP_ENV": "development",
        "DATABASE_URL": database,
        "PORT": str(port),
    }
    commands = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    subprocess.run(["sh", "-c", commands["release"]], cwd=ROOT, env=environ, check=True)
    server = subprocess.Popen(
        ["sh", "-c", f"exec {commands['web']}"], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_responds(url)
        yield url
    finally:
        server.terminate()
        server.wait()


def wait_until_it_responds(url: str) -> None:
    """Return when the API responds; raise `URLError` after 20 seconds without a response."""
    deadline = time.monotonic() + 20
    while True:
        try:
            send(url, "/api/days")
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


class Files(SimpleHTTPRequestHandler):
    """The page's files, without log lines."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the parent's name
        pass


@contextmanager
def serving_page() -> Iterator[str]:
    """Serve examples/client, and yield its URL."""
    handler = partial(Files, directory=str(ROOT / "examples" / "client"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
