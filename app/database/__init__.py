"""PostgreSQL: connections, statements, the schema and the change listener.

A statement of a view returns or raises within five seconds. The changes of a write that
returns were committed once, and those of a write that raises at most once, even if the
connection breaks during COMMIT.

Read `statements` first, then `commits`, `pool` and `connection`. `change_listener` receives
every change through `notifications`, and uses `interviews` to find changes that caused no
notification.
"""
