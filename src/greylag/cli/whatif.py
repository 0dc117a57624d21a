"""`greylag whatif`: what another delay or retry window would have done to mail of late."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.moments import moment
from greylag.admin.whatif import CANNOT_KNOW, WhatIf, what_if
from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import say_wrapped, write_fields, write_json
from greylag.cli.since import read_time, since_option
from greylag.core.duration import format_duration
from greylag.core.value import replace


@click.command(
    "whatif",
    epilog=examples("greylag whatif --delay 15m", "greylag whatif --retry-window 12h --since 30d"),
)
@click.option(
    "--delay",
    metavar="DURATION",
    callback=read_time,
    help="In place of policy.delay, such as 15m.",
)
@click.option(
    "--retry-window",
    metavar="DURATION",
    callback=read_time,
    help="In place of policy.retry_window, such as 12h.",
)
@since_option("7d", "How far back, such as 24h or 30d.")
@json_option
@click.pass_obj
def whatif(run: Run, delay: int | None, retry_window: int | None, since: int) -> None:
    """Show what another delay or retry window would have done.

    It counts deferred mail of the last days, from the history, and changes nothing. All mail is
    counted as if it had these two, also where tables of recipients set others.
    """
    if delay is None and retry_window is None:
        raise click.UsageError("expected --delay or --retry-window, or both")
    delay = run.policy.delay if delay is None else delay
    retry_window = run.policy.retry_window if retry_window is None else retry_window
    fault = replace(run.policy, delay=delay, retry_window=retry_window).fault()
    if fault:
        raise click.UsageError(fault)
    with closing(run.open_store()) as store:
        (found,) = what_if(store, run.now, since, (delay, retry_window))
    if run.json:
        write_json(_document(run, found))
        return
    _write(run, found)
    for note in (found.no_history, _not_all(found), CANNOT_KNOW):
        if note is not None:
            say_wrapped(note)


def _write(run: Run, found: WhatIf) -> None:
    now, asked = run.policy, (found.delay, found.retry_window)
    write_fields(
        [
            ("since", moment(found.since)),
            ("until", moment(found.until)),
            ("delay", _against(asked[0], now.delay)),
            ("retry window", _against(asked[1], now.retry_window)),
            ("deferred mails", f"{found.deferred:,}"),
            ("would have delayed", _delayed(found)),
            ("passed", f"{found.passed:,}"),
            ("  with the same try", f"{found.same:,}"),
            ("  sooner", f"{found.sooner:,}"),
            ("  refused once more", f"{found.later:,}"),
            ("  too late, begin again", f"{found.again:,}"),
            ("never came back", f"{found.never + found.let_in:,}"),
            ("  the same", f"{found.never:,}"),
            ("  would be let in", f"{found.let_in:,} ({found.let_in_spam:,} likely spam)"),
            ("not told", f"{found.open:,} (they wait, or ended for another reason)"),
        ]
    )


def _delayed(found: WhatIf) -> str:
    return f"{found.delayed:,} mails: {found.longer:,} longer than now, {found.sooner:,} less"


def _against(asked: int, in_force: int) -> str:
    if asked == in_force:
        return f"{format_duration(asked)}, as now"
    return f"{format_duration(asked)} in place of {format_duration(in_force)}"


def _not_all(found: WhatIf) -> str | None:
    if found.complete:
        return None
    return f"there is more history than is looked at: this is told since {moment(found.reached)}"


def _document(run: Run, found: WhatIf) -> dict[str, object]:
    return {
        "since": found.since,
        "until": found.until,
        "in_force": {"delay": run.policy.delay, "retry_window": run.policy.retry_window},
        "asked": {"delay": found.delay, "retry_window": found.retry_window},
        "deferred": found.deferred,
        "would_have_delayed": {
            "mails": found.delayed, "longer": found.longer, "less": found.sooner,
        },
        "passed": {"same_try": found.same, "sooner": found.sooner,
                   "refused_once_more": found.later, "begin_anew": found.again},
        "never_came_back": {"the_same": found.never, "let_in": found.let_in,
                            "let_in_likely_spam": found.let_in_spam},
        "not_told": found.open,
        "complete": found.complete,
        "looked_at_since": found.reached,
        "no_history": found.no_history,
    }  # fmt: skip
