"""The Interview Scheduler API: days, appointments and interviewers over HTTP.

`create_app` is a table of contents. Each module it names explains itself; a
request passes through them from the bottom of the list to the top.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from app import config, logs
from app.api import appointments, days, debug, interviewers
from app.cache import middleware
from app.database import change_listener, schema, statements
from app.http import errors, response_headers
from app.live import broadcaster


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Build the application.

    Takes the settings as a mapping of environment variables; without one, the
    process's environment and the `.env` files are read. Connects to nothing.
    Raises `config.ConfigError` where a setting makes no sense.
    """
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(config.read_settings(environ))
    # Every path answers with and without a trailing slash: a browser does not
    # follow a redirect of a CORS preflight.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False

    logs.configure()
    statements.init_app(app)
    schema.init_app(app)
    errors.init_app(app)

    app.register_blueprint(days.bp)
    app.register_blueprint(appointments.bp)
    app.register_blueprint(interviewers.bp)
    if app.config["APP_ENV"] in {"development", "test"}:
        app.register_blueprint(debug.bp)

    # Each wraps what stands above it: a request comes in at the last.
    change_listener.init_app(app)
    middleware.init_app(app)
    broadcaster.init_app(app)
    response_headers.init_app(app)
    return app
