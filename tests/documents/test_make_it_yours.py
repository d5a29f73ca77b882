"""docs/make-it-yours.md does what it says: its steps are performed on copies of the repository."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.pace import is_within
from tests.support.project import procfile
from tests.support.server import Serve, Server
from tests.support.tutorial import GitCheckout
from tests.support.waiting import wait_for

DOCUMENT = "docs/make-it-yours.md"

Running = Callable[[GitCheckout], Server]


@pytest.fixture
def copy(tmp_path: Path) -> GitCheckout:
    """A copy of the repository."""
    return GitCheckout(tmp_path / "copy")


@pytest.fixture
def serve_copy(environ: dict[str, str], serve: Serve) -> Running:
    """Prepares the database with a copy's schema and starts the copy's server."""

    def start(copy: GitCheckout) -> Server:
        copy.run("flask db reset", **environ)
        command = f"cd {copy.folder} && exec {procfile()['web']}"
        return serve(f"sh -c {shlex.quote(command)}")

    return start


@contextmanager
def edited(path: Path) -> Iterator[list[str]]:
    """The lines of a file, to be changed in place."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    yield lines
    path.write_text("".join(lines), encoding="utf-8")


# Add a resource


def test_the_new_resource_is_served_cached_and_fresh(
    copy: GitCheckout, serve_copy: Running, sql: Sql, postgres: str
) -> None:
    copy.perform(DOCUMENT, "Add a resource")
    server = serve_copy(copy)

    def seats() -> set[int]:
        # Six connections, so that each worker is asked.
        return {ask(server, "GET", "/api/rooms").json["1"]["seats"] for _ in range(6)}

    first = ask(server, "GET", "/api/rooms")
    assert (first.status, first.json["1"]) == (200, {"id": 1, "name": "Ada", "seats": 4})
    known = {"If-None-Match": first.headers["Etag"]}
    assert ask(server, "GET", "/api/rooms", headers=known).status == 304
    sql("UPDATE rooms SET seats = 5 WHERE id = 1")
    wait_for(lambda: seats() == {5})
    ((trigger,),) = sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'rooms'::regclass")
    sql(f"DROP TRIGGER {trigger} ON rooms")
    assert seats() == {5}
    sql("UPDATE rooms SET seats = 6 WHERE id = 1")
    wait_for(lambda: seats() == {6})
    with edited(copy.folder / "README.md") as lines:
        (row,) = (line for line in lines if line.startswith("| `GET /api/interviewers` |"))
        lines.insert(lines.index(row), "| `GET /api/rooms` | the rooms, keyed by id |\n")
    files = "tests/api/test_rooms.py tests/documents/test_docs.py tests/documents/test_openapi*"
    copy.check(f"{files} -k 'rooms or operations or route or every_response'", postgres)


# Leave out the cache, or live updates


def test_without_the_cache_every_read_asks_the_database(
    copy: GitCheckout, serve_copy: Running, sql: Sql
) -> None:
    copy.perform(DOCUMENT, "Leave out the cache")
    server = serve_copy(copy)
    assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
    assert ask(server, "GET", "/api/appointments").json["2"]["interview"]["student"] == "Ada"
    sql("ALTER TABLE interviews DISABLE TRIGGER ALL")
    sql("DELETE FROM interviews")
    assert ask(server, "GET", "/api/appointments").json["2"]["interview"] is None


def test_without_live_updates_reads_and_writes_work(
    copy: GitCheckout, serve_copy: Running, sql: Sql
) -> None:
    copy.perform(DOCUMENT, "Leave out live updates")
    server = serve_copy(copy)
    assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
    assert ask(server, "GET", "/api/appointments").json["2"]["interview"]["student"] == "Ada"
    sql("DELETE FROM interviews")
    wait_for(lambda: ask(server, "GET", "/api/appointments").json["2"]["interview"] is None)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert ask(server, "GET", "/", headers=upgrade).status in {400, 404}
    assert is_within(server.stop(), 5)


# Delete what you do not need, and rename the rest

DELETED = r"SAVE_DELAY|TEST_ERROR|debug/reset"


def delete_mentions(copy: GitCheckout, pattern: str) -> None:
    """Do by hand what the document leaves to the reader: rows, settings, tests, promises."""
    for path in [copy.folder / "README.md", *copy.folder.glob("docs/*.md")]:
        with edited(path) as lines:
            lines[:] = [line for line in lines if not re.match(rf"\| [^|]*({pattern})", line)]
    with edited(copy.folder / ".env.example") as lines:
        lines[:] = [re.sub(rf"(^#.*\n)*^({pattern})=.*\n", "", "".join(lines), flags=re.MULTILINE)]
    manifest = json.loads(copy.read("app.json"))
    manifest["env"] = {
        name: value for name, value in manifest["env"].items() if not re.fullmatch(pattern, name)
    }
    with edited(copy.folder / "app.json") as lines:
        lines[:] = [json.dumps(manifest)]
    deleted = {
        name
        for path in copy.folder.glob("tests/**/*.py")
        for name in delete_tests_that_name(path, pattern)
    }
    with edited(copy.folder / "docs/promises.md") as lines:
        lines[:] = [re.sub(rf"::({'|'.join(deleted)})\b", "", "".join(lines))]


def delete_tests_that_name(path: Path, pattern: str) -> list[str]:
    """Delete parameters and functions that name something; return the functions' names."""
    deleted = []
    with edited(path) as lines:
        lines[:] = [line for line in lines if not re.match(rf'\s+\(?"[^" ]*({pattern})".*,$', line)]
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                start = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
                end = node.end_lineno
                if re.search(pattern, "".join(lines[start:end])):
                    lines[start:end] = [""] * (end - start)
                    deleted.append(node.name)
    return deleted


@pytest.fixture
def mine(copy: GitCheckout) -> GitCheckout:
    """A copy that has only what it needs, under another name."""
    copy.perform(DOCUMENT, "Delete what you do not need")
    delete_mentions(copy, DELETED)
    copy.perform(DOCUMENT, "Rename it")
    copy.run("rm tests/documents/test_make_it_yours.py")
    copy.run("ruff check -q --fix --unsafe-fixes . && ruff format -q")
    copy.commit()
    return copy


def test_another_name_reaches_every_place(mine: GitCheckout, postgres: str) -> None:
    left = mine.run(f"git grep -iIn scheduler -- . ':!LICENSE' ':!{DOCUMENT}' || true")
    assert all("lighthouse-labs/scheduler-api" in line for line in left.splitlines()), left
    assert "Interview Scheduler API contributors" in mine.read("LICENSE")
    assert not mine.run("git grep -n '/bench' -- .github pyproject.toml || true")
    mine.check("tests/documents/test_docs.py tests/api/test_days.py", postgres)


@pytest.mark.slow
def test_what_is_left_passes_every_check(mine: GitCheckout, postgres: str) -> None:
    mine.run("ruff check && ruff format --check && mypy")
    mine.check("tests --numprocesses=4 --dist=loadfile", postgres)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "files"),
    [
        ("Add a resource", "app tests"),
        ("Leave out the cache", "app gunicorn.conf.py"),
        ("Leave out live updates", "app gunicorn.conf.py"),
    ],
)
def test_the_changed_code_is_as_clean_as_before(
    copy: GitCheckout, heading: str, files: str
) -> None:
    copy.perform(DOCUMENT, heading)
    copy.run(f"ruff check {files} && ruff format --check {files} && mypy {files}")
