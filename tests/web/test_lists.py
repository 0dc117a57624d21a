"""The page of the lists: what it asks before it refuses the mail of many."""

from __future__ import annotations

import html
import re

from tests.web.dashboard import Dashboard

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def test_what_is_asked_about_comes_back_whole(standing: Dashboard) -> None:
    """Texts on pages are cut; what a form carries must not be."""
    client = standing.client("admin")
    names = [f"department{number}.at.a.long.name.example.net" for number in range(60)]
    form = {
        "list": "deny",
        "kind": "domain",
        "subjects": "\n".join(names),
        "below": "1",
        "comment": "a " * 120 + '"<b>',
        "expires": "2040-01-31",
        "origin": "board",
    }
    asked = client.send("/lists/put", form, "/lists?list=deny")
    assert asked.status == 409
    (part,) = re.findall(r'<section class="card warnbox".*?</section>', asked.text, re.DOTALL)
    again = {name: html.unescape(text) for name, text in _HIDDEN.findall(part)}
    assert again == {
        **form,
        "subjects": " ".join(names),
        "spoofable": "",
        "confirmed": "1",
        "token": asked.token,
    }
    assert names[0] not in client.get("/lists?list=deny").text  # nothing was stored yet
    assert client.post("/lists/put", again).status == 303
    shown = client.get("/lists?list=deny").text
    assert all(name in shown for name in names)
    assert shown.count("2040-01-31") >= len(names)
