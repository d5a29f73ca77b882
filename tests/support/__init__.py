"""What the tests share. Import from the module that has it; nothing is re-exported here.

The project and its processes:
- `project`: the repository's root, the Procfile's commands, running them
- `server`: a server process, started as the Procfile starts it; ports
- `folders`: temporary folders for sockets and for the data of PostgreSQL
- `application`: types for applications in this process
- `processes`: what the operating system knows of a process; freezing one
- `odd_views`: the application with views that stream, send files and break off

PostgreSQL:
- `database`: statements as in `psql`, a fresh seed, connection URLs
- `tables`: what the seeds contain, and what a database contains
- `postgres`: a PostgreSQL of a test's own, which it may restart and freeze
- `proxy`: a network that loses messages and breaks connections

Clients:
- `http`: one HTTP request on a connection of its own: `ask`, `booking`, `send_bytes`
- `websocket`: WebSocket clients, and the frames that they receive
- `load`: clients that ask again and again
- `threads`, `waiting`: many clients at once, and waiting for a condition

What is expected:
- `lists`, `seed`, `statuses`: the three lists, the test seed, a request for each status
- `problems`: problem details (RFC 9457)
- `histories`: decides whether what clients saw is linearizable
"""
