"""The application with views that stream, send a file, set odd headers or break off.

The response to a GET is collected before it is sent; the response to a POST is not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from flask import Flask, Response, send_file

from app import create_app


def create() -> Flask:
    """Create the application; gunicorn calls it by name."""
    app = create_app()

    @app.route("/streamed", methods=["GET", "POST"])
    def streamed() -> Response:
        return Response(iter([b"one,", b"", b"two,", b"three"]))

    @app.route("/file", methods=["GET", "POST"])
    def file() -> Response:
        return send_file(__file__, mimetype="text/x-python")

    @app.route("/from-memory", methods=["GET", "POST"])
    def from_memory() -> Response:
        return send_file(io.BytesIO(b"m" * 300_000), mimetype="text/plain")

    @app.get("/vary/<value>")
    def vary(value: str) -> Response:
        return Response("x", headers={"Vary": value})

    @app.post("/broken-off")
    def broken_off() -> Response:
        def pieces() -> Iterator[bytes]:
            yield b"one,"
            raise RuntimeError("broken off")

        return Response(pieces())

    return app
