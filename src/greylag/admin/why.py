"""Why mail is late: its story, what decided, until when, and what would let it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from greylag.admin.deferrals import Found, Standing, search_all, standings
from greylag.admin.habits import Habit, habit_of
from greylag.admin.records import range_of
from greylag.admin.retry import retry_of
from greylag.admin.typed import WrongValue, typed_address, typed_recipient
from greylag.admin.ways import Way, ways_in
from greylag.core.duration import format_duration
from greylag.core.engine import precheck
from greylag.core.history import Deferral, Outcome, Sought
from greylag.core.policy import Greylist, Policy
from greylag.core.recipients import NO_TABLES, Recipients
from greylag.core.shortid import last_of_pair, pair_id, read_id, shown_id
from greylag.core.triplet import OF_SEVERAL, kind_of
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason
from greylag.service import Service
from greylag.service.policies import Policies
from greylag.store.base import HISTORY, KINDS, Store, StoreError

# Seconds after a first contact in which the history is expected to come: a daemon writes it about
# once a second, and later while another writer is at work.
BEHIND_FOR = 10
MOST = 20  # stories that are told of one question
OTHERS = 200  # deferrals of the same two that are looked at for what is usual
_ONE, _TWO = 1, 2  # words of a question


@value
class Setting:
    """A setting that decided, and where it comes from: a file and line, or `default`."""

    key: str
    value: str
    origin: str


@value
class Event:
    """Something that happened, at a Unix time; `until`: the last of several."""

    at: int
    what: str
    until: int = 0


@value
class Story:
    """What is known of one deferred mail."""

    standing: Standing
    events: tuple[Event, ...]  # the oldest first
    reason: Reason  # the rule that deferred it last
    settings: tuple[Setting, ...]
    habit: Habit | None  # None: it need not come again
    elsewhere: tuple[Deferral, ...]  # the same two, passed from another network meanwhile
    ways: tuple[Way, ...]  # to let it in, the narrowest first
    answer: Decision  # what the same attempt would be answered now, without evidence from DNS
    behind: bool = False  # the history has not all of it, but is likely to have it in a moment

    @property
    def id(self) -> str:
        """Return the short id, as it is shown."""
        return shown_id(self.standing.deferral.id)

    @property
    def by_record_alone(self) -> bool:
        """Tell whether the history does not have it: no client's address and no sign is known."""
        return not self.standing.deferral.number


@value
class Why:
    """The stories that fit a question, the newest first, and how far back was looked."""

    stories: tuple[Story, ...]
    more: bool  # there may be others
    reached: int  # first contact of the oldest that was looked at
    instead: str = ""  # what these are, where nothing fits the question itself


@value
class Question:
    """What is looked for; `instead` says what it finds where the questions before found nothing."""

    sought: Sought
    instead: str = ""
    sender: bytes = b""  # as it was typed


_OF_ID = "no mail with this id is known: this is other mail between the same two"
_OF_DOMAIN = (
    "no mail of this sender is known: this is of another sender of the same domain (in the envelope"
    " of a mail there may be another sender than people see)"
)


@value
class Rules:
    """The settings that hold, and where each comes from (`app.config`)."""

    policy: Policy
    recipients: Recipients = NO_TABLES
    origins: Mapping[str, str] = {}


def asked(words: Sequence[str], policy: Policy) -> list[Question]:
    """Return what is looked for by ID | SENDER RECIPIENT | ADDRESS | SENDER | RECIPIENT.

    Of several the first that finds something counts. Raises WrongValue.
    """
    if len(words) == _TWO:
        sender = typed_address(words[0])
        recipient = typed_recipient(words[1])
        found = _of_pair(policy.sender_name(sender, recipient), policy.recipient_name(recipient))
        return [replace(one, sender=sender) for one in found]
    if len(words) != _ONE or not words[0].strip():
        raise WrongValue("expected an id, a sender and a recipient, or a client address")
    (word,) = words
    number = read_id(word)
    if number is not None:
        pair = Sought(first_id=_first_of(number), last_id=last_of_pair(number))
        of_id = [Question(Sought(first_id=number, last_id=number)), Question(pair, _OF_ID)]
        return of_id if "-" in word else [*of_id, *_of_text(word, policy)]
    if word == "<>":
        return [Question(Sought(null_sender=True))]
    if "@" not in word and _is_range(word, policy):
        return [Question(Sought(networks=range_of(word, policy)))]
    return _of_text(word, policy)


def _of_text(word: str, policy: Policy) -> list[Question]:
    raw = typed_address(word)
    either = Sought(sender=policy.sender_name(raw)), Sought(recipient=policy.recipient_name(raw))
    return [Question(one, sender=raw) for one in either]


def _of_pair(sender: str, recipient: str) -> list[Question]:
    first = pair_id(sender, recipient)
    pair = Sought(first_id=first, last_id=last_of_pair(first), recipient=recipient)
    if not sender:
        return [Question(replace(pair, null_sender=True))]
    return [Question(replace(pair, sender=sender)), Question(pair, _OF_DOMAIN)]


def _first_of(number: int) -> int:
    return number - number % (last_of_pair(0) + 1)


def _is_range(word: str, policy: Policy) -> bool:
    try:
        range_of(word, policy)
    except WrongValue:
        if "/" in word:
            raise
        return False
    return True


