"""The effective settings: defaults, `greylag.toml`, `control/greylisting`, GL* variables.

In this order, and a later layer wins. All is read and checked before anything starts; one error
anywhere, and nothing of it is applied. A number of the old plugin's that cannot be meant is passed
over with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from greylag.app.dns import OFF, DnsSettings, informed, unanswered
from greylag.app.options import OPTIONS
from greylag.app.policy_options import DROP_IN, SPARING_NAMES
from greylag.app.recipients import DEFAULT_TABLES
from greylag.app.toml_file import Toml, read_toml
from greylag.core.policy import Greylist, Kept, NullSender, Policy, Room
from greylag.core.recipients import NO_TABLES, Recipients, Table
from greylag.core.signs import most_signs
from greylag.core.value import replace, value
from greylag.core.verdict import Verdict
from greylag.service.policies import overridden
from greylag.store import backend_of, check_url
from greylag.store.base import RECIPIENTS
from greylag.store.plain_file import read_plain
from greylag.wire.oldplugin import (
    Found,
    Given,
    old_defaults,
    read_file,
    read_variables,
)
from greylag.wire.reply import OLD_REPLIES, Replies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/etc/greylag/greylag.toml"
CONFIG_VARIABLE = b"GREYLAG_CONFIG"
HANDOVER_NAME = "handover.sock"
OLD_PATH = "control/greylisting"  # below the qmail home
OLD_PATH_VARIABLE = b"GLCONFIGFILE"


class ConfigError(Exception):
    """The configuration cannot be used. `errors` holds every reason, one line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@value
class ServerSettings:
    """What the daemon alone needs to know."""

    socket: str
    socket_mode: int
    socket_group: str
    handover: str  # empty: beside the socket
    handover_mode: int | str  # empty: that of the socket
    handover_group: str  # the same
    policy: tuple[str, ...]  # address:port
    trust_tcp: bool
    max_connections: int
    max_connections_per_peer: int  # 0: half of these
    deadline: int  # seconds
    metrics: str  # address:port, or empty
    log_file: str  # empty: stderr

    def handover_path(self) -> str:
        """Return where clients' sockets are handed over."""
        return self.handover or os.path.join(os.path.dirname(self.socket), HANDOVER_NAME)


@value
class Settings:
    """All settings, checked; `origins` tells for each key where its value comes from."""

    policy: Policy
    replies: Replies
    store_url: str
    store_timeout: int  # seconds
    on_failure: Verdict
    room: Room
    log_level: int  # 0 (off) to 5 (debug)
    header: bool  # have the mail server tell in a header how long mail had to wait
    server: ServerSettings
    dns: DnsSettings
    recipients: Recipients  # what is set for some of them
    origins: dict[str, str]
    values: dict[str, Any]
    warnings: tuple[str, ...] = ()  # logged once
    notes: tuple[str, ...] = ()


def load(environ: Mapping[bytes, bytes], home: str = ".", usual: str = "") -> Settings:
    """Return the settings that hold for a process with this environment below this qmail home.

    `usual` is the file that is read where the environment names none.
    Raises ConfigError with every error there is.
    """
    base = [Given(option.key, option.default, "default") for option in OPTIONS]
    tables = DEFAULT_TABLES
    errors: list[str] = []
    old_file = _old_file(environ, home)
    if old_file is not None:
        base, tables = [*base, *_OLD_PLUGIN, *old_defaults()], ()
    toml: list[Given] = []
    for found in _toml_layer(environ, usual or DEFAULT_PATH):
        toml += found.given
        errors += found.errors
        tables = (*found.tables, *tables)  # so those of a new installation can be changed
    old = _read_old(*old_file) if old_file is not None else Found()
    old.add(read_variables(environ))
    errors += old.errors
    _compare_urls(toml, old, errors)
    base += toml
    _compare_times(_policy(_values(base)), tables, errors)
    if old.given:
        _policy_of_all, old.given, wrong = overridden(_policy(_values(base)), old.given)
        old.warnings += wrong
    return _settle(base + old.given, tables, errors, old, home)


def _compare_urls(toml: list[Given], old: Found, errors: list[str]) -> None:
    """Tell where `greylag.toml` names one database and the old plugin's settings another."""
    ours = [item for item in toml if item.key == "store.url"][-1:]
    theirs = [item for item in old.given if item.key == "store.url"][-1:]
    for one, other in zip(ours, theirs, strict=False):
        store = backend_of(str(one.value))
        both = f"{one.origin}: store.url = {store.shown}"
        if RECIPIENTS in store.lacks:
            errors.append(f"{both}, but {other.origin} names a MySQL database: remove one of them")
        elif one.value != other.value:
            old.notes.append(f"{both} does not count: {other.origin} names the database")
    for item in theirs:
        try:
            check_url(str(item.value))
        except ValueError as error:
            errors.append(f"{item.origin}: {error}")


def _compare_times(policy: Policy, tables: tuple[Table, ...], errors: list[str]) -> None:
    """Tell of tables under which no mail could ever pass. The old plugin's come later."""
    if policy.fault() is None:
        for table in tables:
            if table.sets("delay", "retry_window"):
                fault = replace(policy, **dict(table.changes)).fault()
                errors += [f"{table.origin}: {fault}"] if fault else []


