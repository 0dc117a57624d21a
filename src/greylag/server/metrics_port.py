"""The port of the figures: few peers at a time, and each with a few seconds, whatever it sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from socketserver import ThreadingMixIn
from time import monotonic
from typing import TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from greylag.server.rest import rest

MOST = 16  # peers at once, each with a thread; more are hung up on
PATIENCE = 5.0  # seconds for a question and its answer
_GLANCE = 0.5  # seconds between looks at those whose time is over


class _Handler(WSGIRequestHandler):
    """Says nothing: stderr may be a pipe that nobody reads."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""

    def get_stderr(self) -> TextIO:
        """Return where an error's traceback goes: nowhere."""
        return StringIO()


class Port(ThreadingMixIn, WSGIServer):
    """Answers on a listening socket, from `start` to `stop`."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        place = listener.getsockname()
        super().__init__(place, _Handler, bind_and_activate=False)
        self.socket.close()  # made by the base class, and never bound
        self.socket = listener
        self.server_name, self.server_port = place[:2]
        self.setup_environ()
        self.set_app(make_wsgi_app(registry))
        self._until: dict[socket.socket, float] = {}  # when a peer's time is over
        self._ending = False

    def start(self) -> Callable[[], None]:
        """Begin to answer; return what ends that."""
        threading.Thread(target=self._answer, name="greylag-metrics", daemon=True).start()
        return self._stop

    def _answer(self) -> None:
        """Answer until the end, and go on where there was no memory: any call can fail so (T39)."""
        failed = False
        while not self._ending:
            try:
                if failed:
                    rest(_GLANCE)
                self.serve_forever(_GLANCE)
            except Exception:  # noqa: BLE001 - what it was about is lost, but not the port
                failed = True

    def _stop(self) -> None:
        self._ending = True
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept; where no descriptor is left wait a moment, or this thread would never rest."""
        try:
            return super().get_request()
        except OSError:
            rest(_GLANCE)
            raise

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread of its own, if there is one left."""
        assert isinstance(request, socket.socket)
        if len(self._until) >= MOST:
            self.shutdown_request(request)
            return
        self._until[request] = monotonic() + PATIENCE
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        """Close a connection, and have its place free."""
        assert isinstance(request, socket.socket)
        self._until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on those whose time is over: their threads read the end, or cannot write."""
        now = monotonic()
        for request, until in list(self._until.items()):
            if until <= now:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Say nothing of a peer that went away, or a thread that could not be started."""