def why(store: Store, what: Sequence[Question], rules: Rules, now: int, most: int = MOST) -> Why:
    """Return the stories of what is looked for. Raises StoreError."""
    page, instead, typed = Found([], None, 0), "", b""
    for one in what:
        page = search_all(store, one.sought, rules.policy, now, most)
        instead, typed = one.instead, one.sender
        if page.deferrals:
            break
    found = standings(store, page.deferrals, now)
    stories = tuple(story(store, one, rules, now, typed=typed) for one in found)
    return Why(stories, page.before is not None, page.reached, instead if stories else "")


def story(store: Store, standing: Standing, rules: Rules, now: int, *, typed: bytes = b"") -> Story:
    """Return what is known of one deferred mail; `typed`: the sender as it was asked for.

    Raises StoreError.
    """
    deferral = standing.deferral
    others = _others(store, deferral)
    waits = standing.may_pass is not None
    return Story(
        standing,
        tuple(_events(standing)),
        Reason.EARLY if _tries(standing) else Reason.NEW,
        tuple(_settings(deferral, rules)),
        habit_of(standing, others, now) if waits else None,
        tuple(_passed_elsewhere(deferral, others)),
        tuple(ways_in(standing, rules.policy, kinds=store.lacks(KINDS) is None)),
        _answer(store, deferral, rules, now, typed),
        _is_behind(store, standing, now),
    )


def _is_behind(store: Store, standing: Standing, now: int) -> bool:
    """Tell whether mail was deferred a moment ago, and the history does not have all of it yet."""
    deferral = standing.deferral
    is_missing = not deferral.number or _tries(standing) > deferral.tries
    is_new = now - deferral.first_seen < BEHIND_FOR
    return is_missing and is_new and store.lacks(HISTORY) is None


def _answer(store: Store, deferral: Deferral, rules: Rules, now: int, typed: bytes) -> Decision:
    """Return what the next attempt would be answered: lists and switch may have changed."""
    failures: list[StoreError] = []
    service = Service(lambda: store, report=failures.append, clock=lambda: now)
    attempt = retry_of(deferral, rules.policy, typed)
    policies = Policies(rules.policy, recipients=rules.recipients)
    decision = service.foretell(precheck(attempt, policies.of(attempt)))
    for failure in failures:
        raise failure
    return decision


def _others(store: Store, deferral: Deferral) -> list[Deferral]:
    """Return what else there was between this sender's domain and this recipient."""
    key = deferral.triplet
    first = pair_id(key.sender, key.recipient)
    what = Sought(first_id=first, last_id=last_of_pair(first), recipient=key.recipient)
    domain = key.sender.rpartition("@")[2]
    return [
        other
        for other in store.deferrals(what, OTHERS).deferrals
        if other.triplet.sender.rpartition("@")[2] == domain
        if (other.triplet, other.first_seen) != (key, deferral.first_seen)
    ]


def _passed_elsewhere(deferral: Deferral, others: Sequence[Deferral]) -> Iterator[Deferral]:
    for other in others:
        is_same = other.triplet.sender == deferral.triplet.sender
        if is_same and other.outcome is Outcome.PASSED and other.ended >= deferral.first_seen:
            yield other


def _tries(standing: Standing) -> int:
    """Return how many retries came too early: the record counts those that history missed."""
    record = standing.record
    return max(standing.deferral.tries, 0 if record is None else record.blocked - 1)


def _events(standing: Standing) -> Iterator[Event]:
    deferral = standing.deferral
    yield Event(deferral.first_seen, "first attempt: deferred")
    tries = _tries(standing)
    if tries == 1:
        yield Event(deferral.first_try, "retry, too early: deferred")
    elif tries:
        yield Event(deferral.first_try, f"{tries} retries, too early: deferred", deferral.last_try)
    if deferral.released:
        yield Event(deferral.released, "released by an admin: the next retry passes")
    if deferral.outcome is not Outcome.WAITING:
        yield Event(deferral.ended, _ENDS[deferral.outcome])


_ENDS = {
    Outcome.PASSED: "let in",
    Outcome.EVICTED: "its record had to make room; a retry counts as a first contact",
    Outcome.FORGOTTEN: "an admin deleted its record; a retry counts as a first contact",
    Outcome.LIKELY_SPAM: "never came back: likely spam",
    Outcome.OTHER_WAY: "the same mail came another way",
    Outcome.VARYING: "never came back: a list, or varying sender",
    Outcome.UNKNOWN: "never came back (unknown)",
}


def _settings(deferral: Deferral, rules: Rules) -> Iterator[Setting]:
    """Return the settings by which a first contact of this recipient is deferred."""
    attempt = retry_of(deferral, rules.policy)
    number = rules.recipients.find(attempt.recipient or b"")
    table = None if number is None else rules.recipients.tables[number]
    policy = Policies(rules.policy, recipients=rules.recipients).of(attempt)
    shown = {
        "delay": format_duration(policy.delay),
        "retry_window": format_duration(policy.retry_window),
        "greylist": policy.greylist.value,
    }
    if not deferral.triplet.sender or kind_of(deferral.triplet) == OF_SEVERAL:
        shown["null_sender"] = policy.null_sender.value
    if policy.greylist is Greylist.SUSPICIOUS:
        shown["signs_needed"] = str(policy.signs_needed)
    if deferral.pool:
        shown["identity"] = policy.identity.value
    for name, text in shown.items():
        key = f"policy.{name}"
        if table is not None and table.sets(name):
            yield Setting(f"recipient.{name}", text, table.origin)
        else:
            yield Setting(key, text, rules.origins.get(key, "default"))
