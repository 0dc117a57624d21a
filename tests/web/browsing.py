"""Visits of a dashboard in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

from tests.web.dashboard import PASSWORD, Dashboard

STORY = "STORY"  # the page of the newest mail


@contextmanager
def visiting(
    browser: Browser, dashboard: Dashboard, user: str = "admin", **options: object
) -> Iterator[Page]:
    """Sign in, and see that nothing was refused by the browser or asked of others."""
    context = browser.new_context(base_url=dashboard.url, **options)  # type: ignore[arg-type]
    context.set_default_timeout(15_000)
    page = context.new_page()
    wrong: list[str] = []

    def told(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def said(message: ConsoleMessage) -> None:
        if "Policy" in message.text:
            wrong.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith(dashboard.url):
            wrong.append(request.url)

    page.on("dialog", told)
    page.on("console", said)
    page.on("request", asked)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        if user:
            sign_in(page, user)
        yield page
        assert not wrong
    finally:
        context.close()


def sign_in(page: Page, user: str, password: str = PASSWORD) -> None:
    page.goto("/sign-in")
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()


def go(page: Page, path: str) -> None:
    if path != STORY:
        page.goto(path)
        while page.locator("[data-soon]").count():  # it is being counted
            page.wait_for_timeout(200)
            page.goto(path)
        return
    page.goto("/mail")
    page.locator("tbody th a").first.click()
    page.get_by_role("heading", name="What happened").wait_for()
