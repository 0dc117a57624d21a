"""Use cases of an admin: functions that take a store, a clock and values, and return values.

Nothing here prints, asks or ends the process: `cli` does, and so may other front ends.
"""
