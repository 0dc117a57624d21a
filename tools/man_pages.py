#!/usr/bin/env python3
"""Write the man pages into a folder: `tools/man_pages.py DIR`.

They are made of what the programs themselves know, so they cannot go stale: commands and options
of click's help, the table of all settings, and sections of the handbook (exit codes, variables).
greylag(1) has a page for each of its commands, such as greylag-why(1).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from greylag import __version__
from greylag.app.options import OPTIONS
from greylag.cli.jgreylist_clean import clean
from greylag.cli.main import cli

sys.path.insert(0, str(Path(__file__).parent))
from roff import code, escaped, inline, item, markdown, section, table

DOCS = Path(__file__).parent.parent / "docs"
FILES = {
    "/etc/greylag/greylag.toml": "the settings; none are needed",
    "control/greylisting": "the settings of the old plugin, below the qmail home",
    "/var/lib/greylag/greylag.db": "the database, with -wal and -shm beside it",
    "/run/greylag/greylag.sock": "the socket of the daemon",
}
NAMES = {
    "greylisting": "qmail-spp plugin that greylists",
    "ifauthskip": "qmail-spp plugin that ends the plugins for users who have logged in",
    "jgreylist": "greylist connections before qmail-smtpd",
    "jgreylist-clean": "delete expired records of jgreylist's files",
    "greylisting_cleanup": "delete expired records, under the name of the old script",
}


def part(page: str, heading: str) -> str:
    """Return a section of a page of the handbook, without its heading."""
    text = (DOCS / page).read_text()
    found = re.search(
        rf"^(##+) {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise SystemExit(f"{page} has no section {heading}")
    return found[2].strip("\n")


def exit_codes() -> str:
    """Return the exit codes of `greylag`, from the first table of the page that lists them."""
    text = part("reference/commands.md", "Description")
    (rows,) = re.findall(r"^\| exit code .*\n(?:\|.*\n)+", text, re.MULTILINE)
    return table(rows.strip().split("\n"))


def files(*names: str) -> str:
    """Return files with what they are: these, or all."""
    return "".join(item(f"`{name}`", FILES.get(name, "")) for name in names or FILES)


def page(name: str, number: int, short: str, *sections: tuple[str, str]) -> str:
    """Return a whole page; the order of sections is that of man-pages(7)."""
    head = f'.TH {escaped(name.upper())} {number} "" "greylag {__version__}" "greylag"\n'
    named = section("NAME", f"{escaped(name)} \\- {escaped(short.rstrip('.'))}\n")
    return head + named + "".join(section(title, body) for title, body in sections if body)


def help_text(command: click.Command) -> str:
    """Return the paragraphs of a command's help."""
    blocks = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n")
    return "".join(f".PP\n{inline(' '.join(block.split()))}\n" for block in blocks)


def options(command: click.Command, way: str) -> str:
    """Return the options of a command, as its help has them."""
    context = click.Context(command, info_name=way)
    found = filter(None, (one.get_help_record(context) for one in command.get_params(context)))
    shown = (f".TP\n\\fB{escaped(name)}\\fR\n{escaped(text)}\n" for name, text in found if text)
    return "".join(shown)


def synopsis(command: click.Command, way: str) -> str:
    """Return how a command is called."""
    context = click.Context(command, info_name=way)
    words = " ".join(command.collect_usage_pieces(context))
    return f".PP\n\\fB{escaped(way)}\\fR {escaped(words)}\n"


def shown_examples(command: click.Command) -> list[str]:
    """Return the command lines that the help of a command shows."""
    lines = (command.epilog or "").split("\n")
    return [line.strip() for line in lines if line.startswith("  ")]


