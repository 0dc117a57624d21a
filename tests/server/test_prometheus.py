"""A real Prometheus reads a real daemon: it evaluates the rules, and answers each panel."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.plugin import needed
from tests.server.daemon import serving
from tests.server.test_serve import free_port
from tests.test_contrib import ALERTS, RULES, filled, queries

START = 90.0


class Prometheus:
    """A running one, asked by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **query: str) -> Any:
        asked = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(asked, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def value(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def until(self, expression: str) -> list[Any]:
        """Wait until a query has a result."""
        end = time.monotonic() + START
        while not (found := self.value(expression)):
            assert time.monotonic() < end, expression
            time.sleep(0.2)
        return found


@contextmanager
def reading(folder: Path, target: int) -> Iterator[Prometheus]:
    folder.mkdir()
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(  # which is YAML
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {
                        "job_name": "greylag",
                        "static_configs": [{"targets": [f"127.0.0.1:{target}"]}],
                    }
                ],
            }
        )
    )
    command = [needed("prometheus", "prometheus"), f"--config.file={config}"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + START
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < end, (folder / "log").read_text()
                    time.sleep(0.1)
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(START)


def test_prometheus_reads_the_daemon_and_answers_each_panel(tmp_path: Path) -> None:
    port = free_port()
    with (
        serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"') as daemon,
        reading(tmp_path / "prometheus", port) as prometheus,
        daemon.connect() as client,
    ):
        prometheus.until('up{job="greylag"} == 1')
        for number in range(20):
            client.ask(sender=f"user{number}@example.org")
        prometheus.until('greylag_attempts_total{verdict="defer", reason="new"} == 20')
        prometheus.until("rate(greylag_attempts_total[10s]) > 0")
        for title, expression in queries():
            found = prometheus.value(filled(expression))
            # Nothing is shown of what has not happened: an end, a first pass, a share of nothing.
            assert found or ">" in expression or "quantile" in expression, title
        prometheus.until("greylag:deferred:share1h > 0.5")
        found = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in found if rule["type"] == "alerting"} == set(ALERTS)
        assert {rule["health"] for rule in found} <= {"ok", "unknown"}
        assert [rule["lastError"] for rule in found if rule.get("lastError")] == []
        assert [rule["name"] for rule in found if rule.get("state") == "firing"] == []
