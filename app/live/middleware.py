"""WSGI middleware that responds to WebSocket handshakes (RFC 6455, section 4.2), on any path."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from app.database.change_listener import ChangeListener
from app.http import cors
from app.http.errors import problem, unavailable
from app.live.broadcaster import Broadcaster
from app.live.websocket import WebSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Seconds that a handshake waits for the change listener of a new worker. A socket that
# opens earlier would receive every interview once the listener has connected.
LISTENER_TIMEOUT = 2.0
# Seconds between two handshakes. Without this pause, a thousand that arrive together would
# delay the connections that arrive after them.
HANDSHAKE_INTERVAL = 0.002
# Browsers send far less. Longer headers take too long to parse.
MAX_HANDSHAKE_BYTES = 8192


class WebSocketMiddleware:
    """The middleware; one instance per worker."""

    def __init__(
        self,
        wsgi_app: WSGIApplication,
        broadcaster: Broadcaster,
        listener: ChangeListener,
        origins: Collection[str],
    ) -> None:
        self.wsgi_app = wsgi_app
        self._broadcaster = broadcaster
        self._listener = listener
        self._origins = origins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request (PEP 3333), or keep its connection as a WebSocket."""
        upgrade = environ.get("HTTP_UPGRADE", "").lower()
        if environ["REQUEST_METHOD"] != "GET" or upgrade != "websocket":
            # Any other protocol that a client offers is ignored (RFC 9110, section 7.8).
            environ.pop("HTTP_UPGRADE", None)
            return self.wsgi_app(environ, start_response)
        if not cors.may_open_websocket(environ.get("HTTP_ORIGIN"), self._origins):
            return problem(403, "This origin may not connect.")(environ, start_response)
        if self._broadcaster.is_stopping:
            return unavailable("The server is stopping.")(environ, start_response)
        connection: socket.socket | None = environ.get("gunicorn.socket")
        if connection is None:
            refusal = problem(501, "WebSockets need gunicorn. Start the server with bin/dev.")
            return refusal(environ, start_response)
        with self._broadcaster.socket_turn:
            time.sleep(HANDSHAKE_INTERVAL)
        response = _accept(environ)
        if response is None or response.status_code != 101:
            refusal = problem(
                response.status_code if response else 400,
                "This is not a WebSocket handshake (RFC 6455).",
            )
            refusal.headers["Sec-WebSocket-Version"] = "13"
            if refusal.status_code == HTTPStatus.UPGRADE_REQUIRED:
                refusal.headers["Upgrade"] = "websocket"  # RFC 9110, section 15.5.22
            return refusal(environ, start_response)
        self._listener.wait_until_listening(LISTENER_TIMEOUT)
        client = WebSocket(connection, response.serialize(), self._broadcaster.socket_turn)
        self._broadcaster.serve(client, environ["HTTP_X_REQUEST_ID"])
        # On this exception, the server closes the connection without another response.
        raise StopIteration


def _accept(environ: WSGIEnvironment) -> Response | None:
    """Return the response to a handshake; None if it is too large or not HTTP/1.1."""
    headers = {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name in {"HTTP_CONNECTION", "HTTP_UPGRADE"} or name.startswith("HTTP_SEC_WEBSOCKET_")
    }
    # HTTP/1.0 has no Upgrade (RFC 9110, section 7.8).
    is_outdated = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    if is_outdated or sum(map(len, headers.values())) > MAX_HANDSHAKE_BYTES:
        return None
    protocol = ServerProtocol(select_subprotocol=_first_offered)
    return protocol.accept(Request(environ["PATH_INFO"], Headers(headers)))


def _first_offered(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Accept the first subprotocol: browsers close the socket if none is accepted."""
    return offered[0] if offered else None
