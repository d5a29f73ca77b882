"""Serve the pages for development: the example client and the API reference.

    /            examples/client, which reads the address of the API from `?api=`
    /reference/  docs/openapi.yaml in Swagger UI, from the package flask-swagger-ui

Nothing is loaded from the network.
"""

from __future__ import annotations

import importlib.util
import re
import socket
import threading
from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "examples" / "client"
OPENAPI = ROOT / "docs" / "openapi.yaml"

REFERENCE = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Interview Scheduler API: reference</title>
  <link rel="icon" href="favicon-32x32.png">
  <link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="swagger-ui-bundle.js"></script>
  <script>
    SwaggerUIBundle({ url: "openapi.yaml", dom_id: "#swagger-ui", validatorUrl: null });
  </script>
</body>
</html>
"""


def serve(first_port: int, api: Callable[[], str]) -> str:
    """Serve the pages in threads of this process, until it ends.

    `api` returns the API's URL. Tries 100 ports from `first_port`. Returns the URL of the
    pages. Raises `OSError` if no port is free.
    """
    handler = partial(_Handler, api=api)
    for port in range(first_port, first_port + 100):
        try:
            servers = [_Server(address, handler) for address in loopback_addresses(port)]
        except OSError:
            continue
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://localhost:{port}"
    raise OSError(f"no port from {first_port} to {first_port + 99} is free")


def loopback_addresses(port: int) -> list[tuple[str, int]]:
    """Return the addresses of `localhost`: IPv4, and IPv6 if this machine has it."""
    addresses = [("127.0.0.1", port)]
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        addresses.append(("::1", port))
    except OSError:
        pass
    return addresses


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: partial[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, api: Callable[[], str]) -> None:
        self._api = api
        super().__init__(*arguments, directory=str(CLIENT))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/" and "api" not in parse_qs(url.query):
            self._redirect(f"/?api={self._api()}")
        elif url.path in {"/reference", "/reference/index.html"}:
            self._redirect("/reference/")
        elif url.path == "/reference/":
            self._respond(REFERENCE, "text/html; charset=utf-8")
        elif url.path == "/reference/openapi.yaml":
            # Let "Try it out" call the server that bin/dev runs.
            text = OPENAPI.read_text(encoding="utf-8")
            servers = f"servers:\n  - url: {self._api()}\n"
            text = re.sub(r"^servers:\n(?:[ #].*\n)*", servers, text, count=1, flags=re.MULTILINE)
            self._respond(text, "application/yaml; charset=utf-8")
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        """Return the file of a path. Files below /reference/ are those of Swagger UI."""
        if not path.startswith("/reference/"):
            return super().translate_path(path)
        self.directory, kept = str(_swagger_ui()), self.directory
        try:
            return super().translate_path(path.removeprefix("/reference"))
        finally:
            self.directory = kept

    def end_headers(self) -> None:
        """Make browsers revalidate: the files change during development."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def _redirect(self, location: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _respond(self, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the terminal shows the API's requests."""


@cache
def _swagger_ui() -> Path:
    """Return the folder with Swagger UI's files."""
    package = importlib.util.find_spec("flask_swagger_ui")
    if package is None or not package.submodule_search_locations:
        raise ImportError("flask-swagger-ui is not installed")
    return Path(package.submodule_search_locations[0], "dist")
