"""A client whose reads are answered from the cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.lists import PATHS


@pytest.fixture
def cached(app: Flask, client: FlaskClient) -> Iterator[FlaskClient]:
    """A client whose three GETs are served from the cache."""
    listener = app.extensions["change_listener"]
    listener.start()
    listener.wait_until_listening(15)
    for path in PATHS:
        assert client.get(path).status_code == 200
    yield client
    listener.stop()
