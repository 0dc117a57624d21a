"""The pages: a module for each, with functions that take a visit and a store and return HTML.

They run in the threads of `web.stores`. What changes something is in `CHANGES`, with the role that
it takes; the gate has looked at its form before, and the application at the role.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.responses import Response

from greylag.store.base import Store
from greylag.web.accounts import Role
from greylag.web.pages import box, health, hurt, lists, mail, now, settings, story, trust, users
from greylag.web.visit import Visit

Work: TypeAlias = Callable[[Visit, Store], Response | str]

PAGES: dict[str, Work] = {
    "/": now.page,
    "/mail": mail.page,
    "/mail.csv": mail.as_csv_file,
    "/mail.json": mail.as_json_file,
    "/mail/{key}": story.page,
    "/lists": lists.page,
    "/hurt": hurt.page,
    "/trust": trust.page,
    "/health": health.page,
    "/settings": settings.page,
    "/users": users.page,
}
CHANGES: dict[str, tuple[Role, Work]] = {
    "/mail/{key}/release": (Role.OPERATOR, story.release),
    "/mail/{key}/allow": (Role.OPERATOR, story.allow),
    "/mail/{key}/forget": (Role.OPERATOR, story.forget),
    "/mail/{key}/expect": (Role.OPERATOR, story.expect),
    "/mail/link": (Role.OPERATOR, box.make),
    "/lists/put": (Role.ADMIN, lists.put),
    "/lists/remove": (Role.ADMIN, lists.remove),
    "/lists/import": (Role.ADMIN, lists.take_over),
    "/lists/expect": (Role.OPERATOR, lists.expect),
    "/lists/expect-end": (Role.OPERATOR, lists.expect_end),
    "/trust/end": (Role.OPERATOR, trust.end_trust),
    "/trust/let-go": (Role.OPERATOR, trust.let_go),
    "/switch": (Role.ADMIN, now.turn_switch),
    "/users/sign-out": (Role.ADMIN, users.sign_out),
    "/users/role": (Role.ADMIN, users.change_role),
    "/users/remove": (Role.ADMIN, users.remove),
}
# For whoever has the link of a mailbox's owner: what is shown, and what is changed.
OWNERS_PAGE = ("/box/{word}", box.page)
OWNERS_CHANGES: dict[str, Work] = {
    "/box/{word}/release": box.release,
    "/box/{word}/expect": box.expect,
}
