"""The fast path: serves plain requests without gunicorn's parser and response.

It renders a cached response, or else the application's response, byte for byte as
gunicorn would. It collects the whole response first, so no view can stream one.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

import gevent
from flask import Flask
from gunicorn import SERVER
from gunicorn.http.wsgi import base_environ

from app.cache.cached_response import Representation
from app.cache.entry import CacheEntry
from app.http import response_headers
from app.http.response_headers import Headers
from app.http.responses import collect
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
    """The fast path of one worker."""

    def __init__(self, app: Flask, cfg: Any) -> None:
        self.parse = PlainRequestParser().parse
        self._app = app
        self._entries: dict[str, CacheEntry] = app.extensions["cache"].entries
        self._origins = app.config["CORS_ORIGINS"]
        self._environ = {
            **base_environ(cfg),
            "wsgi.multithread": True,
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            # PEP 3333 requires these. Every plain request has a `Host`, which overrides them.
            "SERVER_NAME": "localhost",
            "SERVER_PORT": str(app.config["PORT"]),
        }

    def respond(
        self, request: PlainRequest, peer: str, *, is_proxy_trusted: bool
    ) -> RenderedResponse:
        """Return the response to a request.

        `peer` is the client's address. `is_proxy_trusted` says whether to use the
        `X-Forwarded-Proto` of this peer.
        """
        is_https = is_proxy_trusted and request.header(b"x-forwarded-proto") == "https"
        scheme = "https" if is_https else "http"
        entry = self._entries.get(request.path) if request.method == "GET" else None
        cached = entry.fresh() if entry else None
        if cached is None:
            return self._call_application(request, peer, scheme)
        representation = cached.select(
            request.header(b"if-none-match"), request.header(b"accept-encoding")
        )
        return self._render_cached(request, scheme, representation)

    def _render_cached(
        self, request: PlainRequest, scheme: str, representation: Representation
    ) -> RenderedResponse:
        origin = request.header(b"origin")
        # All unknown origins share one rendered head.
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

    def _call_application(self, request: PlainRequest, peer: str, scheme: str) -> RenderedResponse:
        # Let other connections run, as for a request that gunicorn serves.
        gevent.sleep(0)
        environ = {
            **self._environ,
            "REQUEST_METHOD": request.method,
            "RAW_URI": request.target,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "REMOTE_ADDR": peer,
            "wsgi.url_scheme": scheme,
            "wsgi.input": BytesIO(request.body),
        }
        for name in request.headers:
            environ[_environ_name(name)] = request.header(name)
        status, headers, body = collect(self._app, environ)
        if status[:3] not in {"204", "304"} and "Content-Length" not in dict(headers):
            headers.append(("Content-Length", str(len(body))))
        head = b"%b%b\r\n" % (_first_lines(status, int(time.time())), _encode(headers))
        # `ResponseHeadersMiddleware` has stored the id in the environ.
        return RenderedResponse(head, body, int(status[:3]), environ["HTTP_X_REQUEST_ID"])


@lru_cache(maxsize=128)
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
