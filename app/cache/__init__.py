"""Cached responses to GET requests.

Among the workers of one gunicorn, a read sees every write whose response was sent before the
read began. Read `data_version` first: it explains why. Then read `entry`, the cached response
of one path. `middleware` serves the responses.
"""
