"""The settings of [policy]: each is a field of `core.policy.Policy`."""

from __future__ import annotations

from greylag.app import reading
from greylag.app.option import Option
from greylag.core.policy import Policy

_POLICY = Policy()

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
        "how long after the first attempt a triplet that never came back is forgotten",
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
        reading.null_sender,
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
        "greylist only the recipient domains that the allowlist names",
    ),
)
