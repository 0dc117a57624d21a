"""P14 and T15: whatever the store holds, a page shows it as text, and nothing of it acts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser

from greylag.core.accesslist import Entry, Purpose
from greylag.core.history import Action, Begun, Deferral
from greylag.core.policy import Greylist
from greylag.core.subject import ClientName, Network, SenderMailbox
from greylag.core.switch import Switch
from greylag.core.triplet import Triplet
from tests.evil import EVIL
from tests.web.browsing import STORY, go, visiting
from tests.web.conftest import filled
from tests.web.dashboard import Dashboard, serving, write_config
from tests.web.seeded import opened

MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
    '"><script src=//evil.example.org/x.js></script>', "' onmouseover=alert(1) x='",
    '" autofocus onfocus=alert(1) x="', "</title><script>alert(1)</script>", "</textarea><b>x",
    "</option></select><script>alert(1)</script>", "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)", '<a href="javascript:alert(1)">x</a>', "<base href=//evil.example.org>",
    "<meta http-equiv=refresh content=0;url=//evil.example.org>", "<link rel=stylesheet href=//x>",
    "<style>*{display:none}</style>", "<form action=//evil.example.org><button>", "<!--", "-->",
    "{{ 7*7 }}", "{% include '/etc/passwd' %}", "${7*7}", "&lt;script&gt;", "&#x3c;script&#x3e;",
    '<math><mi//xlink:href="data:x,<script>alert(1)</script>">', "<details open ontoggle=alert(1)>",
    "\x00<script>", "\x1b[31mred\x1b[0m", "\x1b]8;;http://evil.example.org\x07x", "\u202egnp.exe",
    "\u2066x\u2069", "\u200b\ufeff", "\ud800", "\ufffe", "x" * 255, "\u0301" * 40, "%3Cscript%3E",
    "\\u003cscript\\u003e", "]]>", "<?php", "=cmd|' /C calc'!A0", "@SUM(1)", "\r\nSet-Cookie: a=b",
)  # fmt: skip
WORDS = tuple(dict.fromkeys((*MARKUP, *(raw.decode("latin-1") for raw in EVIL))))
FORBIDDEN = {*map(chr, (*range(9), *range(11, 32), *range(127, 160))), *"\u202e\u2066\u2069\u200b"}


def sound(text: str) -> str:
    """Return what a database can hold of a text."""
    return text.encode("utf-8", "replace").decode()[:255]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, users: bytes) -> Iterator[Dashboard]:
    """A dashboard over a store that has more than 500 payloads, in each field of a text."""
    folder = filled(tmp_path_factory.mktemp("planted"), users)
    assert plant(folder, int(time.time())) >= 500
    with serving(folder, write_config(folder)) as made:
        yield made


def plant(folder: Path, now: int) -> int:
    texts = [sound(text) for text in WORDS]
    pairs = list(zip(texts, texts[7:] + texts[:7], texts[3:] + texts[:3], strict=True))
    deferrals = [
        Deferral(
            Triplet(bytes((192, 0, 2, 0)), one, other),
            now - n,
            now - n + 300,
            client=bytes((192, 0, 2, 1)),
            name=third,
            signs=(third,),
            pool=other.encode()[:30],
        )
        for n, (one, other, third) in enumerate(pairs)
    ]
    with closing(opened(folder)) as store:
        store.remember([Begun(one) for one in deferrals], now)
        store.put_entries(
            Entry(Network(bytes((198, 51, 100, n)), 32), 0, comment=one, origin=other[:60])
            for n, (one, other, _third) in enumerate(pairs)
        )
        store.put_entries(Entry(SenderMailbox(one), 0, comment=one) for one, _, _ in pairs)
        store.put_entries(Entry(ClientName(one), 0, created=now) for one, _, _ in pairs)
        store.put_entries(
            Entry(SenderMailbox(one), 0, now + 999, other, purpose=Purpose.EXPECTED)
            for one, other, _ in pairs
        )
        for one, other, third in pairs:
            store.note_action(Action(now, one, other, third))
        store.set_switch(Switch(Greylist.OBSERVE, now + 9999, now, MARKUP[0]))
    return 9 * len(pairs)


def test_500_payloads_in_each_field_are_shown_as_text_p14_t15(
    browser: Browser, planted: Dashboard
) -> None:
    """P14, T15: no dialog, no request to elsewhere, nothing that the policy had to refuse."""
    seen = ""
    with visiting(browser, planted) as page:
        paths = ["/", "/lists", "/lists?list=expected", "/health", "/trust", "/settings", "/mail"]
        for path in (*paths, STORY):
            go(page, path)
            for number in range(9):
                text = page.locator("body").inner_text()
                assert not FORBIDDEN & set(text), (path, FORBIDDEN & set(text))
                assert page.locator("main script, main iframe, main base, main meta").count() == 0
                assert page.locator("[onerror], [onload], [onfocus], [ontoggle]").count() == 0
                seen += text
                further = page.locator("main a", has_text="Older mail").or_(
                    page.locator("main a", has_text="Go on with")
                )
                if number == 8 or further.count() == 0:
                    break
                further.click()
                page.wait_for_load_state()
    for text in ("<script>alert(1)</script>", "{{ 7*7 }}", "\\x1b[31mred", "\\u202egnp.exe"):
        assert text in seen


def test_a_field_that_is_searched_for_comes_back_as_text_p14(
    browser: Browser, planted: Dashboard
) -> None:
    """P14: what a link brings along is text, too."""
    with visiting(browser, planted) as page:
        for text in MARKUP[:12]:
            page.goto(f"/mail?{urlencode({'sender': text, 'not': text})}")
            assert page.locator("main script").count() == 0
            assert page.get_by_label("Sender", exact=True).input_value() == text
            page.goto(f"/trust?{urlencode({'who': text})}")
            assert "Wrong input" in page.locator("h1").inner_text()
            assert page.locator("main script").count() == 0
