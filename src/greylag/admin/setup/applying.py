"""Carrying out a plan, all or nothing, and undoing what an earlier one did.

The manifest is on the disk before the first change. What fails in the middle is rolled back by
the same walk, backwards, that undo goes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from greylag.admin.setup import manifest
from greylag.admin.setup.asking import Asking
from greylag.admin.setup.manifest import Entry, Manifest, Written
from greylag.admin.setup.place import FILE, FOLDER, Place, SetupError, State
from greylag.admin.setup.putting import Told, put, put_back, refuse_changed
from greylag.admin.setup.steps import LOGS_IN, RECORDS, Account, Act, Change, Plan, Step, digest
from greylag.admin.setup.waiting import Unfinished, own_word
from greylag.core.value import value

Tell = Callable[[str], None]


def carry_through(plan: Plan, place: Place, tell: Tell, check: Callable[[], None]) -> None:
    """Carry out a plan; where a step or the check at its end fails, undo all of it.

    Raises SetupError, which says what went wrong and what could not be taken back.
    """
    with manifest.locked(place):
        _carry_through(plan, place, tell, check)


def _carry_through(plan: Plan, place: Place, tell: Tell, check: Callable[[], None]) -> None:
    before = manifest.load(place)
    accounts = [step for step in plan.steps if isinstance(step, Account)]
    done: list[Step] = []
    try:
        with _named():
            manifest.save(place, manifest.merged(before, plan.mta, accounts, place))
            for step in plan.steps:
                if isinstance(step, Account):
                    done.append(step)
                    _make_account(place, step)
                    tell(f"made the user {step.user}")
            manifest.save(place, manifest.merged(before, plan.mta, plan.steps, place))
            for step in plan.steps:
                if not isinstance(step, Account):
                    _carry_out(place, step, tell, done)
            check()
    except BaseException as error:
        _roll_back(place, before, plan, done, error, tell)
        raise


@contextmanager
def _named() -> Iterator[None]:
    """Make a SetupError of the system's: it names the path."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}") from error


def _carry_out(place: Place, step: Act | Change, tell: Tell, done: list[Step]) -> None:
    if isinstance(step, Change):
        refuse_changed(place, step)
        done.append(step)
        put(place, step.path, step.new(place))
        return
    done.append(step)
    if not place.live or not step.do:
        return
    try:
        run_all(place, step.do)
    except SetupError as error:
        if not step.may_fail:
            raise
        tell("\n".join(error.lines))
    else:
        tell(step.says)


