"""The Procfile's `release:` command, which Heroku runs after every build."""

from __future__ import annotations

from tests.support.database import Sql
from tests.support.project import ROOT, finish, release
from tests.support.server import free_port


def counts(sql: Sql) -> list[int]:
    tables = ("days", "appointments", "interviewers", "interviews", "available_interviewers")
    return [sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def test_the_release_command_may_run_twice(environ: dict[str, str], sql: Sql) -> None:
    sql((ROOT / "db/schema/drop.sql").read_text())
    code, said = finish(release(environ))
    assert code == 0, said
    assert counts(sql) == [2, 4, 2, 1, 4]
    sql("DELETE FROM interviews")
    code, said = finish(release(environ))
    assert code == 0, said
    assert counts(sql) == [2, 4, 2, 0, 4]


def test_the_release_command_may_be_run_by_several_at_once(
    environ: dict[str, str], sql: Sql
) -> None:
    sql((ROOT / "db/schema/drop.sql").read_text())
    for code, said in [finish(process) for process in [release(environ) for _ in range(4)]]:
        assert code == 0, said
    assert counts(sql) == [2, 4, 2, 1, 4]


def test_the_release_command_succeeds_if_no_database_is_attached_yet() -> None:
    code, said = finish(release({}))
    assert code == 0
    assert said.strip()


def test_the_release_command_reports_an_error_without_the_password() -> None:
    url = f"postgres://u:s3cret@127.0.0.1:{free_port()}/x"
    code, said = finish(release({"DATABASE_URL": url}))
    assert code != 0
    assert "s3cret" not in said
    assert "could not be prepared" in said
