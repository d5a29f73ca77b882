"""A client whose reads are served from the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.folders import short_folder
from tests.support.lists import PATHS
from tests.support.proxy import Proxy


@pytest.fixture(scope="module")
def module_proxy(database_url: str) -> Iterator[Proxy]:
    """A faulty network that the servers of a module share."""
    with short_folder() as folder, closing(Proxy(database_url, folder)) as proxy:
        yield proxy


@pytest.fixture
def cached(app: Flask, client: FlaskClient) -> Iterator[FlaskClient]:
    """A client for whom the three lists are cached."""
    listener = app.extensions["change_listener"]
    listener.start()
    listener.wait_until_listening(15)
    for path in PATHS:
        assert client.get(path).status_code == 200
    yield client
    listener.stop()
