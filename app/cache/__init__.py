"""Cached responses to GET requests.

On one machine, a read sees every write whose response was sent before the read began.
Read `data_version` first: it explains why. `middleware` serves the responses.
"""
