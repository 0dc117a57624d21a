"""The `greylag` command: its subcommands, and how it ends."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import click

from greylag import __version__
from greylag.admin.lists import ALLOW, DENY
from greylag.app.config import DEFAULT_PATH, ConfigError
from greylag.app.spelling import close
from greylag.cli.check import check
from greylag.cli.common import (
    CONFIG_ERROR,
    INTERNAL_ERROR,
    INTERRUPTED,
    OK,
    PIPE_CLOSED,
    STORE_ERROR,
    CommandError,
    Group,
    InputFolder,
    Run,
    config_everywhere,
    report_store,
)
from greylag.cli.completion import completion
from greylag.cli.config import config
from greylag.cli.db import db
from greylag.cli.demo import demo
from greylag.cli.distrust import distrust
from greylag.cli.doctor import doctor
from greylag.cli.expire import expire
from greylag.cli.exports import export
from greylag.cli.forget import forget
from greylag.cli.home import DEFAULT_HOME
from greylag.cli.imports import import_group
from greylag.cli.lists import list_group
from greylag.cli.output import ERRORS_AS_JSON, say_error
from greylag.cli.providers import group as providers
from greylag.cli.qmail import qmail
from greylag.cli.recipients import expect, trap
from greylag.cli.release import release
from greylag.cli.report import report
from greylag.cli.search import search
from greylag.cli.serve import serve
from greylag.cli.setup import setup
from greylag.cli.stats import stats
from greylag.cli.switch import observe, off, on
from greylag.cli.top import top_command
from greylag.cli.web import web
from greylag.cli.whatif import whatif
from greylag.cli.why import why
from greylag.store.base import StoreError

_LONGEST = 300  # characters of an unexpected error
_UNKNOWN = re.compile(r"No such command ['\"](.*)['\"]")
_NUMBERS = (  # each begins where a word does: from every letter of a long one takes minutes
    (
        r"(?<!\S)(\S+) is not in the range x>=(\d+)$",
        r"expected a whole number of at least \2, got \1",
    ),
    (r"(?<!\S)(\S+) is not in the range (\d+)<=x<=(\d+)$", r"expected \2 to \3, got \1"),
    (r"(?<!\S)(\S+) is not a valid integer range$", r"expected a whole number, got \1"),
)
_EXTRA = re.compile(r"Got unexpected extra arguments? \(.*\)")
_EPILOG = """\b
Exit codes:
  0   done; of check: pass
  1   nothing found, or refused
  2   wrong usage or a bad value: nothing was changed
  10  of check: defer; of doctor: warnings
  11  of check: reject; of doctor: errors
  66  a file or folder that was named cannot be read
  70  an error of greylag itself: please report it
  74  the store cannot be read or written
  75  the store, or the mail program, cannot be used now: try again later
  78  the configuration has errors
  130 interrupted
  141 the reader of the output went away

\b
Examples:
  greylag check 192.0.2.1 user@example.org info@example.net
  greylag allow add 192.0.2.0/24 --comment "our branch office"
  greylag stats --since 7d
"""


class Ending(click.Command):
    """A command that turns every way it ends into an exit code and a line on stderr.

    A command returns its exit code; None is 0.
    """

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, and end the process with the exit code."""
        options["standalone_mode"] = False  # click would print its errors in its own way
        ERRORS_AS_JSON.set(_json_in(options.get("args") or (args[0] if args else None)))
        open_missing()
        try:
            code = super().main(*args, **options)
            sys.stdout.flush()  # of --help and --version, which end before invoke
        except (click.ClickException, click.Abort, CommandError, ConfigError, OSError) as error:
            if isinstance(error, OSError):
                give_up_output()
            code = PIPE_CLOSED if isinstance(error, BrokenPipeError) else _report(error)
        except StoreError as error:
            code = report_store(error)
        except Exception as error:  # noqa: BLE001 - nobody is helped by a traceback
            code = say_error([f"internal error: {_cause(error)} (please report)"], INTERNAL_ERROR)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> int:
        """Run a command; a reader that hangs up early (`| head`) is no error to talk about."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()  # what waits in the buffer may meet the closed pipe, too
        except OSError as error:
            give_up_output()
            if not isinstance(error, BrokenPipeError):
                raise
            return PIPE_CLOSED
        return OK if code is None else int(code)


def _json_in(words: Sequence[str] | None) -> bool:
    """Tell whether `--json` is an option here; what is wrong may be a word before it."""
    return "--json" in takewhile(
        lambda word: word != "--", sys.argv[1:] if words is None else words
    )


def _cause(error: Exception) -> str:
    """Return what an unexpected error says, on one line; a bug may hide in that, too."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - see above
        text = type(error).__name__
    return " ".join(text[: 10 * _LONGEST].split())[:_LONGEST]


