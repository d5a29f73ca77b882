"""HTTP: Flask, problem details, JSON bodies, CORS and response headers.

Every error response is `application/problem+json`. Every response, except a WebSocket's
101, has a request id, security headers and CORS headers. Read `errors` first, then
`response_headers`.
"""
