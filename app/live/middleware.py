"""WSGI middleware that responds to WebSocket handshakes (RFC 6455, section 4.2), on any path."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterable, Sequence
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

# Seconds that a handshake waits for the listener of a worker that has just started: a
# socket that is open earlier would be sent every interview when the listener is up.
LISTENER_TIMEOUT = 2.0
# Browsers send far less. Longer headers would take long to parse.
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
        if environ["REQUEST_METHOD"] != "GET" or not _offers_websocket(environ):
            # Any other protocol that a client offers is ignored (RFC 9110, section 7.8).
            environ.pop("HTTP_UPGRADE", None)
            return self.wsgi_app(environ, start_response)
        if not cors.is_allowed(environ.get("HTTP_ORIGIN"), self._origins):
            return problem(403, "This origin may not connect.")(environ, start_response)
        if self._broadcaster.is_stopping:
            return unavailable()(environ, start_response)
        connection: socket.socket | None = environ.get("gunicorn.socket")
        if connection is None:
            refusal = problem(501, "WebSockets need gunicorn. Start the server with bin/dev.")
            return refusal(environ, start_response)
        with self._broadcaster.greedy:
            time.sleep(0)  # one at a time: a thousand may arrive at once
        response = _accept(environ)
        if response is None or response.status_code != 101:
            refusal = problem(
                response.status_code if response else 400,
                "This is not a WebSocket handshake (RFC 6455).",
            )
            refusal.headers["Sec-WebSocket-Version"] = "13"
            return refusal(environ, start_response)
        self._listener.wait_until_listening(LISTENER_TIMEOUT)
        client = WebSocket(connection, response.serialize(), self._broadcaster.greedy)
        self._broadcaster.serve(client, environ["HTTP_X_REQUEST_ID"])
        # Tells gunicorn that the connection is used up.
        raise StopIteration


def _offers_websocket(environ: WSGIEnvironment) -> bool:
    return bool(environ.get("HTTP_UPGRADE", "").lower() == "websocket")


def _accept(environ: WSGIEnvironment) -> Response | None:
    """Decide on a handshake: 101 or an error. None if it is not even worth parsing."""
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
    """Browsers close a socket if none of the protocols that they offer is accepted."""
    return offered[0] if offered else None