def _roll_back(
    place: Place,
    before: Manifest | None,
    plan: Plan,
    done: list[Step],
    error: BaseException,
    tell: Tell,
) -> None:
    """Go back over the steps that were begun. Each state goes back to that before this run."""
    entries: list[Entry] = []
    for step in done:
        if isinstance(step, Account | Act):
            entries.append(step)
        else:
            entries.append(Written(step.path, step.old, _digests(place, step), step.inside))
    left: list[str] = []
    with _undisturbed():
        # Records of a folder that this run has made are as old as the run.
        back = _go_back(place, plan.mta, entries, left.append, purge=True)
        finished = back.finished
    if finished and before is None:
        manifest.forget(place)
    elif finished and before is not None:
        manifest.save(place, before)
    if finished and not back.left:
        left.append("all that was changed is as it was before")
    if not finished:
        left.append(f"run `greylag setup {plan.mta} --undo` to take back the rest")
    if isinstance(error, SetupError):
        error.lines += left
        return
    with suppress(OSError):  # a connection that is lost
        for line in left:
            tell(line)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal end the way back: a connection that is lost sends SIGHUP twice or more."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Not SIG_IGN: commands that are run would ignore them, too.
    before = [signal.signal(number, lambda _number, _frame: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _digests(place: Place, step: Step) -> tuple[str, ...]:
    assert not isinstance(step, Account | Act)
    return (digest(step.new(place)),)


@value
class Undone:
    """What became of an undo."""

    finished: bool  # else something has to end or be done first, and undo can be run again
    left: tuple[str, ...] = ()  # paths that an admin changed, with what setup put there
    edited: tuple[str, ...] = ()  # paths that he changed, without that
    needed: tuple[str, ...] = ()  # paths that mail would stop without


def undo(place: Place, tell: Tell, *, purge: bool = False) -> Undone:
    """Put back all that setup changed."""
    with manifest.locked(place), _named():
        known = manifest.load(place)
        if known is None:
            raise SetupError("there is nothing to undo: no setup was made here")
        back = _go_back(place, known.mta, list(known.entries), tell, purge=purge, lines=True)
        if back.finished:
            _remember_records(place, known)
        return back


def _remember_records(place: Place, known: Manifest) -> None:
    """Forget all but the records that were kept, and their user: they may be deleted later."""
    kept = [
        one
        for one in known.entries
        if (isinstance(one, Written) and one.inside == RECORDS and place.names(one.path))
        or (isinstance(one, Account) and place.user(one.user) is not None)
    ]
    if any(isinstance(one, Written) for one in kept):
        manifest.keep_only(place, Manifest(manifest.NO_MTA, tuple(kept)))
    else:
        manifest.forget(place)


def _take_lines_out(place: Place, asking: Asking, tell: Tell) -> None:
    """Take lines that an admin wrote out of smtpplugins, before the programs that they name go."""
    found = asking.own_lines()
    if found is None:
        return
    path, left, home = found
    now = place.look(path)
    put(place, path, State(FILE, left, now.mode, now.owner, now.group))
    tell(f"{path}: the lines that name greylag's programs are taken out, as these go")
    if place.live:
        own_word(place, ("@sessions", home), lenient=True)


def _go_back(
    place: Place,
    mta: str,
    entries: list[Entry],
    tell: Tell,
    *,
    purge: bool,
    lines: bool = False,
) -> Undone:
    try:
        stay = _put_all_back(place, mta, entries, tell, purge=purge, lines=lines)
    except Unfinished as error:
        tell(str(error))
        return Undone(finished=False)
    except SetupError as error:
        tell("\n".join(error.lines))
        return Undone(finished=False)
    except OSError as error:
        tell(f"{error.filename}: {error.strerror}: could not be put back")
        return Undone(finished=False)
    return Undone(
        finished=True,
        left=tuple(path for path, told in stay if told.left),
        edited=tuple(path for path, told in stay if told.edited),
        needed=tuple(path for path, told in stay if told.needed),
    )


def _put_all_back(
    place: Place, mta: str, entries: list[Entry], tell: Tell, *, purge: bool, lines: bool
) -> list[tuple[str, Told]]:
    """Go backwards over all that was done; return what was told of paths."""
    records = [one for one in entries if isinstance(one, Written) and one.inside == RECORDS]
    kept = not purge and any(place.names(one.path) for one in records)
    stay: list[tuple[str, Told]] = []
    asking = Asking(place, mta, entries)
    asking.refuse_if_used()
    if lines:
        _take_lines_out(place, asking, tell)
    for one in reversed(entries):
        if isinstance(one, Written):
            instead = asking.instead(one) if lines else None
            told = put_back(place, one, asking.without, purge=purge, instead=instead)
            if told is not None:
                tell(told.text)
                stay.append((one.path, told))
        elif isinstance(one, Account):
            _remove_account(place, one, tell, kept=kept)
        elif place.live:
            run_all(place, one.undo, lenient=True)
    return stay


def run_all(place: Place, commands: tuple[tuple[str, ...], ...], *, lenient: bool = False) -> None:
    """Run commands one after the other. Raises SetupError where one fails, unless lenient."""
    for argv in commands:
        if argv[0].startswith("@"):
            own_word(place, argv, lenient=lenient)
            continue
        done = place.run(argv)
        if done.code and not lenient:
            said = done.said.strip().splitlines()[-3:]
            raise SetupError(f"`{' '.join(argv)}` failed with exit code {done.code}", *said)


def _make_account(place: Place, one: Account) -> None:
    options = ["--system", "--home-dir", one.home, "--no-create-home"]
    options += ["--shell", "/usr/sbin/nologin", "--comment", "greylisting"]
    options += ["--user-group"] if one.with_group else ["--gid", one.user]
    run_all(place, (("useradd", *_prefix(place), *options, one.user),))


def _remove_account(place: Place, one: Account, tell: Tell, *, kept: bool) -> None:
    if place.user(one.user) is None:
        return
    if kept:
        tell(f"the user {one.user} stays, as the records belong to it")
        return
    if own := _own_folders(place, one):
        tell(f"the user {one.user} stays, as it has {' and '.join(own)}, which setup did not make")
        return
    done = place.run(("userdel", *_prefix(place), one.user))
    if done.code:
        tell(f"the user {one.user} could not be removed: {done.said.strip()}")
    elif one.with_group and place.group(one.user) is not None:  # login.defs says whether it is
        place.run(("groupdel", *_prefix(place), one.user))


def _own_folders(place: Place, one: Account) -> list[str]:
    """Return folders that would belong to nobody without this user, and to the next one later."""
    ids = place.user(one.user)
    seen = [(path, place.look(path)) for path in (one.home, LOGS_IN)]
    return [path for path, now in seen if now.kind == FOLDER and ids and now.owner == ids[0]]


def _prefix(place: Place) -> tuple[str, ...]:
    return () if place.live else ("--prefix", str(place.root))
