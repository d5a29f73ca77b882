"""Code that tests share. Import from its modules; nothing is re-exported here.

The project and its processes:
- `project`: the repository's root, the Procfile's commands, running them
- `server`: a server process, started as the Procfile starts it; ports
- `folders`: temporary folders for sockets and for the data of PostgreSQL
- `application`: types for applications in this process
- `processes`: what the operating system knows of a process; freezing one
- `reaper`: ends what is left if pytest is killed
- `tools`: programs and packages that a machine may lack
- `pace`: limits in seconds, scaled to this machine
- `development`, `tutorial`: copies of the repository; bin/dev; a document's steps
- `odd_views`, `short_timeouts`, `without_fast_path`, `late_notifications`: variants of the
  application, for `serve`

PostgreSQL:
- `database`: statements as in `psql`, a fresh seed, connection URLs
- `tables`: what the seeds contain, and what a database contains
- `postgres`: a PostgreSQL of a test's own, which it may restart and freeze
- `proxy`: a faulty network: it loses, delays and breaks connections

Clients:
- `http`: one HTTP request on a connection of its own
- `websocket`: WebSocket clients, and the frames that they receive
- `load`: clients that send requests without a pause
- `threads`, `waiting`: many clients at once, and waiting for a condition

What is expected:
- `lists`, `seed`, `statuses`: the three lists, the test seed, requests for the usual statuses
- `problems`, `unavailable`: problem details (RFC 9457), and a 503 within 5 seconds
- `histories`: decides whether what clients saw is linearizable
"""
