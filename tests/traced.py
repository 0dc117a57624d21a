"""The path of a RCPT through greylag's files, as Python's profiler sees it.

`python -m tests.traced CONFIG FILE` is the daemon; at its end FILE has what was called.

How it is counted, from the question being read to the answer being written:

- *entered*: files of which a function was called.
- *stops*: those of them out of which a call led into another file. The others only gave a value to
  whoever asked (a hash, a quoted word), so a reader need not open them to follow.
- *climbs*: how often the RCPT came back to the floor that leads it (the plugin or the server), from
  a call that had led it on over floors below; and calls from a floor to a higher one that did so.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import greylag

SOURCE = f"{Path(greylag.__file__).parent}/"
FLOORS = {"core": 0, "wire": 1, "store": 1, "service": 2, "server": 3, "app": 4, "plugin": 5}
BEGIN, WRITTEN = "data_received", "_write_ready"
THREADS = ("MainThread", "greylag-store")
# What comes again and again, whether there is a RCPT or not.
ASIDE = ("_maintain", "_step_lists", "_tick", "_call")


class Call(NamedTuple):
    """A function that was called, or has returned."""

    thread: str
    file: str
    name: str
    depth: int
    returned: bool

    @property
    def floor(self) -> int:
        return FLOORS[self.file.partition("/")[0]]


class Tracer:
    """Notes the calls of greylag's functions in the order of time."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event in ("call", "return") and code.co_filename.startswith(SOURCE):
            file, depth = code.co_filename.removeprefix(SOURCE), 0
            above: FrameType | None = frame
            while above is not None:
                above, depth = above.f_back, depth + 1
            thread = threading.current_thread().name
            self.calls.append(Call(thread, file, code.co_name, depth, event == "return"))


class Way(NamedTuple):
    """What was counted."""

    entered: set[str]
    stops: set[str]
    climbs: list[str]


def counted(calls: Iterable[Call], top: int) -> Way:
    """Count one path, which the floor `top` leads."""
    entered: set[str] = set()
    stops: set[str] = set()
    climbs: list[str] = []
    stacks: dict[str, list[tuple[Call, set[int]]]] = {}
    for call in calls:
        stack = stacks.setdefault(call.thread, [])
        if call.returned:
            if stack and stack[-1][0].depth == call.depth:
                done, floors = stack.pop()
                led = floors - {done.floor}
                if stack and led and stack[-1][0].floor != done.floor:
                    caller = stack[-1][0]
                    if caller.floor == top or caller.floor < done.floor:
                        climbs.append(f"{done.file}: {done.name} -> {caller.file}")
            continue
        entered.add(call.file)
        if stack and stack[-1][0].file != call.file:
            stops.add(stack[-1][0].file)
        for _above, floors in stack:
            floors.add(call.floor)
        stack.append((call, set()))
    return Way(entered, stops, climbs)


def requests(calls: Iterable[Call]) -> Iterator[list[Call]]:
    """Return the calls of each request that the daemon answered."""
    path: list[Call] | None = None
    aside: dict[str, int] = {}
    for call in calls:
        if call.thread not in THREADS:
            continue
        if call.depth > aside.get(call.thread, 1_000_000):
            continue
        aside.pop(call.thread, None)
        if call.name in ASIDE:
            aside[call.thread] = call.depth
        elif call.name == BEGIN and not call.returned:
            path = [call]
        elif path is not None:
            path.append(call)
            if call.name == WRITTEN and call.returned:
                yield path
                path = None


def traced(step: Callable[[], object]) -> list[Call]:
    """Run a step, and return what it called in this thread."""
    tracer = Tracer()
    sys.setprofile(tracer)
    try:
        step()
    finally:
        sys.setprofile(None)
    return tracer.calls


def main() -> None:
    """Serve, and write down what was called."""
    from greylag.app.serve import serve

    config, out = sys.argv[1:]
    tracer = Tracer()
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    try:
        serve({b"GREYLAG_CONFIG": config.encode()}, ".")
    finally:
        sys.setprofile(None)
        Path(out).write_text(json.dumps(tracer.calls))


if __name__ == "__main__":
    main()
