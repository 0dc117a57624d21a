"""Secrets in what setup shows of a file: they stay in the file (T43)."""

from __future__ import annotations

import re

HIDDEN = "***"
_LONGEST = 2000  # characters: the patterns would look at a line of megabytes for hours
# A value with a password, by its key: store.url, mysql_pass, smtp_sasl_password_maps.
_KEY = r"(?:url|[\w.-]*(?:pass|secret|token)[\w-]*)[\"']?"
_VALUE = re.compile(rf"((?:^|[^\w-]){_KEY}\s*=\s*)(?=\S)(.*)", re.IGNORECASE)
_WORD = re.compile(r"(^.?\s*[\w.-]*pass(?:word|wd)?(?:\s*:\s*|[ \t]+))(?=\S)(.*)", re.IGNORECASE)
_ACCOUNT = re.compile(r"[^\s\"'=]*:[^\s\"'@]*@.*")  # wherever it stands
_ASKED = re.compile(r"((?:password|passwd)=).*", re.IGNORECASE)
# Nobody logs in at a file.
_FILE = re.compile(r"[\"']?(?:sqlite|tree)://?/[^@?:]*[\"']?\s*|[\"']?memory:[\"']?\s*")


def hidden(line: str) -> str:
    """Return a line of a diff with `***` for what may be a secret."""
    text = line.rstrip("\r\n")
    end = line[len(text) :]
    if len(text) > _LONGEST:
        return HIDDEN + end
    found = _VALUE.search(text) or _WORD.match(text)
    if found is not None and _FILE.fullmatch(found[2]) is None:
        return text[: found.start(2)] + HIDDEN + end
    return _ASKED.sub(rf"\1{HIDDEN}", _ACCOUNT.sub(HIDDEN, text)) + end
