"""Live updates: every WebSocket receives every change of an interview.

A client that is slow or hostile delays no other client, and uses bounded memory. Read
`broadcaster` first, then `websocket` and its `send_queue`.
"""
