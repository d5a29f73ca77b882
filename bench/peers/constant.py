"""Fixed responses: the most that gunicorn and uvicorn can serve.

`SIZES` in the environment names the paths and the bytes of each response:
`/api/days=388 /api/interviewers=812`.
"""

import os

HEADERS = {
    path: [("Content-Type", "application/json"), ("Content-Length", size)]
    for path, _, size in (pair.partition("=") for pair in os.environ.get("SIZES", "").split())
}
RAW_HEADERS = {
    path: [(name.lower().encode(), value.encode()) for name, value in headers]
    for path, headers in HEADERS.items()
}
BODIES = {path: b"x" * int(headers[1][1]) for path, headers in HEADERS.items()}


def wsgi(environ, start_response):
    """Respond to a request (PEP 3333)."""
    path = environ["PATH_INFO"]
    start_response("200 OK", list(HEADERS[path]))
    return [BODIES[path]]


async def asgi(scope, receive, send):
    """Respond to a request (ASGI 3)."""
    if scope["type"] == "http":
        path = scope["path"]
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS[path]})
        await send({"type": "http.response.body", "body": BODIES[path]})
