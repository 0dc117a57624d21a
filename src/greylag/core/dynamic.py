"""Host names that an access provider makes, for whoever has an address today.

Such a name says who gave the address, not who sends. So it is no identity, also where the provider
calls it static: all customers of the provider would be one sender. Two things tell it:

- a word of the trade, such as `dsl`, `dyn`, `dialup`, `ppp`, `dhcp`, `cable`;
- the address: three or more of its numbers, all of it in hexadecimal, or as one number; two of
  its numbers beside a word such as `host`, `ip` or `pool`; any number beside `customer`.

A word such as `mail`, `smtp` or `mta` says that the operator means the host to send mail: big
senders number theirs by their addresses. In the first label it outweighs all that other labels
say, in another label it outweighs the address alone. Only who has a name server of his own can
use this to look better than he is, and he can choose any name anyway.

The labels of the organisation are not looked at: `dsl.example` may be a company.
"""

from __future__ import annotations

from greylag.core.client import IPV4_BYTES, format_address
from greylag.core.names import is_below

_DIGITS = frozenset("0123456789")
_NOT_LETTERS = {ord(c): " " for c in "0123456789-_."}
_NOT_DIGITS = {ord(c): " " for c in "abcdefghijklmnopqrstuvwxyz-_."}
_SEPARATORS = {ord(c): None for c in "-_."}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ACCESS = _words(
    "dyn dynamic dynamicip dynip dynamisch dynamique dinamic dinamico dinamica dip dialup dialin "
    "dial dialer dhcp dhcpd cable cablemodem catv docsis modem isdn broadband bband resnet "
    "residential ftth fttb fttx fttp fttc gpon wimax wifi wlan hotspot gprs umts hsdpa lte "
    "mobile cellular wireless pptp"
)
_ACCESS_BEGINS, _ACCESS_ENDS = ("ppp", "dialup"), ("dsl",)
_CUSTOMER = _words(
    "cust customer customers client clients subscriber subscr subs abo user users home res"
)
_GENERIC = _words(
    "pool pools host hosts ip ips ipv static stat node nat net rev reverse rdns ptr "
    "unassigned access vps vm cloud compute server srv"
)
_MAIL = _words("mx mxout mout msa mda relay relays outbound exim postfix sender")
_MAIL_BEGINS, _MAIL_ENDS = ("mail", "smtp", "mta"), ("mail", "smtp", "mta", "mx")


def looks_dynamic(name: str, client: bytes, organisation: str = "") -> bool:
    """Tell it of a name (as `host_name` returns it) of a packed client address.

    `organisation` is the organisational domain; without it that is taken for the last two labels.
    """
    labels = name.split(".")
    if organisation and is_below(name, organisation):
        own = labels[: len(labels) - organisation.count(".") - 1]
    else:
        own = labels[:-2]
    if not own:
        return False
    words = [label.translate(_NOT_LETTERS).split() for label in own]
    accesses = [any(map(_is_access, of_label)) for of_label in words]
    mails = [any(map(_is_mail, of_label)) for of_label in words]
    if any(accesses):
        return accesses[0] or not mails[0]
    if any(mails):
        return False
    text = ".".join(own)
    numbers = _numbers_of_address(text, client)
    every = frozenset(word for of_label in words for word in of_label)
    return (
        numbers > 2
        or (numbers > 1 and not _GENERIC.isdisjoint(every))
        or (not _CUSTOMER.isdisjoint(every) and not _DIGITS.isdisjoint(text))
    )


def _is_access(word: str) -> bool:
    return word in _ACCESS or word.startswith(_ACCESS_BEGINS) or word.endswith(_ACCESS_ENDS)


def _is_mail(word: str) -> bool:
    return word in _MAIL or word.startswith(_MAIL_BEGINS) or word.endswith(_MAIL_ENDS)


def _numbers_of_address(text: str, client: bytes) -> int:
    """Return how many numbers of the address a name has beside each other: 0, 2, 3, or 4 for all.

    Two must be the last two, which tell it from its neighbours.
    """
    joined = text.translate(_SEPARATORS)
    digits = client.hex()
    if digits in joined or client[::-1].hex() in joined:
        return 4
    if len(client) != IPV4_BYTES:
        groups = [f"{int(digits[at : at + 4], 16):x}" for at in range(0, 32, 4)]
        dashed = ("-".join(groups), format_address(client).replace(":", "-"))
        found = digits[::-1] in joined or digits[16:] in joined or any(d in text for d in dashed)
        return 4 if found else 0
    runs = text.translate(_NOT_DIGITS).split()
    padded = ["".join([f"{byte:03}" for byte in octets]) for octets in (client, client[::-1])]
    if any(run in (*padded, str(int.from_bytes(client, "big"))) for run in runs):
        return 4
    found_runs = [int(run) if len(run) <= 3 and run.isdecimal() else -1 for run in runs]
    for count, starts in ((3, (0, 1)), (2, (2,))):
        parts = {tuple(client[at : at + count]) for at in starts}
        parts |= {part[::-1] for part in parts}
        if any(tuple(found_runs[at : at + count]) in parts for at in range(len(found_runs))):
            return count
    return 0
