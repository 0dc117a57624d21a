"""The pages in Debian's Chromium: what people do with them, and that everybody can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser

from greylag.admin.lists import ALLOW, How, put
from greylag.admin.recipients import mark
from greylag.core.accesslist import Purpose
from greylag.core.history import Outcome
from greylag.core.record import Created
from greylag.core.subject import ClientName, RecipientMailbox, SenderDomain, Subject
from greylag.core.value import replace
from greylag.show.summaries import CLASSES
from greylag.web.words import OUTCOMES
from tests.web.browsing import STORY, go, sign_in, visiting
from tests.web.conftest import filled
from tests.web.dashboard import PASSWORD, Dashboard, serving, write_config
from tests.web.seeded import deferral_at, opened, remember, seed

PAGES = (
    "/", "/?by=month", "/mail", "/lists", "/lists?list=deny", "/hurt", "/trust?who=198.51.3.17",
    "/health", "/settings", "/users", "/password",
)  # fmt: skip


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory, users: bytes) -> Iterator[Dashboard]:
    """A dashboard over a week of mail."""
    folder = filled(tmp_path_factory.mktemp("week"), users)
    seed(folder, int(time.time()))
    with serving(folder, write_config(folder)) as made:
        yield made


def test_signing_in_with_a_wrong_password_and_a_right_one(
    browser: Browser, week: Dashboard
) -> None:
    with visiting(browser, week, "") as page:
        page.goto("/lists?list=deny")
        sign_in(page, "viewer", "not the password")
        assert "do not go together" in page.get_by_role("alert").inner_text()
        page.goto("/lists?list=deny")  # it is remembered where one wanted to go
        page.get_by_label("User").fill("viewer")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/lists?list=deny")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(
    browser: Browser, week: Dashboard, scheme: str
) -> None:
    with visiting(browser, week, color_scheme=scheme) as page:
        for path in (*PAGES, STORY):
            go(page, path)
            found = Axe().run(page).response["violations"]
            grave = [
                (one["id"], [node["html"] for node in one["nodes"]][:3])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            assert not grave, path


def test_no_page_is_wider_than_a_phone(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, viewport={"width": 360, "height": 700}) as page:
        for path in (*PAGES, STORY):
            go(page, path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 360, path


def test_no_page_is_wider_than_a_phone_with_long_names(browser: Browser, folder: Path) -> None:
    """Names of clients, senders, recipients and entries may have no place to break at."""
    now, long = int(time.time()), "x" * 60
    name = ".".join([long] * 4)
    with closing(opened(folder)) as store:
        for n, outcome in enumerate((Outcome.UNKNOWN, Outcome.WAITING)):
            one = deferral_at(n, now - 60 + n, f"{long}@{name}"[:250], f"{long}@{name}"[:250])
            remember(store, replace(one, name=name), outcome, now)
        names: tuple[Subject, ...] = (ClientName(name), SenderDomain(name))
        put(store, ALLOW, dict.fromkeys(names, long * 4), How(now + 9999), now)
        mark(
            store, Purpose.EXPECTED, [RecipientMailbox(f"{long}@{name}"[:250])], now, until=now + 99
        )
    links = "owners = true"
    with (
        serving(folder, write_config(folder, links)) as made,
        visiting(browser, made, viewport={"width": 360, "height": 700}) as page,
    ):
        for path in (*PAGES, "/lists?list=expected", STORY):
            go(page, path)
            for _ in range(page.locator("details:not([open]) > summary").count()):
                page.locator("details:not([open]) > summary").first.click()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 360, path
        page.goto("/mail")
        page.locator("summary", has_text="A link for").click()
        page.get_by_label("Mailbox").fill(f"{long}@{name}"[:250])
        page.get_by_role("button", name="Make the link").click()
        page.locator("a.link").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("a.link").click()
        page.get_by_role("heading", name="Mail that waits for").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_words_of_outcomes_are_those_of_the_figures() -> None:
    assert [OUTCOMES[Outcome(word)] for word in CLASSES] == [
        "never came back (likely spam)",
        "came another way",
        "never came back (list, or varying sender)",
        "never came back (unknown)",
    ]


def test_kept_figures_say_of_when_they_are(browser: Browser, folder: Path) -> None:
    with (
        serving(folder, write_config(folder)) as made,
        visiting(browser, made, "viewer") as page,
    ):
        go(page, "/?by=month")
        page.wait_for_timeout(1100)
        go(page, "/?by=month")
        footer = page.locator("footer")
        assert "figures of " in footer.inner_text()
        of = footer.locator("time").get_attribute("datetime")
        page.wait_for_timeout(1100)
        go(page, "/?by=month")
        assert footer.locator("time").get_attribute("datetime") == of
        go(page, "/")
        assert "figures of " not in footer.inner_text()


def test_every_page_works_without_javascript(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, java_script_enabled=False) as page:
        for path in (*PAGES, STORY):
            go(page, path)
            assert page.locator("h1").count() == 1, path
            assert "UTC" in page.locator("footer").inner_text(), path
        page.goto("/mail?sender=alice1")
        assert page.locator("tbody tr").count() == 1
        assert " UTC" in page.locator("tbody th").inner_text()


def test_times_are_those_of_who_looks_with_utc_beside(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, timezone_id="Asia/Tokyo") as page:
        page.goto("/mail")
        shown = page.locator("tbody time").first
        utc = str(shown.get_attribute("title"))
        assert utc.endswith(" UTC")
        assert shown.inner_text() not in utc
        assert "Asia/Tokyo" in page.locator("footer").inner_text()
        assert page.locator("[data-until]").first.inner_text().startswith("in ")


def test_days_below_a_chart_stay_days_in_every_zone(browser: Browser, week: Dashboard) -> None:
    """They were counted in UTC: in Tokyo each would begin at 09:00."""
    with visiting(browser, week, timezone_id="Asia/Tokyo") as page:
        go(page, "/?by=day")
        labels = page.locator(".below").first.locator("time").all_inner_texts()
        assert len(labels) > 3
        assert not any(":" in label for label in labels)
        go(page, "/?by=month")
        labels = page.locator(".below").first.locator("time").all_inner_texts()
        assert all(label[-5:-2] == " 20" for label in labels)


def test_the_filter_is_the_url_and_knows_not(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, "operator") as page:
        page.goto("/mail")
        page.get_by_label("Sender", exact=True).fill("partner3")
        page.get_by_label("Without these words").fill("user1@")
        page.get_by_label("passed", exact=True).check()
        page.get_by_role("button", name="Search").click()
        page.wait_for_url("**sender=partner3**")
        rows = page.locator("tbody tr").all_inner_texts()
        assert rows
        assert all("partner3" in row and "passed" in row for row in rows)
        assert not any("user1@" in row for row in rows)
        again = page.url
        page.goto("/")
        page.goto(again)
        assert page.locator("tbody tr").all_inner_texts() == rows
        page.goto("/mail?recipient=nobody.at.all")
        assert "Nothing fits" in page.locator("main").inner_text()


def test_an_id_leads_to_its_mail(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, "operator") as page:
        go(page, STORY)
        shown = page.locator(".id").inner_text()
        page.goto("/mail")
        page.get_by_label("Id", exact=True).fill(shown.lower().replace("-", ""))
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="What happened").wait_for()
        assert page.locator(".id").inner_text() == shown


def test_a_viewer_sees_mail_without_mailboxes_t9(browser: Browser, week: Dashboard) -> None:
    """T9: nor can a viewer find out who is meant by searching for one."""
    with visiting(browser, week, "viewer") as page:
        go(page, STORY)
        text = page.content()
        assert "alice" not in text
        assert "mail100" not in text
        assert "@partner.example.org" in text
        assert page.locator(".id").count() == 0
        assert page.get_by_role("button", name="Let it in now").count() == 0
        page.goto("/mail?sender=alice2")
        assert "a viewer looks for domains" in page.content().lower()
        page.goto("/mail?sender=@partner3.example.org")
        assert page.locator("tbody tr").count() > 0


def test_by_keyboard_alone(browser: Browser, week: Dashboard) -> None:
    with visiting(browser, week, "") as page:
        page.goto("/sign-in")
        page.keyboard.type("operator")  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.goto("/mail")
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('tbody') !== null"):
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="What happened").wait_for()


def test_allow_narrowest_first_with_an_end_expect_and_forget(
    browser: Browser, folder: Path
) -> None:
    now = int(time.time())
    with closing(opened(folder)) as store:
        remember(store, deferral_at(3, now - 60), Outcome.WAITING, now)
    with (
        serving(folder, write_config(folder)) as made,
        visiting(browser, made, "operator") as page,
    ):
        go(page, STORY)
        offered = page.locator("[name=what]").all()
        assert [one.get_attribute("value") for one in offered] == [
            "sender", "name", "client", "domain",
        ]  # fmt: skip
        page.locator("[name=what]").nth(0).check()
        page.locator("[name=for]").select_option("7d")
        page.get_by_role("button", name="Allow it").click()
        page.get_by_role("button", name="Expect mail for").click()
        page.wait_for_url("**/mail/*")
        page.goto("/lists")
        row = page.locator("tbody tr").inner_text()
        assert "sender3@partner3.example.org" in row
        assert "never" not in row
        page.goto("/lists?list=expected")
        assert "user3@example.net" in page.locator("tbody tr").inner_text()
        page.get_by_role("button", name="End it").click()
        page.locator(".empty").wait_for()
        go(page, STORY)
        page.get_by_role("button", name="Forget it").click()
        page.wait_for_load_state()
        with closing(opened(folder)) as store:
            assert store.load([deferral_at(3, now - 60).triplet]) == {}
            actions = [(one.who, one.action) for one in store.actions(9)]
        assert ("web:operator", "allow") in actions
        assert ("web:operator", "forget") in actions


def test_what_the_history_does_not_have_is_found_by_its_addresses(
    browser: Browser, folder: Path
) -> None:
    """It may be off, and of a flood it has a part only."""
    now = int(time.time())
    key = deferral_at(3, now).triplet
    with closing(opened(folder)) as store:
        store.apply([Created(key, now, now + 300, now + 9999)], {}, now)
    with (
        serving(folder, write_config(folder)) as made,
        visiting(browser, made, "operator") as page,
    ):
        page.goto("/mail?sender=sender3@")
        page.locator("tbody th a").click()
        page.get_by_role("button", name="Let it in now").click()
        page.get_by_text("passes at its next try").first.wait_for()
        with closing(opened(folder)) as store:
            assert store.load([key])[key].defer_until <= time.time()


def test_lists_are_kept_in_the_browser(browser: Browser, dashboard: Dashboard) -> None:
    with visiting(browser, dashboard) as page:
        page.goto("/lists?list=deny")
        page.get_by_label("What", exact=True).first.fill("192.0.2.0/24 192.0.2.77")
        page.get_by_label("Comment").first.fill("a <b>bad</b> network")
        page.get_by_role("button", name="Put it there").click()
        page.locator("tbody tr").nth(1).wait_for()
        assert "a <b>bad</b> network" in page.locator("tbody tr").first.inner_text()
        page.locator("td summary").first.click()
        page.get_by_label("Comment").first.fill("other words")
        page.get_by_role("button", name="Store").first.click()
        page.get_by_text("other words").first.wait_for()
        row = page.locator("tbody tr", has_text="192.0.2.77")
        row.locator("summary").click()
        row.get_by_label("Ends").fill("2100-01-31")
        row.get_by_role("button", name="Store").click()
        page.get_by_text("2100-01-3").first.wait_for()
        row.locator("summary").click()
        row.get_by_label("Comment").fill("more words")  # the end stays
        row.get_by_role("button", name="Store").click()
        page.get_by_text("more words").first.wait_for()
        assert "2100-01-3" in page.locator("tbody tr", has_text="more words").inner_text()
        page.locator("td summary").first.click()
        page.get_by_role("button", name="Take it from the list").first.click()
        page.wait_for_load_state()
        assert page.locator("tbody tr").count() == 1
        page.get_by_label("What", exact=True).first.fill("0.0.0.0/0")
        page.get_by_role("button", name="Put it there").click()
        assert "Refuse all this mail" in page.get_by_role("alert").inner_text()
        page.get_by_role("link", name="No", exact=True).click()
        page.locator("summary", has_text="Import many").click()
        page.get_by_label("Lines").fill("198.51.100.1 # one\nnot-an-address\n")
        page.get_by_role("button", name="Import").click()
        assert "Nothing was stored" in page.locator("main").inner_text()
        page.locator("summary", has_text="Import many").click()
        page.get_by_label("Lines").fill("198.51.100.1 # one\n198.51.100.2\n")
        page.get_by_label("Name of this import").fill("branch")
        page.get_by_role("button", name="Import").click()
        page.get_by_text("branch").first.wait_for()
        assert page.locator("tbody tr").count() == 3


def test_the_switch_is_for_admins_and_ends_by_itself(
    browser: Browser, dashboard: Dashboard
) -> None:
    with visiting(browser, dashboard) as page:
        page.goto("/")
        page.locator("summary", has_text="Switch greylisting off").click()
        page.get_by_role("button", name="Switch", exact=True).click()
        told = page.get_by_role("status").inner_text()
        assert "Greylisting is off until" in told
        assert "web:admin" in told
        with closing(opened(dashboard.folder)) as store:
            assert store.switch() is not None
        page.get_by_role("button", name="Switch it on").click()
        page.locator("summary", has_text="Switch greylisting off").wait_for()
        with closing(opened(dashboard.folder)) as store:
            assert [one.action for one in store.actions(9)] == ["on", "off"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_not_blank_and_have_their_figures_as_a_table(
    browser: Browser, week: Dashboard, scheme: str
) -> None:
    """Drawn, with colours that differ from what is behind them; axe passes blank charts."""
    with visiting(browser, week, color_scheme=scheme) as page:
        page.goto("/")
        charts = page.locator("figure.chart")
        assert charts.count() == 4
        for chart in charts.all():
            box = chart.locator("svg").bounding_box()
            assert box is not None
            assert box["width"] > 200
            drawn = chart.locator("svg rect:not(.hit)").evaluate_all(
                "all => all.map(one => [one.getBoundingClientRect().height,"
                " getComputedStyle(one).fill])"
            )
            behind = chart.evaluate("one => getComputedStyle(one.parentElement).backgroundColor")
            assert max(height for height, _fill in drawn) > 20
            assert all(fill not in (behind, "none", "rgba(0, 0, 0, 0)") for _height, fill in drawn)
            chart.locator("summary").click()
            assert chart.locator("tbody tr").first.is_visible()


def test_a_page_refreshes_itself_while_it_is_seen(browser: Browser, folder: Path) -> None:
    with (
        serving(folder, write_config(folder)) as made,
        visiting(browser, made, "viewer") as page,
    ):
        page.clock.install()
        page.goto("/")
        assert "Nothing waits" in page.locator("main").inner_text()
        before = page.locator("footer time").get_attribute("datetime")
        time.sleep(1.1)
        now = int(time.time())
        with closing(opened(folder)) as store:
            remember(store, deferral_at(3, now), Outcome.WAITING, now)
        page.clock.run_for(31_000)
        page.locator("[data-live] .rows tbody tr").first.wait_for()
        assert "partner3.example.org" in page.locator("main").inner_text()
        assert page.locator("footer time").get_attribute("datetime") != before
