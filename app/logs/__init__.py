"""The log: one logfmt line per event on stdout. Heroku adds the time.

Guarantees for every line, including tracebacks, whatever a client sends (except for lines of
Flask's development server):

- Values are quoted and escaped. No value can end the line or add a field.
- A line has at most 4,096 bytes and is written in one system call.
- Logging never blocks a worker for long.

`records` configures `logging`, `request_log` writes the line of a request, and both write
to `stdout`.
"""
