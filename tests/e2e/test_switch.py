"""`greylag off`, as the plugin without a daemon goes by it, on each store."""

from __future__ import annotations

import time

from tests.e2e.plugin import Plugin
from tests.server.test_switch import greylag


def test_the_plugin_without_a_daemon_goes_by_it(plugin: Plugin) -> None:
    assert plugin.run(SMTPMAILFROM="1@example.org").deferred
    config = plugin.home / "greylag.toml"
    greylag(config, "off", "--for", "1h")
    answer = plugin.run(SMTPMAILFROM="2@example.org")
    assert (answer.output, answer.code) == (b"", 0)
    assert "reason=off" in answer.log
    greylag(config, "observe")
    assert "reason=observed" in plugin.run(SMTPMAILFROM="3@example.org").log
    greylag(config, "off", "--for", "1s")
    time.sleep(1.1)
    assert plugin.run(SMTPMAILFROM="4@example.org").deferred
    greylag(config, "on")
    assert plugin.run(SMTPMAILFROM="2@example.org").deferred  # nothing was recorded
