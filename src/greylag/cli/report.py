"""`greylag report`: what to look at, and the figures: on the terminal, as a page, by mail."""

from __future__ import annotations

import io
import socket
from contextlib import closing, redirect_stdout
from textwrap import wrap

import click

from greylag.admin.digest import Digest, digest
from greylag.admin.moments import moment
from greylag.admin.newfile import write_over
from greylag.cli.common import Run, examples, json_option
from greylag.cli.mailing import address, send
from greylag.cli.output import say, say_wrapped, write, write_fields, write_json
from greylag.cli.reportpage import notes, page, steps
from greylag.cli.since import since_option
from greylag.cli.stats import figure_document, figure_lines
from greylag.cli.statsby import write_steps
from greylag.cli.top import document, write_top
from greylag.show.durations import in_words
from greylag.show.texts import clean

_LINE = 76  # characters of a note in a mail


@click.command(
    epilog=examples(
        "greylag report --html week.html", "greylag report --mail postmaster@example.org"
    )
)
@since_option("7d", "How far back, such as 24h or 30d. Figures are of whole hours, days or weeks.")
@click.option("--html", "file", metavar="FILE", help="Write a page to this file; - is stdout.")
@click.option("--mail", "to", metavar="ADDRESS", callback=address, help="Mail it to this address.")
@json_option
@click.pass_obj
def report(run: Run, since: int, file: str | None, to: str | None) -> None:
    """Say what to look at, and show the figures.

    With --html or --mail nothing is printed. The mail goes through /usr/sbin/sendmail.
    """
    with closing(run.open_store()) as store:
        found = digest(store, run.policy, run.now, since)
    host = clean(socket.gethostname())
    if file is not None:
        _write_page(file, page(found, host))
    if to is not None:
        title = f"greylag on {host}: {in_words(since)}"
        if found.findings:
            title += f", {len(found.findings)} to look at"
        with redirect_stdout(io.StringIO()) as plain:
            _write(found)
            for note in notes(found):
                for line in ("", *wrap(note, _LINE)):
                    write(line)
        send(to, title, plain.getvalue(), page(found, host))
        say(f"mailed to {to}")
    if run.json:
        write_json(_document(found))
    elif file is None and to is None:
        _write(found)
        for note in notes(found):
            say_wrapped(note)


def _write_page(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        write_over(file, text.encode())
    except OSError as error:
        raise click.UsageError(f"--html: {file}: {error.strerror}") from None
    say(f"wrote {file}")


def _write(found: Digest) -> None:
    of = found.overview
    write("To look at")
    for number, one in enumerate(found.findings, 1):
        write(f"{number}. {one.text}")
        write(f"   {one.advice}")
    if not found.findings:
        write("nothing stands out")
    write("")
    times = [("since", moment(of.since)), ("until", moment(of.until)), ("figures of", steps(found))]
    write_fields(times)
    write("")
    write_fields(figure_lines(of.total))
    write("")
    write_steps(of.step.value, [(part.start, part.summary) for part in of.parts])
    write_top(found.top)


def _document(found: Digest) -> dict[str, object]:
    of = found.overview
    findings = [
        {"finding": one.word, "text": one.text, "advice": one.advice} for one in found.findings
    ]
    word = of.step.value
    figures = [{word: part.start, **figure_document(part.summary)} for part in of.parts]
    return {
        "to_look_at": findings,
        "since": of.since,
        "until": of.until,
        **figure_document(of.total),
        f"{word}s": figures,
        "no_figures": of.no_figures,
        "top": document(found.top),
    }