class Main(Ending, Group):
    """The group of all commands."""


def open_missing() -> None:
    """Give /dev/null to the standard streams that we were started without, as by `>&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the lowest free descriptor is its own
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def give_up_output() -> None:
    """Let go of what could not be written, or Python would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _report(
    error: click.ClickException | click.Abort | CommandError | ConfigError | OSError,
) -> int:
    if isinstance(error, click.Abort):
        return say_error(["interrupted"], INTERRUPTED)
    if isinstance(error, ConfigError):
        lines, code = error.errors, CONFIG_ERROR
    elif isinstance(error, CommandError):
        lines, code = error.lines, error.code
    elif isinstance(error, click.ClickException):
        lines, code = [_click_line(error)], error.exit_code
    else:
        lines, code = [f"{error.filename or 'output'}: {error.strerror}"], STORE_ERROR
    return say_error(lines, code)


def _click_line(error: click.ClickException) -> str:
    """Return click's message on one line, and where the usage stands."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    line = _unknown(error, context) if context else ""
    line = line or " ".join(error.format_message().split()).rstrip(".")
    line = _EXTRA.sub("Got more arguments than expected", line)  # one may be a URL, mistyped
    for pattern, words in _NUMBERS:
        line = re.sub(pattern, words, line)
    return f"{line} (see {context.command_path} --help)" if context else line


def _unknown(error: click.ClickException, context: click.Context) -> str:
    """Say what was meant by an unknown option or command, or which there are.

    click's own suggestions share a few letters with the word, and mislead.
    """
    command = context.command
    if isinstance(error, click.NoSuchOption):
        word = error.option_name
        there = [p.opts[0] for p in command.get_params(context) if p.opts[0][0] == "-"]
        line = f"No such option {word!r}"
    elif isinstance(command, click.Group) and (found := _UNKNOWN.search(error.message)):
        word = found[1]
        there = command.list_commands(context)
        line = f"No such command {word!r}"
    else:
        return ""
    meant = [repr(name) for name in close(word, there)]
    if meant:
        return f"{line}. Did you mean {' or '.join(meant)}?"
    return f"{line}: there are {', '.join(there)}"


@click.group("greylag", cls=Main, epilog=_EPILOG)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    envvar="GREYLAG_CONFIG",
    show_envvar=True,
    help=f"The greylag.toml to read (else {DEFAULT_PATH}, if there).",
)
@click.option(
    "--qmail-home",
    metavar="DIR",
    type=InputFolder(),
    help="Where control/greylisting is looked for (else here, if there is one, or in "
    f"{DEFAULT_HOME}).",
)
@click.version_option(__version__, prog_name="greylag")
@click.pass_context
def cli(context: click.Context, config_file: str | None, qmail_home: str | None) -> None:
    """Greylisting for qmail and Postfix: see why mail is delayed, keep the lists, see figures."""
    context.obj = Run(config_file, qmail_home)


for _command in (
    *(why, release, check, serve, off, on, observe),
    *(list_group(ALLOW), list_group(DENY), expect, trap, providers),
    *(stats, top_command, whatif, report, search, forget, distrust, expire),
    *(export, import_group, db, config, setup, doctor, qmail, web, demo, completion),
):
    config_everywhere(_command)
    cli.add_command(_command)


def main() -> None:
    """Run `greylag` and end the process."""
    cli(prog_name="greylag")


def cleanup() -> None:
    """Do what the old plugin's cron script did, under its name: `greylag expire`, unasked.

    On a quiet server most records may have expired since the night before: it cleaned then, too.
    """
    cli(["expire", "--yes", *sys.argv[1:]], prog_name="greylag")  # as its usage names it
