"""The broadcaster: sends every change of an interview to every open WebSocket.

It receives the changes of all processes from the change listener.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence

from websockets.frames import CloseCode

from app.database.notifications import Change
from app.live.websocket import WebSocket, text_frame

log = logging.getLogger(__name__)

# Changes sent before the sockets get a turn to write them.
BATCH_SIZE = 100
# Seconds between checks for sockets that need a ping or have timed out.
KEEP_ALIVE_INTERVAL = 1.0


class Broadcaster:
    """The open sockets of one worker."""

    def __init__(self) -> None:
        self._clients: set[WebSocket] = set()
        self._lock = threading.Lock()
        self._keep_alive_thread: threading.Thread | None = None
        self.is_stopping = False
        # Handshakes, and clients that send a lot, take turns.
        self.socket_turn = threading.Lock()

    def serve(self, client: WebSocket, request_id: str) -> None:
        """Serve a socket and send it every change, until it closes."""
        started = time.monotonic()
        with self._lock:
            self._clients.add(client)
            if self._keep_alive_thread is None:
                self._keep_alive_thread = threading.Thread(
                    target=self._keep_alive, name="keep alive", daemon=True
                )
                self._keep_alive_thread.start()
        if self.is_stopping:
            # `stop` may have run before this socket was added.
            client.close(CloseCode.GOING_AWAY)
        log.info("socket opened", extra={"sockets": len(self._clients), "request_id": request_id})
        try:
            client.run()
        finally:
            with self._lock:
                self._clients.discard(client)
            if not self.is_stopping:
                log.info(
                    "socket closed",
                    extra={
                        "code": client.close_code,
                        "seconds": round(time.monotonic() - started, 1),
                        "sockets": len(self._clients),
                        "request_id": request_id,
                    },
                )

    def stop(self) -> None:
        """Close every socket with 1001: the server is stopping."""
        self.is_stopping = True
        clients = self._open_clients()
        if clients:
            log.info("closing all sockets", extra={"sockets": len(clients)})
        for client in clients:
            client.close(CloseCode.GOING_AWAY)

    def receive(self, changes: Sequence[Change]) -> None:
        """Send every changed interview to every client."""
        interview_changes = [change for change in changes if change.appointment_id is not None]
        for start in range(0, len(interview_changes), BATCH_SIZE):
            self._send(interview_changes[start : start + BATCH_SIZE])

    def _send(self, changes: Sequence[Change]) -> None:
        """Queue the changes at every socket, then let the sockets write."""
        clients = self._open_clients()
        if not clients:
            return
        frames = b"".join(map(_frame, changes))
        for client in clients:
            client.send(frames)
        what = f"appointment {changes[0].appointment_id}"
        if len(changes) > 1:
            what = f"{len(changes)} changes"
        log.info("broadcast", extra={"what": what, "sockets": len(clients)})
        time.sleep(0)

    def _open_clients(self) -> list[WebSocket]:
        with self._lock:
            return list(self._clients)

    def _keep_alive(self) -> None:
        while not self.is_stopping:
            time.sleep(KEEP_ALIVE_INTERVAL)
            now = time.monotonic()
            for client in self._open_clients():
                client.keep_alive(now)


def _frame(change: Change) -> bytes:
    message = {
        "type": "SET_INTERVIEW",
        "id": change.appointment_id,
        "interview": change.interview,
    }
    return text_frame(json.dumps(message, separators=(",", ":"), ensure_ascii=False))
