"""gunicorn's configuration, with a reason for each setting.

gunicorn reads this file from the working directory. Flags and `GUNICORN_CMD_ARGS`
override it. Invalid settings of the application stop the server here, with one line. In a
worker, gunicorn would stop too, but with a traceback.
"""

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from app.cache import data_version
from app.config import ConfigError, read_settings
from app.database.connection import DatabaseConnection
from app.logs.records import LOGGING
from app.server.gunicorn_path import Logger
from app.server.socket_wait import wait_until_ready
from app.server.worker import Worker

try:
    settings = read_settings()
except ConfigError as error:
    sys.exit(f"Not started: {error}. See .env.example.")

wsgi_app = "app:create_app()"
bind = f"0.0.0.0:{settings['PORT']}"
workers = settings["WEB_CONCURRENCY"]

# gevent serves thousands of WebSockets and slow clients in one process, with a few
# kilobytes for each. With threads, a few idle clients can occupy all of them.
worker_class = Worker
worker_connections = 10_000
# Each connection is an open file, of which a process may have only 1,024 or fewer by
# default. macOS may report an infinite hard limit, but rejects an infinite soft limit.
soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
highest = 10_240 if hard_limit == resource.RLIM_INFINITY else hard_limit
if soft_limit != resource.RLIM_INFINITY:
    soft_limit = max(soft_limit, highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, hard_limit))
    # The worker itself needs about 30 files, besides its connections to PostgreSQL.
    worker_connections = max(1, min(worker_connections, soft_limit - 40 - settings["DB_POOL_SIZE"]))

# Seconds. Heroku's router closes an idle connection after 90. If the server closed it
# first, the router might send a request on it at the same moment.
keepalive = 95
# Seconds for requests to finish when the server stops. The whole stop takes less than five.
graceful_timeout = 4
# Workers update their heartbeat file in memory, where no slow disk can delay it.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# The faster parser needs another package.
http_parser = "python"
# Nothing uses gunicorn's control socket.
control_socket_disable = True

logger_class = Logger
logconfig_dict = LOGGING


def on_starting(server: Any) -> None:
    """Refuse options of gunicorn that would fail later or unnoticed."""
    if server.cfg.is_ssl:
        sys.exit("Not started: the server has no TLS; put a proxy in front of it.")
    if server.cfg.preload_app:
        # gevent must patch a worker before `create_app` runs.
        sys.exit("Not started: the server cannot preload the application; omit --preload.")
    if server.cfg.max_requests:
        # The fast path does not count its requests.
        sys.exit("Not started: the server does not count requests; omit --max-requests.")
    if server.cfg.reload:
        # The imports above load the code before the workers are forked.
        sys.exit("Not started: the server does not load changed code; omit --reload.")
    if server.cfg.proxy_protocol != "off":
        # The fast path does not read the address that a proxy sends.
        sys.exit("Not started: the server ignores the PROXY protocol; omit --proxy-protocol.")


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Limit the number of workers to what the data version supports (SIGTTIN, `--workers`)."""
    if new_value > data_version.MAX_WORKERS:
        server.num_workers = data_version.MAX_WORKERS
        server.log.warning("too many workers", extra={"maximum": data_version.MAX_WORKERS})


def pre_fork(server: Any, worker: Any) -> None:
    """Assign a worker index that no running worker uses."""
    taken = {running.index for running in server.WORKERS.values()}
    worker.index = min(set(range(data_version.WORKER_INDEXES)) - taken, default=None)


def post_fork(server: Any, worker: Any) -> None:
    """Use the counters of the worker index, and make database connections wait with gevent."""
    if worker.index is None:
        # This happens after many quick reloads. gunicorn retries until an index is free.
        server.log.warning("worker not started: too many old workers are still stopping")
        time.sleep(1)
        os._exit(0)
    data_version.take_over(worker.index)
    DatabaseConnection.wait_until_ready = staticmethod(wait_until_ready)


def child_exit(server: Any, worker: Any) -> None:
    """Settle the counters of a worker that has exited, however it exited."""
    if worker.index is not None:
        data_version.settle_counters(worker.index)


def post_worker_init(worker: Any) -> None:
    """Start the change listener, which also logs problems with the database."""
    worker.wsgi.extensions["change_listener"].start()


def when_ready(server: Any) -> None:
    """Log the main settings, without secrets."""
    address = server.address[0]
    server.log.info(
        "started",
        extra={
            "environment": settings["APP_ENV"],
            "port": address[1] if isinstance(address, tuple) else str(address),
            "workers": server.num_workers,
            "pool": settings["DB_POOL_SIZE"],
            "cors_origins": ",".join(sorted(settings["CORS_ORIGINS"])),
        },
    )
