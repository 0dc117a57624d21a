"""One run of `greylag setup`: what it plans is shown, asked about, carried out and tried."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from greylag.admin.setup import applying, manifest, postfix, qmail, question, settings
from greylag.admin.setup.choice import Choice, check_options
from greylag.admin.setup.place import Place, SetupError
from greylag.admin.setup.postconf import Postconf
from greylag.admin.setup.question import Answer
from greylag.admin.setup.steps import Account, Act, Plan, diff
from greylag.cli.common import NO_TERMINAL, NOTHING, USAGE, CommandError, Run, ask, interactive
from greylag.cli.output import say, write, write_json
from greylag.cli.qmail import check_reach
from greylag.cli.setupprograms import completion, plugins, program, reader
from greylag.cli.setuprun import copied, run
from greylag.show.texts import clean

_NOT_ROOT = "only root can set greylag up (--dry-run shows what it would do)"
_ASKED_FOR = "info@example.net"


class Setup:
    """One run of the command."""

    def __init__(self, run_: Run, mta: str, options: dict[str, Any]) -> None:
        self.run = run_
        self.mta = mta
        self.options = options
        self.place = Place(options["root"], run, copied)
        self.told: list[str] = []

    def carry_out(self) -> int | None:
        """Do what was asked for; return the exit code."""
        options = self.options
        if os.geteuid() != 0 and not options["dry_run"]:
            raise CommandError([_NOT_ROOT], NOTHING)
        if options["store"] and options["mysql_options"]:
            raise click.UsageError("--store sqlite and --mysql-options exclude each other")
        if options["purge"] and not options["undo"]:
            raise click.UsageError("--purge goes with --undo")
        named = self.run.config_option
        if named is not None and named not in (settings.PATH, str(self.place.real(settings.PATH))):
            raise click.UsageError(
                f"setup writes {settings.PATH} alone: leave out --config {named}"
            )
        try:
            return self._undo() if options["undo"] else self._set_up()
        except SetupError as error:
            raise CommandError(error.lines, error.code) from error

    def _undo(self) -> int | None:
        known = manifest.load(self.place)
        if known is None:
            if not self.options["dry_run"]:
                manifest.clear(self.place)
            self._tell("nothing to undo: no setup was made here")
            self._document(changed=False)
            return NOTHING
        if known.mta not in (manifest.NO_MTA, self.mta):
            raise SetupError(f"setup was made for {known.mta}: greylag setup {known.mta} --undo")
        self._tell("these are put back as they were, or removed:")
        for one in reversed(known.entries):
            if isinstance(one, manifest.Written):
                self._tell(f"  {one.path}")
        if self.options["dry_run"]:
            self._tell("nothing was done (--dry-run)")
            return None
        self._ask("Put all of it back as it was before?")
        back = applying.undo(self.place, self._tell, purge=self.options["purge"])
        self._tell(self._outcome(back))
        self._document(changed=True)
        return None if back.finished and not back.left else NOTHING

    def _outcome(self, back: applying.Undone) -> str:
        if not back.finished:
            again = f"greylag setup {self.mta} --undo"
            return f"not all is undone: what is left stays as it is until you run `{again}`"
        if back.left:
            return f"all else is as it was before: look at {', '.join(back.left)} yourself"
        if back.needed:
            return "all else that setup changed is as it was before"
        if back.edited:
            yours = ", ".join(back.edited)
            return f"all that setup changed is undone; your changes in {yours} stay"
        return "all that setup changed is as it was before"

    def _set_up(self) -> int | None:
        known = manifest.load(self.place)
        if known is not None and known.mta not in (manifest.NO_MTA, self.mta):
            raise SetupError(
                f"greylag was set up for {known.mta} here: greylag setup {known.mta} --undo"
            )
        self._ask_what_is_open(known)
        plan, question_ = self._plan()
        self._show(plan)
        if plan.empty():
            self._tell("nothing to do: all is as setup would make it")
            self._hints(plan)
            self._document(changed=False, plan=plan)
            return None
        if self.options["dry_run"]:
            self._tell("nothing was written (--dry-run)")
            self._hints(plan)
            self._document(changed=False, plan=plan)
            return None
        self._ask("Do this?")
        answers: list[Answer] = []
        for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: what was done is taken back
            signal.signal(number, signal.default_int_handler)
        applying.carry_through(plan, self.place, self._tell, lambda: answers.extend(question_()))
        self._tell("done")
        code = self._answered(answers, waits=plan.waits)
        self._hints(plan)
        self._document(changed=True, plan=plan, answers=answers)
        return code

    def _plan(self) -> tuple[Plan, Callable[[], list[Answer]]]:
        """Return the plan, and what asks at its end."""
        choice = self._choice()
        if self.mta == "postfix":
            return self._plan_postfix(choice)
        found = qmail.find(self.place, choice)
        named = qmail.qmail_store(self.place, found.home)
        if named and choice.store is not None:
            raise SetupError(
                f"{found.home}/control/greylisting names MySQL ({named}), and decides",
                "take mysql_default_file out of it to keep records elsewhere",
            )
        if choice.store == "mysql":
            check_options(self.place, choice.mysql_options, found.user, found.group)
        programs = self._programs(choice, found)
        plan = qmail.plan(self.place, choice, found, programs, reader(choice.program))
        ids = self.place.user(found.user)
        assert ids is not None, "find has looked"
        if not self.place.live:
            return plan, list
        if found.by == "jgreylist":
            return plan, lambda: [question.ask_connection(self.place, found, ids)]
        return plan, lambda: [question.ask_plugin(self.place, found, ids, _ASKED_FOR)]

    def _plan_postfix(self, choice: Choice) -> tuple[Plan, Callable[[], list[Answer]]]:
        postconf = Postconf(self.place)
        found = postfix.find(self.place, postconf)
        if choice.store == "mysql":
            user = choice.user or postfix.USER
            check_options(self.place, choice.mysql_options, user, user)
        plan = postfix.plan(self.place, choice, found, postconf, reader(choice.program))
        if not self.place.live:
            return plan, list
        return plan, lambda: [question.ask_postfix(postconf, found)]

    def _choice(self) -> Choice:
        options = self.options
        if options["dashboard"] and find_spec("starlette") is None:
            raise SetupError("the dashboard needs greylag[web]: pip install 'greylag[web]'")
        mysql = options["mysql_options"]
        if mysql and not mysql.startswith("/"):
            mysql = str(Path(mysql).absolute())
        return Choice(
            program=program(),
            completion=completion(),
            store="mysql" if mysql else options["store"],
            mysql_options=mysql or "",
            observe=options["observe"],
            dashboard=bool(options["dashboard"]),
            oneshot=options.get("oneshot", False),
            supervisor=options["supervisor"],
            qmail_home=options.get("qmail_home", "/var/qmail").rstrip("/"),
            by=options.get("by"),
            user=options["user"],
        )

    def _programs(self, choice: Choice, found: qmail.Qmail) -> dict[str, bytes]:
        """Return the plugins by their names."""
        folder = self.place.real(f"{found.home}/plugins")
        check_reach(folder, force=not self.place.live)
        toml = settings.with_settings(self.place.read(settings.PATH), {})
        made, compiler = plugins(found.home, qmail.socket_of(toml), oneshot=choice.oneshot)
        if compiler:
            self._tell(f"compiled the plugins with {compiler}")
        return made

    def _ask_what_is_open(self, known: manifest.Manifest | None) -> None:
        """Ask on a terminal for what no option has said; a later run keeps what there is."""
        options = self.options
        if (
            (known is not None and known.mta)
            or options["yes"]
            or options["dry_run"]
            or self.run.json
        ):
            return
        if not interactive():
            raise CommandError([NO_TERMINAL], USAGE)
        if options["observe"] is None:
            options["observe"] = ask("Only observe at first, and delay nothing?") or None
        if options["dashboard"] is None and find_spec("starlette") is not None:
            options["dashboard"] = ask("Run the dashboard (127.0.0.1:8025), too?")

    def _ask(self, text: str) -> None:
        if self.options["yes"]:
            return
        if not interactive() or self.run.json:
            raise CommandError([NO_TERMINAL], USAGE)
        if not ask(text):
            raise CommandError(["nothing was changed"], NOTHING)

    def _tell(self, text: str) -> None:
        if self.run.json:
            self.told.append(text)
        else:
            for line in text.splitlines():
                write(line)

    def _show(self, plan: Plan) -> None:
        if self.run.json:
            return
        for line in plan.found:
            write(line)
        for step in plan.steps:
            if isinstance(step, Account):
                write(f"new user {step.user} (home {step.home})")
            elif isinstance(step, Act):
                for argv in step.do if self.place.live else ():
                    if not argv[0].startswith("@"):
                        write(f"run: {' '.join(argv)}")
            else:
                for line in diff(step).splitlines():
                    write(line)

    def _hints(self, plan: Plan) -> None:
        for hint in plan.hints:
            self._tell(f"\nleft to you: {hint}")
        if not self.place.live:
            self._tell("nothing was started: this is not the machine's own root")

    def _answered(self, answers: list[Answer], *, waits: bool) -> int | None:
        """Tell what was answered; return the exit code. `waits`: the admin has a step to do."""
        observes = settings.value_of(self.place.read(settings.PATH), "policy.greylist")
        for answer in answers:
            self._tell(f"asked {answer.asked}")
            self._tell(f"answer: {answer.said}")
            if not answer.deferred and observes not in ("observe", "off"):
                say("the question was not deferred: `greylag doctor` looks for the cause")
                return NOTHING
        if answers and waits:
            self._tell("the plugin works; qmail-smtpd starts to greylist when this is done:")
        elif answers:
            self._tell("greylisting works" if answers[-1].deferred else "it observes")
        return None

    def _document(
        self, *, changed: bool, plan: Plan | None = None, answers: list[Answer] | None = None
    ) -> None:
        if not self.run.json:
            return
        changes = (
            [
                {"path": step.path, "kind": step.kind, "diff": clean(diff(step))}
                for step in plan.changes
            ]
            if plan
            else []
        )
        asked = [
            {"asked": one.asked, "answer": one.said, "deferred": one.deferred}
            for one in answers or []
        ]
        hints = list(plan.hints) if plan else []
        write_json(
            {
                "mail_server": self.mta,
                "root": str(self.place.root),
                "changed": changed,
                "found": list(plan.found) if plan else [],
                "changes": changes,
                "answers": asked,
                "left_to_you": hints,
                "said": self.told,
            }
        )
