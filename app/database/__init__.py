"""PostgreSQL: connections, statements, the schema and the change listener.

A statement returns or raises within five seconds. A write is executed exactly once, even
if the connection breaks during COMMIT. Read `statements` first, then `commits`, `pool` and
`connection`. `change_listener` receives every change through `notifications`. It finds
changes without a notification by comparing `interviews`.
"""
