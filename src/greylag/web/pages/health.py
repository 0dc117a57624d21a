"""Whether all is well: the store, the daemon, DNS, the age of the lists, the clock."""

from __future__ import annotations

from time import monotonic

from greylag.admin.audit import told_of
from greylag.admin.health import (
    STALE,
    ask_daemon,
    asked_within,
    clock_ahead,
    speaks,
    stale,
    used_providers,
)
from greylag.admin.moments import span
from greylag.app.dns import servers_of
from greylag.core.value import value
from greylag.store import without_password
from greylag.store.base import FIGURES, LISTS, Store
from greylag.web.visit import Visit

OK, WARN, BAD = "ok", "warn", "bad"
_MOST_NAMED = 5  # providers
_MOST_ACTIONS = 20
_WITHOUT = (
    "Without it the plugins of qmail do its work; Postfix lets all mail in where default_action is "
    "DUNNO, as the page on Postfix sets it, and else answers 451."
)


@value
class Check:
    """One thing that was looked at: how it is, in one sentence, and what to do."""

    name: str
    state: str
    told: str
    todo: str = ""


def page(visit: Visit, store: Store) -> str:
    """Show each check, and what was changed last."""
    checks = [
        _store(visit, store),
        _daemon(visit),
        _mail(visit, store),
        _dns(visit),
        _lists(visit, store),
        _clock(visit, store),
    ]
    actions = store.actions(_MOST_ACTIONS)
    return visit.web.drawing.page("health", visit, checks=checks, actions=actions, told_of=told_of)


def _store(visit: Visit, store: Store) -> Check:
    began = monotonic()
    store.generation()
    took = 1000 * (monotonic() - began)
    shown = without_password(visit.web.settings.store_url)
    warning = store.warning()
    if warning is not None:
        return Check("Store", WARN, warning)
    return Check("Store", OK, f"{shown} answers within {took:.0f} ms.")


def _daemon(visit: Visit) -> Check:
    path = visit.web.settings.server.socket
    answer = ask_daemon(path)
    if isinstance(answer.failed, PermissionError):
        todo = "The dashboard's user needs the group of the socket, if it is to look."
        return Check("Daemon", WARN, f"{path} may not be asked by this user.", todo)
    if answer.slow:
        told = f"{path}: a daemon is there, but does not answer within a second."
        todo = (
            f"Look into its log, and restart it. Each mail waits for its answer first. {_WITHOUT}"
        )
        return Check("Daemon", BAD, told, todo)
    if answer.failed is not None:
        told = f"{path}: no daemon is there ({answer.failed.strerror or answer.failed})."
        return Check("Daemon", BAD, told, f"Start it (greylag serve). {_WITHOUT}")
    if answer.wrong:
        return Check("Daemon", BAD, f"{path} answers with something else.", "Look into its log.")
    return Check("Daemon", OK, f"{path} answers within {1000 * answer.took:.0f} ms.")


def _dns(visit: Visit) -> Check:
    settings = visit.web.settings
    if not settings.dns.asks:
        told = "Nobody is asked (dns.servers is off): SPF, names and DNS lists are not known."
        return Check("DNS", WARN, told)
    try:
        servers = servers_of(settings.dns)
    except (OSError, ValueError) as error:
        return Check("DNS", BAD, f"The name servers are not known: {error}.")
    if not servers:
        return Check("DNS", BAD, "There is no name server.", "Set dns.servers.")
    silent = [host for host, port in servers if not speaks(host, port)]
    if len(silent) == len(servers):
        todo = "Start it, or name others in dns.servers."
        return Check("DNS", BAD, f"No answer from {', '.join(silent)}.", todo)
    if silent:
        return Check("DNS", WARN, f"No answer from {', '.join(silent)}; others answer.")
    return Check("DNS", OK, f"{', '.join(host for host, _port in servers)} answers.")


def _mail(visit: Visit, store: Store) -> Check:
    """Look whether mail servers ask at all."""
    lacks = store.lacks(FIGURES)
    if lacks is not None:
        return Check("Mail", WARN, lacks)
    asked = asked_within(store, visit.now)
    if not asked:
        todo = "Look whether the mail server asks: the pages on qmail and on Postfix say how."
        return Check("Mail", WARN, "No mail server has asked for a day.", todo)
    return Check("Mail", OK, f"{asked:,} recipients were asked about within a day.")


def _lists(visit: Visit, store: Store) -> Check:
    lacks = store.lacks(LISTS)
    if lacks is not None:
        return Check("Lists", WARN, lacks)
    used = used_providers(store)
    old = [one.name for one in stale(used, visit.now)]
    if old:
        todo = "The daemon refreshes them once a day: its log says why it could not."
        told = f"Addresses of {', '.join(old[:_MOST_NAMED])} are older than {span(STALE)}."
        return Check("Lists", WARN, told, todo)
    fresh = sum(one.refreshed > 0 for one in used)
    if used and not fresh:
        return _never_resolved(asked=any(one.tried for one in used))
    return Check("Lists", OK, f"They are kept, with fresh addresses of {fresh} big senders.")


def _never_resolved(*, asked: bool) -> Check:
    """Tell it of big senders: the daemon refreshes only what an admin has resolved once."""
    if asked:
        told = "No big sender's addresses could be resolved, so none is let in for them."
        return Check("Lists", WARN, told, "Run `greylag providers refresh`: it says what fails.")
    told = "They are kept. Big senders' addresses were never asked for, so they spare nobody."
    todo = "Run `greylag providers refresh` to use them: from then on the daemon refreshes them."
    return Check("Lists", OK, told, todo)


def _clock(visit: Visit, store: Store) -> Check:
    ahead = clock_ahead(store, visit.now)
    if ahead:
        told = f"The newest mail in the store is {span(ahead)} ahead of this machine's clock."
        return Check("Clock", BAD, told, "Set the clocks of all hosts by NTP.")
    return Check("Clock", OK, "No mail in the store is ahead of this machine's clock.")
