"""HTTP: problem details, JSON bodies, CORS and the headers of every response."""
