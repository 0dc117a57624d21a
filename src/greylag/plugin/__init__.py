"""Processes that a mail server starts: one for each recipient or connection."""
