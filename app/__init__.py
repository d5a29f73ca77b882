"""The Interview Scheduler API: days, appointments and interviewers over HTTP.

Read `create_app` first. gunicorn's worker answers from the cache without WSGI if it can.
Every other request passes through the middleware, outermost first, to a view in `app.api`.
The code uses threads. In gunicorn's worker, gevent turns each into a greenlet.

This API replaces the Node server `scheduler-api` of a course.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from app import config
from app.api import appointments, days, debug, interviewers
from app.cache import data_version
from app.cache.middleware import CacheMiddleware
from app.database import commands, statements
from app.database.change_listener import ChangeListener
from app.http import errors
from app.http.application import Application
from app.http.response_headers import ResponseHeadersMiddleware
from app.http.responses import cacheable_paths
from app.live.broadcaster import Broadcaster
from app.live.middleware import WebSocketMiddleware
from app.logs import records


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Create the application, without connecting to PostgreSQL or starting a thread.

    `environ` holds the settings as environment variables; the default is the process's
    environment, completed from the `.env` files. Raises `config.ConfigError` if a
    setting is invalid.
    """
    app = Application(__name__)
    app.config.from_mapping(config.read_settings(environ))

    records.configure()
    # The module `data_version` implements `CommitObserver`.
    statements.init_app(app, commit_observer=data_version)
    commands.init_app(app)
    errors.init_app(app)

    app.register_blueprint(days.bp)
    app.register_blueprint(appointments.bp)
    app.register_blueprint(interviewers.bp)
    if app.config["APP_ENV"] in {"development", "test"}:
        app.register_blueprint(debug.bp)

    origins = app.config["CORS_ORIGINS"]
    listener = ChangeListener(app.config["DATABASE"])
    cache = CacheMiddleware(app.wsgi_app, cacheable_paths(app))
    broadcaster = Broadcaster()
    listener.subscribe(cache)
    listener.subscribe(broadcaster)
    app.wsgi_app = ResponseHeadersMiddleware(  # type: ignore[method-assign]
        WebSocketMiddleware(cache, broadcaster, listener, origins), origins
    )
    # gunicorn's worker starts the listener, closes the WebSockets when it stops, and sends
    # cached responses without WSGI.
    app.extensions["change_listener"] = listener
    app.extensions["broadcaster"] = broadcaster
    app.extensions["cache"] = cache
    return app
