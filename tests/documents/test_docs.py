"""The documents match the code: README, .env.example, app.json, openapi.yaml and docs/."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.config import SETTINGS, read_settings
from app.database import schema
from tests.support import tools
from tests.support.database import Sql
from tests.support.lists import each_path
from tests.support.project import ROOT, procfile

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
PINNED = re.compile(r"([a-z0-9-]+)==[0-9][\w.]*( ; .+)?")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def section(document: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    _, _, rest = (ROOT / document).read_text(encoding="utf-8").partition(f"# {heading}\n")
    assert rest, f"{document} has no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a section's table, without its first two lines."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


# --- the README


def test_the_readme_lists_every_setting_with_its_purpose_and_default() -> None:
    listed = rows(section("README.md", "Settings"))
    assert [(name, default) for name, _, default in listed] == [
        (f"`{name}`", f"`{default}`" if default else "–") for name, default in DEFAULTS.items()
    ]
    for (_, meaning, _), setting in zip(listed, SETTINGS, strict=True):
        assert meaning.replace("`", "").startswith(setting.purpose)


def test_the_readme_shows_a_real_response(environ: dict[str, str]) -> None:
    app = create_app({**environ, "APP_ENV": "development"})
    with app.app_context():
        schema.reset()
    sent: Any = app.test_client().get("/api/days").json
    _, _, shown = readme().partition("$ curl localhost:8001/api/days\n")

    def what_is_not_random(days: list[dict[str, Any]]) -> list[Any]:
        return [
            {**day, "interviewers": len(day["interviewers"]), "spots": type(day["spots"])}
            for day in days
        ]

    assert what_is_not_random(json.loads(shown.partition("```")[0])) == what_is_not_random(sent)


def test_the_readme_lists_every_route(app: Flask) -> None:
    (text, *_) = re.findall(r"^\| request .*?^$", readme(), re.MULTILINE | re.DOTALL)
    listed = {request.strip("`") for request, _ in rows(text) if request.startswith("`")}
    assert listed == {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_readme_says_what_each_package_is_for() -> None:
    tree = section("README.md", "The code").partition("gunicorn.conf.py")[0]
    listed = re.findall(r"^  (\w+(?:/|\.py)) ", tree, re.MULTILINE)
    packages = {f"{path.parent.name}/" for path in ROOT.glob("app/*/__init__.py")}
    assert sorted(listed) == sorted(packages | {path.name for path in ROOT.glob("app/*.py")})


# --- settings elsewhere


def test_the_env_example_names_every_setting_and_its_default() -> None:
    example = dotenv_values(ROOT / ".env.example", interpolate=False)
    # The only different one: the file is for development.
    assert example == {**DEFAULTS, "APP_ENV": "development"}
    read_settings({name: value or "" for name, value in example.items()})


def test_the_heroku_button_asks_for_settings_with_their_defaults() -> None:
    manifest = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
    for name, asked in manifest["env"].items():
        assert asked.get("value", "") == DEFAULTS[name]
        assert asked["description"]
        assert asked["required"] is False
    assert manifest["env"]["APP_ENV"]["value"] == "production"
    assert manifest["addons"] == [{"plan": "heroku-postgresql:essential-0"}]
    assert manifest["buildpacks"] == [{"url": "heroku/python"}]


# --- what Heroku reads


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if not line.startswith("    #")]
    assert [line for line in required if not PINNED.fullmatch(line)] == []


def test_requirements_txt_names_the_main_packages() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {match[1] for match in map(PINNED.fullmatch, lines) if match}
    assert names >= {"flask", "psycopg2-binary", "python-dotenv", "gunicorn", "pytest"}


def test_the_python_version_and_the_procfile_are_valid_for_heroku() -> None:
    assert (ROOT / "runtime.txt").read_bytes() == b"python-3.13\n"
    assert (ROOT / ".python-version").read_bytes() == b"3.13\n"
    assert procfile() == {"web": 'gunicorn "app:create_app()"', "release": "flask db prepare"}


# --- links


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes from a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                yield document, target


@pytest.mark.parametrize(
    ("document", "target"),
    [
        pytest.param(document, target, id=f"{document.relative_to(ROOT)}-{target}")
        for document, target in links()
    ],
)
def test_every_relative_link_resolves(document: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    resolved = document.parent / path if path else document
    assert resolved.exists()
    if anchor:
        assert anchor in anchors(resolved)


def test_every_promise_names_tests_that_exist() -> None:
    text = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    promises = re.split(r"^(\d+)\. \*\*", text, flags=re.MULTILINE)[1:]
    assert [int(number) for number in promises[::2]] == list(range(1, len(promises) // 2 + 1))
    for promise in promises[1::2]:
        named = re.findall(r"`([\w/]*test_\w+\.py)(?:::(\w+))?`", promise)
        assert named, promise
        for file, test in named:
            texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob(file)]
            definition = f"def {test}(" if test else "def test_"
            assert any(definition in text for text in texts), f"{file}::{test}"


# --- docs/openapi.yaml


@pytest.fixture(scope="module")
def openapi() -> Any:
    yaml = tools.package("yaml")
    return yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("environment", ["production", "development", "test"])
def test_openapi_has_the_operations_of_each_environment(openapi: Any, environment: str) -> None:
    app = create_app({"APP_ENV": environment})
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {
        (path, method)
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
        if method in {"get", "put", "post", "patch", "delete"}
        and environment in operation.get("x-app-env", [environment])
    }


@each_path
def test_openapi_shows_the_real_responses(openapi: Any, client: FlaskClient, path: str) -> None:
    described = openapi["paths"][path]["get"]["responses"]["200"]
    response = client.get(path)
    assert response.json == described["content"]["application/json"]["example"]
    required = {"ETag", "Cache-Control", "X-Request-ID"}
    assert required <= described["headers"].keys() <= {name for name, _ in response.headers}


def test_openapi_shows_the_response_to_a_reset(openapi: Any, client: FlaskClient) -> None:
    described = openapi["paths"]["/api/debug/reset"]["get"]["responses"]["200"]
    assert client.get("/api/debug/reset").text == described["content"]["text/plain"]["example"]


def test_openapi_shows_bodies_that_are_accepted(
    openapi: Any, client: FlaskClient, sql: Sql
) -> None:
    book = openapi["paths"]["/api/appointments/{appointment_id}"]["put"]
    examples = book["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        assert client.delete("/api/appointments/2").status_code == 204
        assert client.put("/api/appointments/2", json=example["value"]).status_code == 204
        stored = sql("SELECT student, interviewer_id FROM interviews WHERE appointment_id = 2")
        assert stored == [("Ada", 2)]


def test_the_release_is_the_same_everywhere(openapi: Any) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## Version (.+)$", changes, re.MULTILINE)[0] == version
    assert openapi["info"]["version"] == version
