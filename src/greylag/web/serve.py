"""From the settings to a running dashboard."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from contextlib import suppress
from errno import EADDRINUSE
from time import time

import uvicorn

from greylag import __version__
from greylag.app.config import Settings
from greylag.store import backend_of, without_password
from greylag.web.accounts import Accounts
from greylag.web.app import application
from greylag.web.connection import PATIENCE, connections_of
from greylag.web.crowd import MOST
from greylag.web.drawing import Drawing
from greylag.web.journal import Journal
from greylag.web.places import Place, place_of
from greylag.web.stores import Stores
from greylag.web.visit import SETUP_LASTS, SetUp, Web

_SILENT = 100  # a level of logging that nothing has


class CannotServe(Exception):
    """The dashboard cannot start. The text says why, and what to do."""


class PlaceTaken(CannotServe):
    """Another program listens there: once that has ended, it can start."""


def web_of(settings: Settings, *, read_only: bool) -> Web:
    """Return what the requests of a dashboard share."""
    values = settings.values
    return Web(
        settings=settings,
        place=place_of(values["web.listen"]),
        accounts=Accounts(values["web.users"]),
        stores=Stores(
            backend_of(settings.store_url), float(settings.store_timeout), read_only=read_only
        ),
        journal=Journal(),
        drawing=Drawing(),
        hosts=frozenset(values["web.hosts"]),
        proxies=frozenset(values["web.proxies"]),
        read_only=read_only,
    )


def prepare(web: Web, *, terminal: bool) -> str | None:
    """Return the one-time link of a dashboard that has no user yet; None where it has.

    Raises CannotServe where nobody could be told of a link alone, and AccountsError.
    """
    if web.accounts.all():
        return None
    make = "nobody can sign in yet: `greylag web passwd` makes the first user"
    if not web.place.loopback:
        raise CannotServe(f"{make}, and until then it listens on the loopback address alone")
    if not terminal:
        raise CannotServe(make)
    web.setup = SetUp(int(time()) + SETUP_LASTS)
    return f"{web.place.url}set-up/{web.setup.word}"


def bound(place: Place) -> socket.socket:
    """Return a socket that listens. Raises CannotServe."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.host, place.port))
        made.listen(128)
    except OSError as error:
        made.close()
        kind = PlaceTaken if error.errno == EADDRINUSE else CannotServe
        raise kind(f"{place.host}:{place.port}: {error.strerror} (web.listen)") from None
    return made


def run(web: Web, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(_SILENT)  # what is wrong is told by our own log
    config = uvicorn.Config(
        application(web),
        http=connections_of(web.proxies),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=2 * MOST,  # there are never so many: see `web.crowd`
        timeout_keep_alive=int(PATIENCE),
    )
    store = without_password(web.settings.store_url)
    told = {"event": "web-started", "version": __version__, "at": web.place.url, "store": store}
    web.journal.event(told)
    # It raises the signal that ended it again: what is queued for the log is written first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        web.journal.event({"event": "web-stopped"})
        web.stores.close()
        web.journal.close()
