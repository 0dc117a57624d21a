"""Setting up greylag on Postfix: finding it, and the plan.

smtpd may run in a chroot, Postfix's queue directory, so the daemon's socket is below that. The
folder of the socket lets nobody else through, so the socket itself may be open to all.
"""

from __future__ import annotations

from greylag.admin.setup import service, settings
from greylag.admin.setup.choice import Choice
from greylag.admin.setup.place import FILE, Place, SetupError
from greylag.admin.setup.postconf import CONFIG, MAIN, Postconf
from greylag.admin.setup.restrictions import ASK, OWN, before_rcpt, end_of, with_question
from greylag.admin.setup.steps import RUN, Builder, Plan
from greylag.core.value import value

USER = "greylag"
RCPT, DATA = "smtpd_recipient_restrictions", "smtpd_data_restrictions"
RELAY = "smtpd_relay_restrictions"
CODE = "access_map_defer_code"
_USUAL_CODE, NEW_CODE = "450", "451"


@value
class Postfix:
    """What was found of a Postfix."""

    queue: str
    group: str  # of the user that smtpd runs as

    @property
    def socket(self) -> str:
        """Where the daemon is to listen."""
        return f"{self.queue}/greylag/greylag.sock"


def find(place: Place, postconf: Postconf) -> Postfix:
    """Look for Postfix. Raises SetupError where there is none."""
    if place.kind(MAIN) != FILE or place.kind(f"{CONFIG}/master.cf") != FILE:
        raise SetupError(f"no Postfix was found: there is no {MAIN}, or no master.cf beside it")
    queue = postconf.expanded("queue_directory")
    owner = postconf.expanded("mail_owner")
    found = place.user(owner)
    if found is None:
        raise SetupError(f"there is no user {owner}, which smtpd runs as (mail_owner)")
    return Postfix(queue, place.group_name(found[1]))


def plan(
    place: Place, choice: Choice, postfix: Postfix, postconf: Postconf, read: service.Read
) -> Plan:
    """Return what has to be done."""
    builder = Builder(place)
    user = choice.user or USER
    builder.account(user, "/var/lib/greylag")
    wanted = choice.settings() | {
        "server.socket": postfix.socket,
        "server.socket_mode": "0666",
        "server.handover_mode": "0600",
    }
    supervisor = service.which(place, choice.supervisor, by_scripts=False)
    service.run_again(builder, supervisor, dashboard=choice.dashboard)
    since = len(builder.steps)
    text = settings.with_settings(place.read(settings.PATH), wanted)
    builder.file(place.target(settings.PATH), text)
    changed = builder.changed(since)
    if changed:
        choice.add_tables(builder)
    builder.folder(f"{postfix.queue}/greylag", 0o710, user, postfix.group, inside=RUN)
    options = f"--qmail-home {choice.qmail_home}" if choice.qmail_home != "/var/qmail" else ""
    group = _group_of(place, user)
    daemon = service.Daemon(user, group, postfix.socket, options, choice.dashboard)
    service.add(builder, daemon, supervisor, read, fresh=changed)
    _add_restrictions(builder, postconf, postfix, text)
    choice.add_completion(builder)
    found = (
        f"Postfix in {CONFIG}, its queue in {postfix.queue}",
        f"records: {choice.records()}",
        f"the daemon, under {supervisor}, as {user}",
    )
    return Plan("postfix", tuple(builder.steps), tuple(choice.hints(place, text)), found)


def _group_of(place: Place, user: str) -> str:
    found = place.user(user)
    return user if found is None else place.group_name(found[1])


def _add_restrictions(builder: Builder, postconf: Postconf, postfix: Postfix, toml: bytes) -> None:
    ports = settings.value_of(toml, "server.policy")
    known = [f"inet:{port}" for port in ports] if isinstance(ports, list) else []
    known.append(f"unix:{postfix.socket}")
    changes: dict[str, str | None] = {}
    for name, before in ((RCPT, before_rcpt(postconf.value(RELAY))), (DATA, OWN)):
        there, whole = postconf.value(name), postconf.expanded(name)
        asked = with_question(whole, ASK, before, tuple(known), name)
        if asked == whole:  # perhaps in another parameter
            continue
        new = with_question(there, ASK, before, tuple(known), name)
        if end_of(new) != end_of(asked):
            raise SetupError(
                f"{name} in main.cf ends with {end_of(asked)} within a parameter that it names",
                f"write this word at the end of {name} itself, and run this again",
            )
        changes[name] = new
    if postconf.value(CODE) == _USUAL_CODE:
        changes[CODE] = NEW_CODE
    if not changes:
        return
    place = builder.place
    path = place.target(MAIN)
    main = place.read(path)
    if main is None:
        raise SetupError(f"{path}: cannot be read")
    if place.live and place.run(["postfix", "status"]).code:
        raise SetupError("Postfix is not running: start it first (`postfix start`)")
    reload = ("postfix", "reload")
    builder.act("", undo=(reload,))
    builder.file(path, postconf.edited(main, changes))
    builder.act("Postfix reads main.cf again", reload)
