"""The settings that are compared."""

from __future__ import annotations

from greylag.core.policy import SPARING, Greylist, IdentityBy, Policy, with_evidence
from greylag.core.suffixes import Suffixes
from greylag.core.value import replace

# As much of the public suffix list as the world needs.
SUFFIXES = Suffixes(
    "// ===BEGIN ICANN DOMAINS===\ncom\nnet\norg\n// ===END ICANN DOMAINS===\n"
    "// ===BEGIN PRIVATE DOMAINS===\n// ===END PRIVATE DOMAINS===\n"
)
PLAIN, DEFAULT, NAMES = "plain", "default", "names"
SUSPICIOUS, OBSERVE = "suspicious", "observe"
_NEW = replace(SPARING, dns=True)  # what a new installation has
SETTINGS = {
    PLAIN: Policy(),
    DEFAULT: with_evidence(_NEW),
    NAMES: with_evidence(replace(_NEW, identity=IdentityBy.SPF_OR_NAME, suffixes=SUFFIXES)),
    SUSPICIOUS: with_evidence(replace(_NEW, greylist=Greylist.SUSPICIOUS)),
    OBSERVE: with_evidence(replace(_NEW, greylist=Greylist.OBSERVE)),
}
