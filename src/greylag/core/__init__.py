"""The rules. Pure: no I/O, no clock, no asyncio, no os. Whatever affects a verdict is here.

Start with `engine`: it holds the order of the rules and sends the reader on from there.
"""
