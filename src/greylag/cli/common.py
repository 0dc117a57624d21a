"""What all commands share: exit codes, their failures, the settings and the store they run on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import IO, Any, TypeVar

import click

from greylag.admin.typed import WrongValue
from greylag.app.config import CONFIG_VARIABLE, Settings, load
from greylag.cli.home import another_configuration, default_home
from greylag.cli.output import say, say_error
from greylag.core.policy import Policy
from greylag.store import Backend, backend_of, empty_store
from greylag.store.base import Store, StoreError, StoreUnavailable
from greylag.store.owner import name_of
from greylag.store.rehearsal import rehearsal

OK, NOTHING, USAGE = 0, 1, 2
DEFER, REJECT = 10, 11  # of `check`, beside 0 for a pass
# As in sysexits.h.
NO_INPUT, INTERNAL_ERROR, STORE_ERROR, STORE_UNAVAILABLE, CONFIG_ERROR = 66, 70, 74, 75, 78
INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 and the signal's number, as shells have it

_ROOT = 0

# Where a question has nobody to answer it.
NO_TERMINAL = "there is no terminal to ask on: --yes goes on without asking"

F = TypeVar("F", bound=Callable[..., object])


class CommandError(Exception):
    """A command ends here: one line each for what is wrong, and the exit code."""

    def __init__(self, lines: list[str], code: int) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines
        self.code = code


def report_store(error: StoreError) -> int:
    """Say why the store failed; return the exit code."""
    unavailable = isinstance(error, StoreUnavailable)
    return say_error([str(error)], STORE_UNAVAILABLE if unavailable else STORE_ERROR)


class Run:
    """One run of `greylag`: the time it is, where the settings are, what form output has."""

    def __init__(self, config: str | None = None, home: str | None = None) -> None:
        self.now = int(time())
        self.json = False
        self.dry_run = False  # see `cli.dryrun`
        self._config = config
        self._home = home
        self._home_found: str | None = None
        self._settings: Settings | None = None
        self._told = False

    def use_config(self, path: str) -> None:
        """Read this file, as `--config` behind the subcommand says."""
        self._config = path
        self._settings = None

    @property
    def settings(self) -> Settings:
        """The settings, loaded as the plugin does. Raises ConfigError."""
        if self._settings is None:
            self._settings = load(self.environ, self.home)
        return self._settings

    @property
    def environ(self) -> dict[bytes, bytes]:
        """The environment that settings are read from, with `--config` in it."""
        environ = dict(os.environb)
        if self._config is not None:
            environ[CONFIG_VARIABLE] = os.fsencode(self._config)
        return environ

    @property
    def config_option(self) -> str | None:
        """What `--config` said, or GREYLAG_CONFIG."""
        return self._config

    @property
    def home_option(self) -> str | None:
        """What `--qmail-home` said."""
        return self._home

    @property
    def home(self) -> str:
        """The qmail home."""
        if self._home_found is None:  # looked for once: it may be told of
            self._home_found = self._home or default_home()
        return self._home_found

    @property
    def policy(self) -> Policy:
        """The policy that the settings hold."""
        return self.settings.policy

    @property
    def backend(self) -> Backend:
        """The store that the settings name, not opened."""
        return backend_of(self.settings.store_url)

    def tell_configuration(self) -> None:
        """Say, once, where mail may be answered by other settings, and so from another database."""
        for line in () if self._told else another_configuration(self.home, self.environ):
            say(line)
        self._told = True

    def open_store(self, *, create: bool = False) -> Store:
        """Return the store; the caller closes it. Raises StoreError.

        A database that was never made is an empty store, and only `create` makes it.
        """
        backend = self.backend
        create = create and not self.dry_run
        self.tell_configuration()
        if not backend.lasts:
            say("the store is memory: what it holds ends with this command")
        missing = missing_file(backend)
        if missing is not None and not create:
            say(f"{missing}: no database yet, so the store is empty")
            return empty_store()
        if (doubt := backend.doubt()) is not None:
            say(doubt)
        store = opened(backend, self.settings.store_timeout, create=create)
        if missing is not None:
            tell_made(missing)
        return rehearsal(store) if self.dry_run else store


def missing_file(backend: Backend) -> str | None:
    """Return the path of a database file that is not there; None where it is, or may be."""
    path = backend.file
    if path is None:
        return None
    try:
        os.stat(path)
    except FileNotFoundError:
        return path
    except OSError:
        return None  # opening it tells why
    return None


def tell_made(path: str) -> None:
    """Say that a database was made, and what is left to do where its user could not use it."""
    say(f"made the database {path}")
    folder = os.path.dirname(path)
    made, around = os.stat(path), os.stat(folder)
    if made.st_uid == _ROOT:
        say(f"it is root's; for greylag as another user: chown USER {folder} {path}*")
    elif around.st_uid not in (made.st_uid, _ROOT) and made.st_gid != around.st_gid:
        owner = name_of(around.st_uid)
        say(f"{owner}, whose folder it is in, cannot use it yet: chown {owner} {path}*")


def opened(backend: Backend, timeout: float, *, create: bool = True) -> Store:
    """Return the store, or say whose it is where that is why it cannot be opened."""
    with told_whose(backend):
        return backend.open(timeout=timeout, create=create)


@contextmanager
def told_whose(backend: Backend) -> Iterator[None]:
    """Say whose the file of a store is, where that is why it cannot be opened."""
    try:
        yield
    except StoreError:
        path = backend.file
        if path is None or os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            raise
        owner = _owner_of(path)
        if owner is None:
            raise
        told = f"{path}: permission denied; run this command as {owner}"
        raise CommandError([told], STORE_ERROR) from None


def _owner_of(path: str) -> str | None:
    """Return whose a file is, in words; None where it is not there."""
    try:
        return f"the user that it belongs to ({name_of(os.stat(path).st_uid)})"
    except PermissionError:
        return "root, or as the user of the daemon or of the plugin"
    except OSError:
        return None


@contextmanager
def told_as_usage() -> Iterator[None]:
    """Tell of a wrong value as of an option, or an argument, that was used wrongly."""
    try:
        yield
    except WrongValue as error:
        option = f"--{error.name}: " if error.name else ""
        raise click.UsageError(f"{option}{error}") from None


def json_option(command: F) -> F:
    """Give a command the option `--json`; the choice is kept in its Run."""

    def remember(context: click.Context, _parameter: click.Parameter, chosen: bool) -> None:
        run = context.find_object(Run)
        if run is not None:  # none where a shell asks for completions
            run.json = chosen

    text = "Print one JSON document (times in Unix seconds)."
    return click.option(
        "--json", "as_json", is_flag=True, expose_value=False, callback=remember, help=text
    )(command)


def config_everywhere(command: click.Command) -> None:
    """Let `--config` stand behind a command, and those below it, as well as before it."""

    def remember(context: click.Context, _parameter: click.Parameter, path: str | None) -> None:
        if path is not None and (run := context.find_object(Run)) is not None:
            run.use_config(path)

    text = "The greylag.toml to read, as before the command."
    option = click.Option(
        ["--config"], metavar="FILE", expose_value=False, callback=remember, help=text
    )
    command.params.append(option)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        config_everywhere(below)


class InputFile(click.File):
    """A file that a command reads; one that cannot be read ends it with NO_INPUT."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[Any]:
        """Open the file; `-` is standard input."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise CommandError([error.message], NO_INPUT) from error


class InputFolder(click.Path):
    """A folder that has to be there; one that is not ends a command with NO_INPUT."""

    def __init__(self, **options: Any) -> None:
        super().__init__(exists=True, file_okay=False, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Look whether it is there."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            name = "/".join(param.opts) if param else "folder"
            raise CommandError([f"{name}: {error.message}"], NO_INPUT) from error


class Group(click.Group):
    """A group that shows its help on stderr when no command is named, in every click."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{**options, "no_args_is_help": False})  # type: ignore[arg-type]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where nothing is asked."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE)
        return super().parse_args(ctx, args)


def examples(*lines: str) -> str:
    """Return a help epilog that shows these command lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def interactive() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask for a yes; no is what Enter means."""
    return click.confirm(question, err=True)
