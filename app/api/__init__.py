"""The routes, one module for each of the API's nouns."""
