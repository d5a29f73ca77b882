"""Run the server, its database and the pages, and restart the server after each change.

It runs the same server as production: gunicorn with gunicorn.conf.py. The server restarts
when the code, the SQL or a `.env` file changes. PostgreSQL is embedded unless the settings
name a database. Both run under a watchdog, so that neither outlives this process.
"""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn
from watchfiles import watch

from app import config
from app.database import hosts
from bin import embedded_postgres, pages
from bin.embedded_postgres import NotStarted
from bin.server import Server, is_taken, say

ROOT = config.ROOT
FIRST_PAGES_PORT = 8010
# The settings that name a database. A user or a password alone does not.
DATABASE_LOCATION_SETTINGS = ("DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE")
ENV_FILES = {".env", ".env.production", ".env.development", ".env.test"}


class Development:
    """The running processes: at most one embedded PostgreSQL, one server, the pages."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._events: queue.Queue[Path | Server] = queue.Queue()
        self._embedded_url = ""
        self._api = ""
        self._server: Server | None = None
        stack.callback(self._stop_server)

    def run(self, *, open_browser: bool) -> None:
        """Start everything, and restart the server after each change, until an exception."""
        settings = self._start_server()
        client = pages.serve(FIRST_PAGES_PORT, lambda: self._api)
        self._watch()
        summary = self._summary(settings, client)
        say(summary)
        if not {"*", client} & settings["CORS_ORIGINS"]:
            say(f"CORS_ORIGINS does not include {client}: the client cannot call the API.")
        if open_browser:
            webbrowser.open(client)
        while True:
            event = self._events.get()
            if isinstance(event, Path):
                say(f"{event.relative_to(ROOT)} changed: restarting the server.")
                self._stop_server()
                try:
                    settings = self._start_server()
                except (NotStarted, config.ConfigError) as error:
                    say(f"Not started: {error}")
                else:
                    # The summary shows settings, which may have changed.
                    before, summary = summary, self._summary(settings, client)
                    if summary != before:
                        say(summary)
                    continue
            elif event is not self._server:
                continue  # it was stopped
            say("The server has ended. It starts again when a file changes.")

    def _start_server(self) -> dict[str, Any]:
        """Start the server on a prepared database, and return its settings."""
        environ = {**os.environ, "APP_ENV": _app_env(), "FLASK_SKIP_DOTENV": "1"}
        settings = config.read_settings(config.complete_from_files(environ))
        if _names_a_database(settings):
            _say_where_the_database_is(settings)
        else:
            environ = {name: value for name, value in environ.items() if not name.startswith("PG")}
            environ["DATABASE_URL"] = self._embedded_database()
        if not environ.get("WEB_CONCURRENCY", "").strip():
            environ.pop("WEB_CONCURRENCY", None)  # gunicorn stops if it is blank
        for address in pages.loopback_addresses(settings["PORT"]):
            if is_taken(address):
                raise NotStarted(
                    f"port {settings['PORT']} is in use. Choose another: PORT=8002 bin/dev"
                )
        _prepare_database(environ, settings)
        self._server = Server(environ, settings, self._events.put)
        if not self._server.wait_until_ready():
            self._stop_server()
            raise NotStarted("see the server's last lines above")
        self._api = f"http://localhost:{settings['PORT']}"
        return settings

    def _embedded_database(self) -> str:
        if not self._embedded_url:
            say("Starting PostgreSQL. Its data is in .postgres.")
            self._embedded_url = self._stack.enter_context(
                embedded_postgres.running(ROOT / ".postgres")
            )
            # The server must stop before its database does.
            self._stack.callback(self._stop_server)
        return self._embedded_url

    def _stop_server(self) -> None:
        if self._server:
            server, self._server = self._server, None
            server.stop()

    def _watch(self) -> None:
        """Queue an event for every change of a file that the server reads."""

        def watch_files(*paths: Path, recursive: bool) -> None:
            try:
                for changes in watch(
                    *paths, recursive=recursive, watch_filter=_is_read_by_the_server
                ):
                    self._events.put(Path(min(path for _, path in changes)))
            except (OSError, RuntimeError) as error:
                say(f"Cannot watch files: {error}. Restart bin/dev after a change.")

        for paths, recursive in [([ROOT / "app", ROOT / "db"], True), ([ROOT], False)]:
            threading.Thread(
                target=watch_files, args=paths, kwargs={"recursive": recursive}, daemon=True
            ).start()

    def _summary(self, settings: dict[str, Any], client: str) -> str:
        rows = [
            ("Client", client),
            ("API", f"{self._api}/api/days"),
            ("API reference", f"{client}/reference/"),
            ("Live updates", self._api.replace("http", "ws", 1)),
        ]
        if not _names_a_database(settings):
            rows.append(("Database", _psql_command(self._embedded_url)))
        if settings["APP_ENV"] != "production" and not hosts.is_remote(settings["DATABASE"]):
            rows.append(("Reset", f"curl {self._api}/api/debug/reset"))
        rows.append(("Stop", "Ctrl-C"))
        return "\n" + "".join(f"  {name:<15}{value}\n" for name, value in rows)


def _app_env() -> str:
    """Return APP_ENV from the environment or `.env`; the default is development."""
    named = [os.environ.get("APP_ENV"), config.read_env_file(ROOT / ".env").get("APP_ENV")]
    return next((name for name in named if name and name.strip()), "development")


def _names_a_database(settings: dict[str, Any]) -> bool:
    return any(settings[name] for name in DATABASE_LOCATION_SETTINGS)


def _say_where_the_database_is(settings: dict[str, Any]) -> None:
    where = hosts.location(settings["DATABASE"])
    source = _database_setting_source(settings)
    say(f"Using the database {where.database} on {where.server}: {source}.")
    if hosts.is_remote(settings["DATABASE"]):
        say("It is not on this machine or a private network: debug/reset is refused.")


def _database_setting_source(settings: dict[str, Any]) -> str:
    """Return which setting names the database, and where it is set."""
    name = next(name for name in DATABASE_LOCATION_SETTINGS if settings[name])
    if os.environ.get(name, "").strip():
        return f"{name} in the environment"
    in_env = config.read_env_file(ROOT / ".env").get(name, "").strip()
    return f"{name} in {'.env' if in_env else '.env.' + settings['APP_ENV']}"


def _prepare_database(environ: dict[str, str], settings: dict[str, Any]) -> None:
    prepared = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "db", "prepare"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        check=False,
    )
    if prepared.returncode != 0:
        message = prepared.stdout.strip()
        if _names_a_database(settings):
            message += (
                f"\nThe database is named by {_database_setting_source(settings)}. "
                "Unset it to use the PostgreSQL of bin/dev."
            )
        raise NotStarted(message)
    say(prepared.stdout.strip())


def _is_read_by_the_server(change: object, path: str) -> bool:
    return path.endswith((".py", ".sql")) or Path(path).name in ENV_FILES


def _psql_command(url: str) -> str:
    """Return the psql command for the embedded database. Uses the bundled psql if necessary."""
    arguments = parse_dsn(url)
    program = "psql"
    if not shutil.which(program):
        program = os.path.relpath(embedded_postgres.program(program), ROOT)
    return shlex.join([program, "-h", arguments["host"], "-U", arguments["user"]])
