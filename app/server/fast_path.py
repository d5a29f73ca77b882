"""The fast path: serves plain requests without gunicorn's parser and response.

It sends a cached response, or else the response of the application, byte for byte as
gunicorn would. One call sends a whole response, so a view cannot stream it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from email.utils import formatdate
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

from gunicorn import SERVER

from app.cache.cached_response import Representation
from app.cache.middleware import Entry
from app.http import response_headers
from app.http.response_headers import Headers
from app.server.plain_request import PlainRequest, PlainRequestParser

# RFC 9110, section 5.
BLANKS = " \t"
_are_header_lines = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*\r\n)*"
).fullmatch


class RenderedResponse(NamedTuple):
    """A response as it is sent, and the values of its log line."""

    head: bytes
    body: bytes
    status: int
    request_id: str


class FastPath:
    """The fast path of one worker.

    `environ` holds the entries of the WSGI environment that all requests share. `entries`
    are the cached responses by path, and `origins` the allowed ones.
    """

    def __init__(
        self,
        wsgi_app: Any,
        environ: Mapping[str, Any],
        entries: Mapping[str, Entry],
        origins: Collection[str],
    ) -> None:
        self.parse: Callable[[bytes], PlainRequest | None] = PlainRequestParser().parse
        self._wsgi_app = wsgi_app
        self._environ = environ
        self._entries = entries
        self._origins = origins

    def respond(
        self,
        request: PlainRequest,
        connection_environ: Mapping[str, str],
        *,
        is_proxy_trusted: bool,
    ) -> RenderedResponse:
        """Return the response to a request.

        `connection_environ` holds the entries of the WSGI environment for the connection.
        `is_proxy_trusted` says whether to use the `X-Forwarded-Proto` of its peer.
        """
        is_https = is_proxy_trusted and request.header(b"x-forwarded-proto") == "https"
        scheme = "https" if is_https else "http"
        if request.line.method == "GET":
            entry = self._entries.get(request.line.path)
            cached = entry and entry.fresh()
            if cached:
                representation = cached.select(
                    request.header(b"if-none-match"), request.header(b"accept-encoding")
                )
                return self._render_cached(request, scheme, representation)
        return self._call_application(request, {**connection_environ, "wsgi.url_scheme": scheme})

    def _render_cached(
        self, request: PlainRequest, scheme: str, representation: Representation
    ) -> RenderedResponse:
        origin = request.header(b"origin")
        # All unknown origins share one entry.
        allowed = origin if origin in self._origins else None
        lines = representation.encoded.get((scheme, allowed))
        if lines is None:
            lines = _encode(
                response_headers.complete(representation.headers, scheme, allowed, self._origins)
            )
            representation.encoded[scheme, allowed] = lines
        request_id = response_headers.request_id(request.header(b"x-request-id"))
        head = b"%b%bX-Request-ID: %b\r\n\r\n" % (
            _first_lines(representation.status, int(time.time())),
            lines,
            request_id.encode(),
        )
        return RenderedResponse(
            head, representation.body, int(representation.status[:3]), request_id
        )

    def _call_application(self, request: PlainRequest, environ: dict[str, Any]) -> RenderedResponse:
        environ = {
            **self._environ,
            **environ,
            "REQUEST_METHOD": request.line.method,
            "RAW_URI": request.line.target,
            "PATH_INFO": request.line.path,
            "QUERY_STRING": request.line.query,
            "wsgi.input": BytesIO(request.body),
        }
        for name, value in request.headers.items():
            environ[_environ_name(name)] = value.decode("latin-1").strip(BLANKS)
        started: list[Any] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            started[:] = [status, headers]

        pieces = self._wsgi_app(environ, start)
        try:
            body = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        status, headers = started
        if status[:3] not in {"204", "304"} and not any(
            name == "Content-Length" for name, _ in headers
        ):
            headers.append(("Content-Length", str(len(body))))
        head = b"%b%b\r\n" % (_first_lines(status, int(time.time())), _encode(headers))
        return RenderedResponse(head, body, int(status[:3]), environ["HTTP_X_REQUEST_ID"])


@lru_cache(maxsize=256)
def _environ_name(header: bytes) -> str:
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"


@lru_cache(maxsize=16)
def _first_lines(status: str, second: int) -> bytes:
    """Return the status line and gunicorn's headers. `second` is the Unix time."""
    date = formatdate(second, usegmt=True)
    return (
        f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {date}\r\nConnection: keep-alive\r\n"
    ).encode("latin-1")


def _encode(headers: Headers) -> bytes:
    lines = "".join([f"{name}: {value.strip(BLANKS)}\r\n" for name, value in headers])
    encoded = lines.encode("latin-1")
    if not _are_header_lines(encoded):
        raise ValueError("a response header is invalid")
    return encoded
