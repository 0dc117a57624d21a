"""What setup waits for ends in its time, whatever the other side does."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress

import pytest

from greylag.admin.setup import waiting
from greylag.admin.setup.place import Place, SetupError
from greylag.admin.setup.waiting import Unfinished, own_word


def test_a_supervisor_that_is_still_there_keeps_its_files(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "END", 0.3)
    folder = place.root / "etc/greylag/service/supervise"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "ok")
    held = os.open(folder / "ok", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(Unfinished, match="etc/greylag/service"):
            own_word(place, ("@gone", "/etc/greylag/service"), lenient=True)
        assert folder.exists()
    finally:
        os.close(held)
    own_word(place, ("@gone", "/etc/greylag/service"), lenient=True)
    assert not folder.exists()


def test_a_socket_that_nobody_accepts_at_is_no_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "START", 0.3)
    path = place.root / "s"
    with ExitStack() as opened:
        server = opened.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(os.path.relpath(path))
        server.listen(0)
        with suppress(BlockingIOError):
            for _ in range(10):
                peer = opened.enter_context(socket.socket(socket.AF_UNIX))
                peer.setblocking(False)
                peer.connect(os.path.relpath(path))
        with pytest.raises(SetupError, match="does not answer"):
            own_word(place, ("@answers", "/s"), lenient=False)
