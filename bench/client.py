"""A client with one connection, which it opens again when it breaks."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Client:
    """Sends requests one after the other."""

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout
        )

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request with a JSON body; raises `OSError` where there is no answer."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.read())
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(f"no answer: {error!r}") from error
        except OSError:
            self.close()
            raise

    def get(self, path: str) -> Any:
        """What a path's JSON says; raises `OSError` where that is not had."""
        answer = self.request("GET", path)
        if answer.status != 200:
            raise ConnectionError(f"GET {path} was answered with {answer.status}")
        return json.loads(answer.body)

    def book(self, appointment_id: int, student: str, interviewer: int = 1) -> None:
        """Book a slot; raises `OSError` where that was not confirmed."""
        interview = {"student": student, "interviewer": interviewer}
        path = f"/api/appointments/{appointment_id}"
        answer = self.request("PUT", path, {"interview": interview})
        if answer.status != 204:
            raise ConnectionError(f"PUT {path} was answered with {answer.status}")

    def timed_get(self, path: str) -> float:
        """The seconds until a whole answer is there."""
        started = time.perf_counter()
        answer = self.request("GET", path)
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise ConnectionError(f"GET {path} was answered with {answer.status}")
        return seconds

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()
