"""The routes of the API, one module per resource, and the rules for a booking.

A view validates its input, executes one SQL statement and returns a response. It raises
errors as exceptions, which `app.http.errors` turns into responses. Read `days` first.
"""
