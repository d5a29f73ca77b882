"""What the tests share. Import from the module that has it; nothing is re-exported here.

- `project`: the repository's root, the Procfile's commands, running one of them
- `server`: the server process, started as the Procfile starts it; ports
- `http`: one HTTP request on a connection of its own: `ask`, `booking`
- `database`: statements as in `psql`, a fresh seed, connection URLs
- `postgres`: a PostgreSQL of a test's own, which it may restart and freeze
- `proxy`: a network that loses messages and breaks connections
- `processes`: what the operating system knows of a process
- `threads`, `waiting`: many clients at once, and waiting for a condition
- `histories`: decides whether what clients saw is linearizable
- `odd_views`: the application with views that stream, send files and break off
"""