def _compare_signs(
    policy: Policy, tables: tuple[Table, ...], origins: dict[str, str], errors: list[str]
) -> None:
    """Tell where more signs are needed than any mail can show: nothing would be greylisted."""
    keys = "policy.signs_needed", "policy.signs", "policy.greylist"
    set_at = [where for key in keys if (where := origins[key]) != "default"]
    checked = [(policy, ", ".join(dict.fromkeys(set_at)), "policy")] + [
        (replace(policy, **dict(table.changes)), table.origin, "recipient")
        for table in tables
        if table.sets("greylist", "signs", "signs_needed")
    ]
    for one, origin, section in checked:
        if one.greylist is Greylist.SUSPICIOUS and one.signs_needed > most_signs(one):
            errors.append(
                f"{origin}: {section}.signs_needed is {one.signs_needed}, and mail can show "
                f"{most_signs(one)} of {section}.signs at most: nothing would be greylisted "
                "(a client shows no-name or dynamic-name, and dnsbl needs dns.dnsbl)"
            )


# What differs for those who come from the old plugin, beside its numbers. Nothing spares mail the
# delay that did not there.
_OLD_PLUGIN = [
    *(
        Given(f"policy.{name}", getattr(DROP_IN, name), "the old plugin's way")
        for name in SPARING_NAMES
    ),
    Given("dns.servers", OFF, "the old plugin's way"),
    Given("policy.null_sender", NullSender.RCPT, "the old plugin's way"),
    Given("reply.defer", OLD_REPLIES.defer, "the old plugin's text"),
    Given("reply.deny", OLD_REPLIES.deny, "the old plugin's text"),
    Given("reply.deny_recipient", OLD_REPLIES.deny_recipient, "the old plugin's text"),
]


def _toml_layer(environ: Mapping[bytes, bytes], usual: str) -> list[Toml]:
    named = environ.get(CONFIG_VARIABLE)
    path = os.fsdecode(named) if named is not None else usual
    data = None
    try:
        data = read_plain(path)
    except FileNotFoundError:
        if named is not None:
            named_by = f"named by {CONFIG_VARIABLE.decode()} or --config"
            return [Toml(errors=[f"{path}: no such file ({named_by})"])]
    except OSError as error:
        return [Toml(errors=[f"{path}: {error.strerror}", *_closed(path)])]
    return [] if data is None else [read_toml(data, path)]


def _closed(path: str) -> list[str]:
    from greylag.app.entering import closed_to_us  # where a file cannot be read

    told = closed_to_us(path)
    return [] if told is None else [told]


def _old_file(environ: Mapping[bytes, bytes], home: str) -> tuple[str, str] | None:
    """Return path and shown name of the old plugin's file if this is its setup, there or not."""
    named = environ.get(OLD_PATH_VARIABLE)
    shown = os.fsdecode(named) if named is not None else OLD_PATH
    path = os.path.join(home, shown)
    in_use = named is not None or b"GLMYSQLDEFAULTFILE" in environ or os.path.lexists(path)
    return (path, shown) if in_use else None


def _read_old(path: str, shown: str) -> Found:
    try:
        return read_file(read_plain(path), shown)
    except FileNotFoundError:
        return Found()  # "a missing file means defaults"
    except OSError as error:
        found = Found()
        found.errors.append(f"{shown}: {error.strerror}")
        return found


def _values(given: list[Given]) -> dict[str, Any]:
    return {item.key: item.value for item in given}


def _policy(values: dict[str, Any]) -> Policy:
    return Policy(**_section(values, "policy"))


def _settle(
    given: list[Given], tables: tuple[Table, ...], errors: list[str], old: Found, home: str
) -> Settings:
    values = _values(given)
    origins = {item.key: item.origin for item in given}
    policy, dns = informed(_policy(values), tables, values, origins, errors)
    _compare_signs(policy, tables, origins, errors)
    fault = policy.fault()
    if fault:
        errors.append(f"{origins['policy.retry_window']}, {origins['policy.delay']}: {fault}")
    if errors:
        raise ConfigError(errors)
    store = backend_of(values["store.url"])
    values["store.url"] = store.below(home)
    if "recipients" in store.lacks:  # there, nothing but a connection's own record has a place
        policy = replace(policy, **{name: getattr(DROP_IN, name) for name in SPARING_NAMES})
    return Settings(
        policy=replace(policy, old_tables=store.old_tables),
        replies=Replies(
            values["reply.defer"], values["reply.deny"], values["reply.deny_recipient"]
        ),
        store_url=values["store.url"],
        store_timeout=values["store.timeout"],
        on_failure=values["store.on_failure"],
        room=Room(
            values["store.max_waiting"],
            values["store.max_waiting_per_network"],
            values["store.max_passed_per_network"],
            Kept(values["history.keep"], values["history.most"]),
        ),
        log_level=values["log.level"],
        header=values["reply.header"],
        server=ServerSettings(**_section(values, "server"), log_file=values["log.file"]),
        dns=dns,
        recipients=Recipients(tables, policy.mailbox_separator) if tables else NO_TABLES,
        origins=origins,
        values=values,
        warnings=(*old.warnings, *unanswered(dns, policy, tables, origins)),
        notes=tuple(old.notes),
    )


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the values of one section by their names in it."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
