"""The daemon's edges: sockets, sessions, the thread that owns the store, life cycle."""
