"""`greylag web`: the dashboard, and who may sign in to it. The pages are in the package `web`."""

from __future__ import annotations

import sys
from getpass import getpass
from importlib.util import find_spec

import click

from greylag.app.option import Option
from greylag.app.options import BY_KEY
from greylag.cli.common import (
    CONFIG_ERROR,
    NOTHING,
    OK,
    STORE_UNAVAILABLE,
    USAGE,
    CommandError,
    Group,
    Run,
    examples,
    json_option,
)
from greylag.cli.deleting import confirm_deletion, yes_option
from greylag.cli.dryrun import dry_run_option
from greylag.cli.output import say, write_json, write_table
from greylag.cli.plain import plain_option

_NEEDED = ("starlette", "uvicorn", "jinja2", "argon2")
_ROLES = ("viewer", "operator", "admin")
_MOST_TYPED = 4096  # characters of standard input


class _Web(Group):
    """A group in which `greylag web` is `greylag web serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if not args or (args[0][:1] == "-" and args[0] != "--help"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(
    "web",
    cls=_Web,
    short_help="Serve the dashboard.",
    epilog=examples("greylag web", "greylag web passwd alice --role operator"),
)
def web() -> None:
    """Serve the dashboard, and say who may sign in to it."""


@web.command("serve", epilog=examples("greylag web", "greylag web --read-only"))
@click.option("--read-only", is_flag=True, help="Change nothing, for any user.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen, instead of web.listen.")
@click.pass_obj
def serve(run: Run, /, read_only: bool, listen: str | None) -> None:
    """Serve the dashboard in the foreground, until SIGTERM (serve can be left out).

    It listens on the loopback address unless web.listen says otherwise, and does not start before
    somebody can sign in. On a terminal it prints a link that makes the first user, once.
    """
    need_web()
    from greylag.web.accounts import AccountsError
    from greylag.web.serve import CannotServe, PlaceTaken, bound, prepare, web_of
    from greylag.web.serve import run as run_web

    settings = run.settings
    if listen is not None:
        settings.values["web.listen"] = _place(BY_KEY["web.listen"], listen)
    run.tell_configuration()
    made = web_of(settings, read_only=read_only)
    try:
        link = prepare(made, terminal=sys.stderr.isatty())
        listening = bound(made.place)
    except PlaceTaken as error:
        raise CommandError([str(error)], STORE_UNAVAILABLE) from None
    except (CannotServe, AccountsError) as error:
        raise CommandError([str(error)], CONFIG_ERROR) from None
    if not made.place.loopback:
        say("others can reach it: put a proxy with TLS before it, or passwords cross the network")
    if link is not None:
        say("nobody can sign in yet. This link makes the first user, once, within 15 minutes:")
        click.echo(link, err=True)
    else:
        say(f"the dashboard is at {made.place.url}")
    run_web(made, listening)


def _place(option: Option, text: str) -> object:
    try:
        return option.read(text)
    except ValueError as error:
        raise click.UsageError(f"--listen: {error}") from None


@web.command("passwd", epilog=examples("greylag web passwd alice --role operator"))
@click.argument("user", default="admin")
@click.option("--role", type=click.Choice(_ROLES), help="What the user may do; admin for a first.")
@click.option("--remove", is_flag=True, help="Delete the user.")
@yes_option
@dry_run_option
@click.pass_obj
def passwd(run: Run, /, user: str, role: str | None, *, remove: bool, yes: bool) -> int:
    """Set the password of USER (admin, if none is named), who is made if there is no such user.

    It is asked for on a terminal, and else read from standard input: one line. All sessions of the
    user end.
    """
    need_web()
    from greylag.web.accounts import (
        Accounts,
        AccountsError,
        Hasher,
        Role,
        check_name,
        check_password,
    )

    accounts = Accounts(run.settings.values["web.users"], dry_run=run.dry_run)
    try:
        name = check_name(user)
        if remove:
            confirm_deletion(
                run, "Delete the user", lambda: {name}.intersection(accounts.all()), yes=yes
            )
            gone = accounts.remove(name)
            say(f"{name}: {'deleted' if gone else 'there is no such user'}")
            return OK if gone else NOTHING
        accounts.all()  # a file that cannot be used is told before a password is typed
        secret = "" if run.dry_run else Hasher().make(check_password(_typed_password(name), name))
        account, known = accounts.put(name, secret, Role(role) if role else None)
    except (ValueError, AccountsError) as error:
        raise CommandError([str(error)], USAGE) from None
    told = "has a new password" if known else "may sign in"
    say(f"{name}: {told}, as {account.role.value} ({accounts.path})")
    return OK


def _typed_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(_MOST_TYPED).rstrip("\r\n")
    first = getpass(f"New password of {name}: ")
    if getpass("Once more: ") != first:
        raise ValueError("the two passwords differ: nothing was changed")
    return first


@web.command("users", epilog=examples("greylag web users"))
@plain_option
@json_option
@click.pass_obj
def users(run: Run, /) -> None:
    """Show who may sign in, and as what."""
    need_web()
    from greylag.web.accounts import Accounts, AccountsError

    try:
        accounts = Accounts(run.settings.values["web.users"])
        there = accounts.all().values()
    except AccountsError as error:
        raise CommandError([str(error)], CONFIG_ERROR) from None
    if run.json:
        write_json({"users": [{"name": a.name, "role": a.role.value} for a in there]})
    elif there:
        write_table(("user", "role"), [(a.name, a.role.value) for a in there])
    else:
        say("nobody may sign in")


def need_web() -> None:
    """Raise CommandError where a library of the dashboard is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        told = (
            f"the dashboard needs {', '.join(missing)}: `make install` in the clone of greylag"
            " brings them; else pip install 'greylag[web]', or with Debian's package of greylag"
            f" apt-get install {' '.join(f'python3-{name}' for name in missing)}"
        )
        raise CommandError([told], CONFIG_ERROR)
