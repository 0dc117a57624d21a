"""The dashboard on MariaDB."""

from __future__ import annotations

import time
from pathlib import Path

from tests.servers.mariadb import Database
from tests.web.conftest import filled
from tests.web.dashboard import greylag, serving, write_config
from tests.web.seeded import seed


def test_pages_and_buttons_work_on_mariadb(
    tmp_path: Path, users: bytes, database: Database
) -> None:
    folder = filled(tmp_path, users)
    port = write_config(folder, url=database.url)
    assert greylag(folder, "db", "init").returncode == 0
    seed(folder, int(time.time()), 40)
    with serving(folder, port) as made:
        client = made.client("admin")
        for path in ("/", "/?by=month", "/lists", "/hurt", "/trust?who=198.51.3.17", "/health"):
            assert client.get(path).status == 200, path
        page = client.get("/mail?sender=alice1&outcome=waiting").text
        story = page.partition('href="/mail/')[2].partition('"')[0]
        path = f"/mail/{story}"
        number = client.get(path).text.partition('name="number" value="')[2].partition('"')[0]
        for action in ("release", "expect", "forget"):
            answer = client.send(f"{path}/{action}", {"number": number}, path)
            assert answer.status == 303, action
        assert "released: its next try passes" not in client.get(path).text  # it is forgotten
        told = client.get("/health").text
        assert all(f">{action}<" in told for action in ("release", "expect", "forget"))
        switched = {"mode": "off", "for": "2h"}
        assert client.send("/switch", switched, "/").status == 303
        assert "Greylisting is off" in client.get("/").text
    with serving(folder, port, "--read-only") as made:
        client = made.client("admin")
        form = {"token": client.get("/").token, "mode": "on"}
        assert client.post("/switch", form).status == 403
        assert "Greylisting is off" in client.get("/").text
