"""What `greylag check` shows of evidence: what DNS said, the identity, the signs of spam."""

from __future__ import annotations

from greylag.admin.explain import Explained
from greylag.core.evidence import Kind
from greylag.core.policy import Policy
from greylag.core.signs import Found
from greylag.core.spf import Outcome

_NAMES = {
    Kind.NAMES: "confirmed names",
    Kind.SPF: "SPF",
    Kind.DNSBL: "DNSBL",
    Kind.DNSWL: "DNSWL",
}
_NOBODY = {Kind.NAMES: "none", Kind.DNSBL: "not listed", Kind.DNSWL: "not listed"}


def evidence_fields(found: Explained, policy: Policy) -> list[tuple[str, str]]:
    """Return what a decision rests on, beside lists and records."""
    fields = [(_NAMES[kind], _text(kind, found.evidence[kind])) for kind in _kinds(found)]
    if found.identity is not None:
        fields.append(("identity", str(found.identity)))
    if found.signs is not None:
        fields.append(("signs", f"{len(found.signs)} (suspicious from {policy.signs_needed} on)"))
        fields += [(f"  {sign.sign.value}", sign.source) for sign in found.signs]
    return fields


def silence(found: Explained, policy: Policy) -> str:
    """Return why an entry of a sender does not speak."""
    if not policy.dns:
        return "DNS is off (dns.servers), so SPF never passes"
    outcome = found.evidence.get(Kind.SPF)
    return f"SPF does not vouch for the sender: {_text(Kind.SPF, outcome)}"


def evidence_json(found: Explained, policy: Policy) -> dict[str, object]:
    """Return the same as JSON has it."""
    signs = found.signs
    return {
        "evidence": {kind.value: _json(found.evidence[kind]) for kind in _kinds(found)},
        "identity": found.identity and str(found.identity),
        "signs": None if signs is None else [_sign_json(sign) for sign in signs],
        "signs_needed": None if signs is None else policy.signs_needed,
    }


def _kinds(found: Explained) -> list[Kind]:
    return [kind for kind in Kind if kind in found.evidence]


def _text(kind: Kind, what: object) -> str:
    if what is None:
        return "not known"
    if isinstance(what, Outcome):
        terms = f" ({' '.join(what.terms)})" if what.terms else ""
        return f"{what.result.value}{terms}{'' if _serves(what) else ', too wide for an identity'}"
    names = ", ".join(what) if isinstance(what, tuple) else ""
    return names or _NOBODY[kind]


def _serves(outcome: Outcome) -> bool:
    from greylag.core.spf import Result

    return outcome.narrow or outcome.result is not Result.PASS


def _json(what: object) -> object:
    if isinstance(what, Outcome):
        return {
            "result": what.result.value,
            "terms": list(what.terms),
            "narrow": what.narrow,
        }
    return list(what) if isinstance(what, tuple) else None


def _sign_json(found: Found) -> dict[str, str]:
    return {"sign": found.sign.value, "source": found.source}