def leaves(command: click.Command, way: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command, or all that a group has."""
    if isinstance(command, click.Group):
        for name, sub in sorted(command.commands.items()):
            yield from leaves(sub, f"{way} {name}")
    else:
        yield way, command


def command_page(name: str, command: click.Command) -> str:
    """Return the page of a command, with a part for each of its subcommands."""
    found = list(leaves(command, f"greylag {name}"))
    alone = len(found) == 1
    described = "".join(
        ("" if alone else f".SS {escaped(way)}\n") + help_text(sub) for way, sub in found
    )
    chosen = "".join(
        ("" if alone else f".SS {escaped(way)}\n") + options(sub, way) for way, sub in found
    )
    examples = dict.fromkeys(
        line for sub in (command, *(c for _, c in found)) for line in shown_examples(sub)
    )
    short = command.get_short_help_str(200)
    return page(
        f"greylag-{name}",
        1,
        short[:1].lower() + short[1:],
        ("SYNOPSIS", "".join(synopsis(sub, way) for way, sub in found)),
        ("DESCRIPTION", described),
        ("OPTIONS", chosen),
        ("EXIT STATUS", exit_codes()),
        ("FILES", files()),
        ("EXAMPLES", code(list(examples) or [f"greylag {name} --help"])),
        ("SEE ALSO", "\\fBgreylag\\fR(1), \\fBgreylag.toml\\fR(5)\n"),
    )


def main_page() -> str:
    """Return greylag(1), which lists all commands."""
    context = click.Context(cli, info_name="greylag")
    listed = "".join(
        item(f"`greylag-{name}`(1)", command.get_short_help_str(200))
        for name, command in sorted(cli.commands.items())
        if not command.hidden
    )
    return page(
        "greylag",
        1,
        "why is mail delayed? records, lists and figures of greylisting",
        ("SYNOPSIS", synopsis(cli, context.command_path)),
        ("DESCRIPTION", help_text(cli)),
        ("COMMANDS", listed),
        ("OPTIONS", options(cli, "greylag")),
        ("EXIT STATUS", exit_codes()),
        ("FILES", files()),
        ("EXAMPLES", code(shown_examples(cli) or ["greylag stats", "greylag off \\-\\-for 2h"])),
        ("SEE ALSO", "\\fBgreylag.toml\\fR(5), \\fBgreylisting\\fR(8), \\fBjgreylist\\fR(8)\n"),
    )


def settings_page() -> str:
    """Return greylag.toml(5): each setting of the table, with what the handbook says to it."""
    body = ""
    for option in OPTIONS:
        told = part("reference/configuration.md", option.key)
        body += f".SS {escaped(option.key)}\n" + markdown(told)
    tables = part("reference/configuration.md", "Tables for some recipients")
    return page(
        "greylag.toml",
        5,
        "settings of greylag",
        ("SYNOPSIS", "\\fB/etc/greylag/greylag.toml\\fR\n"),
        ("DESCRIPTION", markdown(part("reference/configuration.md", "What it is"))),
        ("OPTIONS", body),
        ("TABLES FOR SOME RECIPIENTS", markdown(tables)),
        (
            "EXIT STATUS",
            inline("`greylag config --check` exits with 0 if all is right, and with 78 if not.\n"),
        ),
        ("FILES", files("/etc/greylag/greylag.toml", "control/greylisting")),
        (
            "EXAMPLES",
            code(["[policy]", 'delay = "2m"', "", "[server]", 'policy = ["127.0.0.1:10023"]']),
        ),
        ("SEE ALSO", "\\fBgreylag\\-config\\fR(1)\n"),
    )


def plugin_page(name: str, source: str, options_of: str, ends: str, *examples: str) -> str:
    """Return the page of a plugin, which has no options but reads variables."""
    about = inline("It has no options, and reads variables of the environment.") + "\n"
    found = markdown(part(source, options_of))
    described = markdown(part(source, "Description"))
    return page(
        name,
        8,
        NAMES[name],
        ("SYNOPSIS", markdown(part(source, "Synopsis"))),
        ("DESCRIPTION", "" if options_of == "Description" else described),
        ("OPTIONS", about + found),
        ("EXIT STATUS", markdown(ends)),
        ("FILES", files()),
        ("EXAMPLES", code(list(examples))),
        ("SEE ALSO", "\\fBgreylag\\fR(1), \\fBgreylag.toml\\fR(5)\n"),
    )


def cleaner_page(name: str, command: click.Command, *examples: str) -> str:
    """Return the page of a program that cron runs."""
    return page(
        name,
        8,
        NAMES[name],
        ("SYNOPSIS", synopsis(command, name)),
        ("DESCRIPTION", help_text(command)),
        ("OPTIONS", options(command, name)),
        ("EXIT STATUS", exit_codes()),
        ("FILES", files()),
        ("EXAMPLES", code(list(examples))),
        ("SEE ALSO", "\\fBgreylag\\-expire\\fR(1), \\fBjgreylist\\fR(8)\n"),
    )


def pages() -> dict[str, str]:
    """Return all pages by the names of their files."""
    always = "Always 0. qmail-spp would refuse the mail after a crash."
    run_script = "exec /var/qmail/plugins/jgreylist /var/qmail/bin/qmail-smtpd"
    smtpplugins = ("[rcpt]", "plugins/ifauthskip", "plugins/greylisting")
    found = {
        f"greylag-{name}.1": command_page(name, command)
        for name, command in cli.commands.items()
        if not command.hidden
    }
    return {
        "greylag.1": main_page(),
        **found,
        "greylag.toml.5": settings_page(),
        "greylisting.8": plugin_page(
            "greylisting", "reference/plugins.md", "Environment", always, *smtpplugins
        ),
        "ifauthskip.8": plugin_page(
            "ifauthskip", "reference/ifauthskip.md", "Environment", always, *smtpplugins
        ),
        "jgreylist.8": plugin_page(
            "jgreylist",
            "start/jgreylist.md",
            "The environment",
            "0 if the client was refused, 1 if a variable is missing or wrong, 111 if PROGRAM"
            " cannot be executed; else that of PROGRAM.",
            run_script,
        ),
        "jgreylist-clean.8": cleaner_page(
            "jgreylist-clean", clean, "jgreylist-clean -q /var/lib/jgreylist"
        ),
        "greylisting_cleanup.8": cleaner_page(
            "greylisting_cleanup", cli.commands["expire"], "greylisting_cleanup --dry-run"
        ),
    }


def main() -> None:
    """Write them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
