"""The response that every list of the API is sent in."""

from __future__ import annotations

from flask import Response


def cacheable_json(text: str) -> Response:
    """A response with this JSON text.

    `no-cache` allows to store it, but only for use after asking the server whether it
    is still current (RFC 9111, section 5.2.2.4).
    """
    return Response(text, mimetype="application/json", headers={"Cache-Control": "no-cache"})
