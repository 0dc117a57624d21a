"""What `contrib/` has: rules for alerts, as promtool judges them, and a dashboard for Grafana."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from greylag.core.policy import Room
from greylag.server.exporter import DaemonCollector
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.storeevents import StoreEvents
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.store.memory import MemoryStore
from tests.e2e.plugin import needed

ROOT = Path(__file__).parent.parent
RULES = ROOT / "contrib" / "prometheus" / "greylag.rules.yml"
DASHBOARD = ROOT / "contrib" / "grafana" / "greylag.json"
WHERE = 'job="greylag", instance="a:9123"'
LABELS = {"job": "greylag", "instance": "a:9123"}
NOT_GREYLAGS = {"up"}


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def exported() -> set[str]:
    """Return the names of all series that a daemon shows, histograms' parts as well."""
    desk, journal = Desk(), Journal()
    worker = Worker(desk, MemoryStore, StoreEvents(journal, Metrics()), deadline=1, room=Room())
    names: set[str] = set()
    for metric in DaemonCollector(Metrics(), desk, worker, journal, Asking()).collect():
        if metric.type == "counter":
            names.add(f"{metric.name}_total")
        elif metric.type == "histogram":
            names.update(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            names.add(metric.name)
    return names


def named(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    without_texts = re.sub(r'"[^"]*"', '""', expression)
    found = set(re.findall(r"\b(?:greylag[a-z0-9_:]*|up)\b(?=[\s{\[)]|$)", without_texts))
    return found - set(re.findall(r"\bby \(([a-z, ]+)\)", without_texts))


def promtool(*words: str | Path) -> None:
    command = [needed("promtool", "prometheus"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_that_exist(rule: dict[str, Any]) -> None:
    recorded = {other["record"] for other in rules() if "record" in other}
    assert named(rule["expr"])
    assert named(rule["expr"]) <= exported() | recorded | NOT_GREYLAGS


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do_and_where_more_is_told(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "docs"}
    page, _hash, anchor = rule["annotations"]["docs"].partition("#")
    assert anchor in anchors(ROOT / page)
    section = next(
        text
        for text in (ROOT / page).read_text().split("\n### ")
        if re.sub(r"[^a-z0-9]+", "-", text.partition("\n")[0].lower()) == anchor
    )
    assert f"`{name}`: " in section


def test_the_page_tells_of_no_alert_that_is_not_there() -> None:
    page = (ROOT / "docs/running/monitoring.md").read_text()
    assert set(re.findall(r"^`(Greylag\w+)`: ", page, re.MULTILINE)) == set(ALERTS)


LONG = 1440  # minutes: from here on series have a sample in ten minutes
DAY = 144  # of these


def one(metric: str, values: str, more: str = "") -> dict[str, str]:
    return {"series": f"{metric}{{{WHERE}{more}}}", "values": values}


def attempts(verdict: str, values: str, reason: str = "x") -> dict[str, str]:
    return one("greylag_attempts_total", values, f', verdict="{verdict}", reason="{reason}"')


def seconds(below: str, all_of_them: str) -> list[dict[str, str]]:
    return [
        one("greylag_answer_seconds_bucket", below, ', le="0.5"'),
        one("greylag_answer_seconds_bucket", all_of_them, ', le="1.0"'),
        one("greylag_answer_seconds_bucket", all_of_them, ', le="+Inf"'),
    ]


def switch(off: int, observe: int, minutes: int) -> list[dict[str, str]]:
    return [
        one("greylag_switch", f"{off}x{minutes}", ', mode="off"'),
        one("greylag_switch", f"{observe}x{minutes}", ', mode="observe"'),
    ]


Series = list[dict[str, str]]
# By alert: what makes it fire, at which minute, what its summary has for `$value`, other labels of
# it; and what looks alike and must not fire, at the same minute.
CASES: dict[str, tuple[Series, int, str, dict[str, str], Series]] = {
    "GreylagDown": ([one("up", "1x9 0x20")], 20, "", {}, [one("up", "1x9 0 1x20")]),
    "GreylagStoreDown": (
        [one("greylag_store_down", "0x9 1x9")], 15, "", {},
        [one("greylag_store_down", "0x9 1 0x20")],
    ),
    "GreylagStoreFails": (
        [one("greylag_store_errors_total", "0x10 1 2 3 4 5 5x60")], 60, "5", {},
        [one("greylag_store_errors_total", "0x10 1 2 2x60")],
    ),
    "GreylagAnswersWithoutStore": (
        [attempts("pass", "0+90x60"), attempts("pass", "0+10x60", "store-unavailable")], 30, "10%",
        {}, [attempts("pass", "0+99x60"), attempts("pass", "0+1x60", "store-unavailable")],
    ),
    "GreylagSlow": (
        seconds("0+90x60", "0+100x60"), 45, "", {}, seconds("0+999x60", "0+1000x60"),
    ),
    "GreylagQueueLong": (
        [one("greylag_queue_length", "501x20")], 10, "501", {},
        [one("greylag_queue_length", "499x20")],
    ),
    "GreylagDefersMuch": (
        [attempts("pass", f"0+900x{DAY} {900 * DAY}+100x{DAY}"),
         attempts("defer", f"0+100x{DAY} {100 * DAY}+900x{DAY}")],
        LONG + 150, "", {},
        [attempts("pass", f"0+100x{2 * DAY}"), attempts("defer", f"0+900x{2 * DAY}")],
    ),
    "GreylagDefersNothing": (
        [attempts("pass", f"0+50x{DAY}"), attempts("defer", f"0x{DAY}"),
         one("greylag_observed_total", f"0x{DAY}", ', reason="new"'), *switch(0, 0, DAY)],
        LONG, "", {},
        [attempts("pass", f"0+50x{DAY}"), attempts("defer", f"0x{DAY}"),
         one("greylag_observed_total", f"0x{DAY}", ', reason="new"'), *switch(1, 0, DAY)],
    ),
    "GreylagSwitchedOff": (
        switch(1, 0, 2 * DAY), LONG + 10, "", {"mode": "off"}, switch(0, 1, 2 * DAY),
    ),
    "GreylagLogDropped": (
        [one("greylag_log_dropped_total", "0x10 7x10")], 15, "7", {},
        [one("greylag_log_dropped_total", "7x20")],
    ),
    "GreylagMaintenanceFailing": (
        [one("greylag_maintenance_failing", "1x90")], 80, "", {},
        [one("greylag_maintenance_failing", "1x20 0 1x68")],
    ),
    "GreylagExpiryPaused": (
        [one("greylag_expiry_paused", "1x20")], 15, "", {}, [one("greylag_expiry_paused", "0x20")],
    ),
    "GreylagRecordsEvicted": (
        [one("greylag_triplets_forgotten_total", "0+100x90", ', fate="evicted"')], 60, "6000",
        {"fate": "evicted"},
        [one("greylag_triplets_forgotten_total", "0+100x90", ', fate="stopped"')],
    ),
    "GreylagHistorySkipped": (
        [one("greylag_history_skipped_total", "0+9x180")], 150, "", {},
        [one("greylag_history_skipped_total", "9x180")],
    ),
    "GreylagHistoryFailing": (
        [one("greylag_history_errors_total", "0+1x180")], 120, "", {},
        [one("greylag_history_errors_total", "0x10 1x170")],
    ),
    "GreylagProvidersOld": (
        [one("greylag_providers", f"3x{3 * DAY}"),
         one("greylag_providers_oldest_timestamp_seconds", f"0x{3 * DAY}")],
        3 * LONG, "3d 0h 0m 0s", {},
        [one("greylag_providers", f"0x{3 * DAY}"),
         one("greylag_providers_oldest_timestamp_seconds", f"0x{3 * DAY}")],
    ),
    "GreylagProviderRefused": (
        [one("greylag_providers_refused_timestamp_seconds", f"{2 * LONG * 60}x{3 * DAY}")],
        2 * LONG + 60, "", {},
        [one("greylag_providers_refused_timestamp_seconds", f"0x{3 * DAY}")],
    ),
    "GreylagDnsFails": (
        [one("greylag_dns_queries_total", "0+60x90"), one("greylag_dns_errors_total", "0+30x90")],
        60, "50%", {},
        [one("greylag_dns_queries_total", "0+60x90"), one("greylag_dns_errors_total", "0+6x90")],
    ),
}  # fmt: skip


def test_each_alert_has_a_case() -> None:
    assert CASES.keys() == ALERTS.keys()


def told(name: str, value: str) -> dict[str, str]:
    texts = ALERTS[name]["annotations"]
    return {
        key: re.sub(
            r"\{\{ \$value[^}]*\}\}", value, text.replace("{{ $labels.instance }}", "a:9123")
        )
        for key, text in texts.items()
    }


def judge(folder: Path, name: str, minute: int, cases: list[tuple[Series, list[Any]]]) -> None:
    """Have promtool look whether these series make an alert fire in this minute."""
    step = "10m" if minute >= LONG else "1m"
    tests = [
        {
            "interval": step,
            "input_series": series,
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": expected}
            ],
        }
        for series, expected in cases
    ]
    path = folder / "test.json"  # JSON is YAML
    whole = {
        "rule_files": [str(RULES)],
        "evaluation_interval": step,
        "group_eval_order": ["greylag-recording", "greylag"],  # by chance, if nobody says so
        "tests": tests,
    }
    path.write_text(json.dumps(whole))
    promtool("test", "rules", path)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_then_alone(name: str, tmp_path: Path) -> None:
    firing, minute, value, labels, quiet = CASES[name]
    severity = ALERTS[name]["labels"]["severity"]
    alert = {
        "exp_labels": {**LABELS, **labels, "severity": severity},
        "exp_annotations": told(name, value),
    }
    judge(tmp_path, name, minute, [(firing, [alert]), (quiet, [])])


def test_where_it_observes_that_nothing_is_deferred_is_no_alert(tmp_path: Path) -> None:
    """By the settings or by the switch: something is observed then."""
    series = [
        attempts("pass", f"0+50x{DAY}"),
        attempts("defer", f"0x{DAY}"),
        one("greylag_observed_total", f"0+10x{DAY}", ', reason="new"'),
        *switch(0, 0, DAY),
    ]
    judge(tmp_path, "GreylagDefersNothing", LONG, [(series, [])])


def test_an_hour_without_mail_does_not_silence_an_alert(tmp_path: Path) -> None:
    """A share of nothing is no number, and would make none of the week's average (NaN)."""
    firing, minute, _value, _labels, _quiet = CASES["GreylagDefersMuch"]
    quiet_hours = f"0x{DAY // 2} 0+900x{DAY // 2 - 1} {450 * DAY}+100x{DAY}"
    loud = f"0x{DAY // 2} 0+100x{DAY // 2 - 1} {50 * DAY}+900x{DAY}"
    series = [attempts("pass", quiet_hours), attempts("defer", loud)]
    alert = {
        "exp_labels": {**LABELS, "severity": "warning"},
        "exp_annotations": told("GreylagDefersMuch", ""),
    }
    judge(tmp_path, "GreylagDefersMuch", minute, [(firing, [alert]), (series, [alert])])


# The dashboard.


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> Iterator[dict[str, Any]]:
    for panel in dashboard()["panels"]:
        if panel["type"] != "row":
            yield panel


def queries() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def filled(expression: str) -> str:
    """Return a query as Grafana sends it."""
    words = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
    for word, text in words.items():
        expression = expression.replace(word, text)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize(("title", "expression"), list(queries()), ids=lambda text: text[:40])
def test_a_panel_asks_for_metrics_that_exist(title: str, expression: str) -> None:
    assert named(expression), title
    assert named(expression) <= exported() | NOT_GREYLAGS
    assert 'job=~"$job", instance=~"$instance"' in expression


def test_every_query_is_one(tmp_path: Path) -> None:
    asked = [
        {"record": f"panel:{number}", "expr": filled(expression)}
        for number, (_title, expression) in enumerate(queries())
    ]
    path = tmp_path / "queries.json"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    promtool("check", "rules", path)


def test_panels_have_titles_texts_and_places_of_their_own() -> None:
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_every_figure_that_can_go_wrong_is_on_the_dashboard_or_in_a_rule() -> None:
    shown = {name for _title, expression in queries() for name in named(expression)}
    ruled = {name for rule in rules() for name in named(rule["expr"])}
    histograms = {re.sub("_(bucket|sum|count)$", "", name) for name in shown | ruled}
    known = {re.sub("_(bucket|sum|count)$", "", name) for name in exported()}
    assert known - histograms == set()
