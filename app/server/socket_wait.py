"""Lets a greenlet wait for a socket of psycopg2, which gevent does not patch.

gevent's `select.poll` would do, but it is slower, and every booking waits at least twice.
"""

from __future__ import annotations

from gevent.hub import Waiter, get_hub

READ, WRITE = 1, 2


def wait_until_ready(descriptor: int, for_reading: bool, seconds: float) -> bool:
    """Wait until a socket is readable or writable. Returns False after `seconds`."""
    hub = get_hub()
    waiter: Waiter[bool] = Waiter(hub)
    ready = hub.loop.io(descriptor, READ if for_reading else WRITE)
    # A shorter timer would end the wait before the socket is checked.
    late = hub.loop.timer(max(seconds, 0.001))
    try:
        ready.start(waiter.switch, True)
        late.start(waiter.switch, False)
        return bool(waiter.get())
    finally:
        ready.stop()
        ready.close()
        late.stop()
        late.close()
