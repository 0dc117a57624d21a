"""The composition root: configuration to store to service."""
