"""Codecs that never see a socket, a file or a clock: bytes to values, values to bytes."""
