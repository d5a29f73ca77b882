"""How a greenlet waits for a socket of psycopg2, which gevent does not know.

It is what `select.poll` does under gevent, without its objects for each call: a booking
waits for PostgreSQL three times.
"""

from __future__ import annotations

from gevent.hub import Waiter, get_hub

READ, WRITE = 1, 2


def wait_until_ready(descriptor: int, for_reading: bool, seconds: float) -> bool:
    """Wait until a socket can be read, or written; False if that takes longer than `seconds`."""
    hub = get_hub()
    waiter: Waiter[bool] = Waiter(hub)
    ready = hub.loop.io(descriptor, READ if for_reading else WRITE)
    # With less, the timer would end the wait before the socket is looked at.
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
