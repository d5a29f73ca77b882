"""gunicorn's worker. No other package imports gunicorn or gevent.

Requests are limited in size and time, so no client can occupy a worker. Read `worker`
first, then `client_connection`.
"""
