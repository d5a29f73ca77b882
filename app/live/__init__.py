"""WebSockets: every change to an interview, to every browser."""
