"""How gunicorn serves the application: every setting with its reason.

gunicorn finds this file by itself. A flag or `GUNICORN_CMD_ARGS` beats it. The
settings are read here too, since an error found later, in a worker, would start
that worker again for ever.
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
from app.database.pool import Connection
from app.logs import LOGGING
from app.server.socket_wait import wait_until_ready
from app.server.worker import Logger, Worker

try:
    settings = read_settings()
except ConfigError as error:
    sys.exit(f"Not started: {error}. See .env.example.")

wsgi_app = "app:create_app()"
bind = f"0.0.0.0:{settings['PORT']}"
workers = settings["WEB_CONCURRENCY"]

# gevent: thousands of open WebSockets and slow clients in one process, each a few
# kilobytes. With threads, as many idle clients as there are threads stop the API.
worker_class = Worker
worker_connections = 10_000
# A connection is a file; systems allow a process 1,024 or fewer until it asks for more.
# macOS may have no limit, and refuses to be asked for none.
allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 10_240 if most == resource.RLIM_INFINITY else most
if allowed != resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, wanted), most))

# Heroku's router keeps an idle connection for 90 s. The router must be the one that
# closes it, or it sends a request into a connection that is just being closed.
keepalive = 95
# Requests have this long to finish when the server stops; what takes longer is cut
# off. Heroku kills after 30 s.
graceful_timeout = 4
# Where a worker shows that it is alive: a disk can block for longer than the timeout.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# gunicorn's faster parser needs a package of its own; this one is always there.
http_parser = "python"
# No second way in.
control_socket_disable = True

logger_class = Logger
logconfig_dict = LOGGING


# Before the first fork; a worker that replaces another uses the same memory.
data_version.share()


def on_starting(server: Any) -> None:
    """Refuse TLS, which is for the router or proxy in front."""
    if server.cfg.is_ssl:
        sys.exit("Not started: the server has no TLS; put a proxy in front of it.")


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Refuse more workers than share the data version (SIGTTIN, `--workers`)."""
    if new_value > data_version.MAX_WORKERS:
        server.num_workers = data_version.MAX_WORKERS
        server.log.warning(
            "more workers are not supported", extra={"workers": data_version.MAX_WORKERS}
        )


def pre_fork(server: Any, worker: Any) -> None:
    """Give the new worker an index that no living worker has."""
    taken = {living.index for living in server.WORKERS.values()}
    worker.index = min(set(range(data_version.WORKER_INDEXES)) - taken, default=None)


def post_fork(server: Any, worker: Any) -> None:
    """Take over the index's counters, and let greenlets wait for PostgreSQL."""
    if worker.index is None:
        # Reloads in quick succession; gunicorn tries again until old workers are gone.
        server.log.warning("worker not started: too many old workers are still stopping")
        time.sleep(1)
        os._exit(0)
    data_version.take_over(worker.index)
    Connection.wait_until_ready = staticmethod(wait_until_ready)


def post_worker_init(worker: Any) -> None:
    """Listen for changes from the start; what is wrong with the database is logged now."""
    worker.wsgi.extensions["change_listener"].start()


def when_ready(server: Any) -> None:
    """Say what was started, without secrets."""
    server.log.info(
        "started",
        extra={
            "environment": settings["APP_ENV"],
            "port": settings["PORT"],
            "workers": settings["WEB_CONCURRENCY"],
            "pool": settings["DB_POOL_SIZE"],
            "cors_origins": ",".join(sorted(settings["CORS_ORIGINS"])),
        },
    )
