"""The five tables: what the seeds contain, and what a database contains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.database import Sql

TABLES = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]
ENVIRONMENTS = ["production", "development", "test"]
TRIGGERS = [(table, "notify_change") for table in TABLES] + [("interviews", "notify_truncate")]
INDEXES = [
    ("appointments", "day_id"),
    ("available_interviewers", "day_id"),
    ("available_interviewers", "interviewer_id"),
    ("interviews", "interviewer_id"),
]
# Statements of a reader or writer, which lock tables in the order of the server's statements.
LOCKS_IN_ORDER = [
    ("SELECT * FROM days", "SELECT * FROM appointments"),
    ("SELECT * FROM appointments", "SELECT * FROM interviews"),
    ("SELECT * FROM interviews", "SELECT * FROM available_interviewers"),
    ("SELECT * FROM appointments FOR KEY SHARE", "SELECT * FROM interviewers FOR KEY SHARE"),
    ("SELECT * FROM interviewers FOR KEY SHARE", "DELETE FROM interviews"),
]
INTERVIEWERS = [
    (1, "Sylvia Palmer", "/images/interviewers/3tVgsra_d.webp"),
    (2, "Tori Malcolm", "/images/interviewers/FK8V841_d.webp"),
    (3, "Mildred Nazir", "/images/interviewers/iHq8K8Z_d.webp"),
    (4, "Cohana Roy", "/images/interviewers/LpaY82x_d.webp"),
    (5, "Sven Jones", "/images/interviewers/Nmx0Qxo_d.webp"),
    (6, "Susan Reynolds", "/images/interviewers/nPywAp1_d.webp"),
    (7, "Alec Quon", "/images/interviewers/okB9WKC_d.webp"),
    (8, "Viktor Jain", "/images/interviewers/T2WwVfS_d.webp"),
    (9, "Lindsay Chu", "/images/interviewers/TdOAdde_d.webp"),
    (10, "Samantha Stanic", "/images/interviewers/twYrpay_d.webp"),
]
TEST_SEED = {
    "days": [(1, "Monday"), (2, "Tuesday")],
    "appointments": [(1, "12pm", 1), (2, "1pm", 1), (3, "12pm", 2), (4, "1pm", 2)],
    "interviewers": INTERVIEWERS[:2],
    "interviews": [(1, "Archie Cohen", 1, 1)],
    "available_interviewers": [(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)],
}
NO_ROWS: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}


def rows(sql: Sql, without_ids: bool = False) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    found = {table: sql(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}
    if without_ids:
        return {table: [row[1:] for row in listed] for table, listed in found.items()}
    return {table: [tuple(row) for row in listed] for table, listed in found.items()}


def existing(sql: Sql) -> list[str]:
    """Return the names of all tables that exist."""
    return [name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


def additions(sql: Sql) -> tuple[list[Any], list[Any]]:
    """Return the triggers, and the columns that have an index."""
    triggers = sql(
        "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger"
        " WHERE NOT tgisinternal ORDER BY tgname, array_position(%s, tgrelid::regclass::text)",
        [TABLES],
    )
    indexes = sql(
        "SELECT indrelid::regclass::text, attname::text FROM pg_index"
        " JOIN pg_class ON pg_class.oid = indexrelid"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE relnamespace = 'public'::regnamespace AND NOT indisunique ORDER BY 1, 2"
    )
    return [tuple(row) for row in triggers], [tuple(row) for row in indexes]


@contextmanager
def counting_writes(sql: Sql) -> Iterator[Callable[[], int]]:
    """Count the rows of interviews that are written. Yields a function that returns the number."""
    sql(
        "CREATE TABLE written (id SERIAL);"
        "CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO written DEFAULT VALUES; RETURN NULL; END $$;"
        "CREATE TRIGGER count_write AFTER INSERT OR UPDATE OR DELETE ON interviews"
        " FOR EACH ROW EXECUTE FUNCTION count_write()"
    )
    try:
        yield lambda: int(sql("SELECT count(*) FROM written")[0][0])
    finally:
        sql("DROP FUNCTION count_write CASCADE; DROP TABLE written")


def make_a_drop_fail_in_the_middle(sql: Sql) -> None:
    """Make DROP FUNCTION fail, which follows DROP TABLE: the name becomes ambiguous."""
    sql("CREATE FUNCTION notify_table_change(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
