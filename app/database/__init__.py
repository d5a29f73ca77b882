"""PostgreSQL: connections, statements, the schema and the change listener.

A statement returns or raises within five seconds. A write that returns was executed exactly
once, and one that raises at most once, even if the connection breaks during COMMIT.

Read `statements` first, then `commits`, `pool` and `connection`. `change_listener` receives
every change through `notifications`, and uses `interviews` to find changes that caused no
notification.
"""
