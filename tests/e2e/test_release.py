"""`greylag why` and `release`, as the plugin without a daemon goes by them, on each store."""

from __future__ import annotations

import re

from tests.e2e.plugin import Plugin
from tests.server.test_switch import greylag


def test_the_plugin_without_a_daemon_lets_released_mail_in(plugin: Plugin) -> None:
    config = plugin.home / "greylag.toml"
    answer = plugin.run()
    found = re.search(rb"\(id (\S+)\)", answer.output)
    assert found is not None
    shown = found[1].decode()
    assert f" id={shown}\n" in answer.log
    assert plugin.run(SMTPMAILFROM="other@example.org").deferred
    told = greylag(config, "why", "a@example.org", "b@example.net")
    assert f"id              {shown}\n" in told
    assert f"to let its next retry in: greylag release {shown}\n" in told
    greylag(config, "release", shown)
    again = plugin.run()
    assert (again.output, "reason=retried" in again.log) == (b"", True)
    assert plugin.run(SMTPMAILFROM="other@example.org").deferred
