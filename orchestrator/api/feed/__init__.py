"""The event feed: committed events over a websocket, resumable."""
