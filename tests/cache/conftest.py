"""A client whose reads are answered from the cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.lists import PATHS
from tests.support.waiting import wait_for


@pytest.fixture
def stored(app: Flask, client: FlaskClient) -> Iterator[FlaskClient]:
    """A client whose three GETs are answered from stored responses."""
    feed = app.extensions["change_listener"]
    feed.start()
    wait_for(lambda: feed.is_reliable)
    for path in PATHS:
        assert client.get(path).status_code == 200
    yield client
    feed.stop()
