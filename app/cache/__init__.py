"""Cached responses and the data version that says whether they are current."""
