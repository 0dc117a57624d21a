"""The settings of [policy]: each is a field of `core.policy.Policy`."""

from __future__ import annotations

from greylag.app import reading
from greylag.app.option import Option
from greylag.core.policy import SPARING, Greylist, IdentityBy, NullSender, Policy, Trap
from greylag.core.signs import Sign

# What a new installation has, and what holds in the place of the old plugin.
_POLICY, DROP_IN = SPARING, Policy()
# What spares mail the delay, or adds to the rules of the old plugin.
SPARING_NAMES = (
    *("normalise", "mailbox_separator", "identity", "trust_after", "trust_all_after"),
    *("correspondents", "greylist", "trapped_for"),
)
_MOST = 1000  # passes that earn trust

POLICY_OPTIONS = (
    Option(
        "policy.delay",
        reading.duration,
        _POLICY.delay,
        "how long after the first attempt a retry is let in",
    ),
    Option(
        "policy.retry_window",
        reading.duration,
        _POLICY.retry_window,
        "how long after the first attempt a triplet that never came back is deleted",
    ),
    Option(
        "policy.lifetime",
        reading.lasting,
        _POLICY.lifetime,
        "how long after its last pass a triplet is remembered",
    ),
    Option(
        "policy.ipv4_prefix",
        reading.count(8, 32),
        _POLICY.ipv4_prefix,
        "bits of an IPv4 address that make the client network",
    ),
    Option(
        "policy.ipv6_prefix",
        reading.count(16, 128),
        _POLICY.ipv6_prefix,
        "bits of an IPv6 address that make the client network",
    ),
    Option(
        "policy.null_sender",
        reading.member_of(NullSender),
        _POLICY.null_sender,
        'when bounces are deferred: at "data", at "rcpt" or "never"',
    ),
    Option(
        "policy.probe_senders",
        reading.senders,
        _POLICY.probe_senders,
        'senders that are deferred at DATA like bounces, with null_sender = "data"',
    ),
    Option(
        "policy.explicit",
        reading.flag,
        _POLICY.explicit,
        "greylist only the recipients and recipient domains that the allowlist names",
    ),
    Option(
        "policy.normalise",
        reading.flag,
        _POLICY.normalise,
        "take senders without what changes from mail to mail: numbers, tags, time stamps",
    ),
    Option(
        "policy.mailbox_separator",
        reading.separator,
        _POLICY.mailbox_separator,
        'what begins a tag in recipients, such as "+" or "-"; empty: each address is its own',
    ),
    Option(
        "policy.identity",
        reading.member_of(IdentityBy),
        _POLICY.identity,
        'what makes one sender of many networks: "none", "spf" or "spf+name"',
    ),
    Option(
        "policy.trust_after",
        reading.count(0, _MOST),
        _POLICY.trust_after,
        "first passes after which a sender's domain needs no delay from the same servers; 0: never",
    ),
    Option(
        "policy.trust_all_after",
        reading.count(0, _MOST),
        _POLICY.trust_all_after,
        "as above, for all mail of these servers; 0: never",
    ),
    Option(
        "policy.correspondents",
        reading.off_or(86400),
        _POLICY.correspondents,
        'how long those whom our users wrote to may answer without a delay; "off": never',
    ),
    Option(
        "policy.greylist",
        reading.member_of(Greylist),
        _POLICY.greylist,
        'what is greylisted: "all", "suspicious", "observe" or "off"',
    ),
    Option(
        "policy.signs",
        reading.signs,
        _POLICY.signs,
        "the signs of spam that count",
    ),
    Option(
        "policy.signs_needed",
        reading.count(1, len(Sign)),
        _POLICY.signs_needed,
        'how many of them make mail suspicious, with greylist = "suspicious"',
    ),
    Option(
        "policy.our_names",
        reading.hosts,
        _POLICY.our_names,
        "names and addresses of our own servers: a stranger who says one of them in HELO lies",
    ),
    Option(
        "policy.trap",
        reading.member_of(Trap),
        _POLICY.trap,
        'what a client that mails a trap is told: "deny" or "defer"',
    ),
    Option(
        "policy.trapped_for",
        reading.off_or(60),
        _POLICY.trapped_for,
        'how long a client that mails a trap is refused; "off": there are no traps',
    ),
)
