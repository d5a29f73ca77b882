"""PostgreSQL: connections, statements, the schema and its change listener."""
