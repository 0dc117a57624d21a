"""What happens to users while a password is hashed: the file as it is then decides (T15)."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from greylag.web.accounts import Account, Accounts, Overtaken, Role
from greylag.web.sessions import PER_USER, Sessions
from tests.web.dashboard import PASSWORD, Dashboard, Response

NEW = "quite another password"
SECRET, OTHER = "$argon2id$one", "$argon2id$other"


def users_of(folder: Path) -> dict[str, str]:
    lines = (folder / "users").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1] for line in lines}


def busy(dashboard: Dashboard) -> list[threading.Thread]:
    """Keep the two threads that hash at work, so that the next hash waits for a while."""

    def fail() -> None:
        client = dashboard.client()
        client.sign_in("nobody", "a wrong password")

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("what", ["remove", "role"])
def test_a_password_change_undoes_no_removal_and_no_demotion_t15(
    dashboard: Dashboard, what: str
) -> None:
    """The role was read before the hash was made, and written back after it."""
    admin, operator = dashboard.client("admin"), dashboard.client("operator")
    admins, own = admin.get("/users").token, operator.get("/password").token
    answers: list[Response] = []
    form = {"old": PASSWORD, "password": NEW, "again": NEW, "token": own}
    threads = busy(dashboard)
    change = threading.Thread(target=lambda: answers.append(operator.post("/password", form)))
    change.start()
    time.sleep(0.1)
    form = {"user": "operator", "role": "viewer", "token": admins}
    assert admin.post(f"/users/{what}", form).status == 303
    for thread in (*threads, change):
        thread.join()
    assert users_of(dashboard.folder).get("operator") == (None if what == "remove" else "viewer")
    if what == "remove":
        assert answers[0].status == 403
        assert operator.get("/mail").status == 303  # to the sign-in
    else:
        assert answers[0].status == 303
        assert operator.get("/mail").status == 200


def test_a_password_that_was_changed_meanwhile_stays(tmp_path: Path) -> None:
    """T15: whoever knows the old one cannot take the user over with it."""
    accounts = Accounts(str(tmp_path / "users"))
    checked, _known = accounts.put("somebody", SECRET, Role.OPERATOR)
    accounts.put("somebody", OTHER)
    with pytest.raises(Overtaken):
        accounts.renew(checked, "$argon2id$third")
    assert accounts.all()["somebody"] == Account("somebody", Role.OPERATOR, OTHER)


def test_two_admins_who_demote_each_other_leave_one(tmp_path: Path) -> None:
    accounts = Accounts(str(tmp_path / "users"))
    for name in ("one", "two"):
        accounts.put(name, SECRET, Role.ADMIN)
    assert accounts.give_role("two", Role.VIEWER, by="one")
    with pytest.raises(Overtaken):
        accounts.give_role("one", Role.VIEWER, by="two")
    with pytest.raises(Overtaken):
        accounts.remove("one", by="two")
    assert not accounts.give_role("gone", Role.ADMIN, by="one")
    assert set(accounts.all()) == {"one", "two"}


def test_a_link_makes_one_user_also_when_it_is_used_at_once(tmp_path: Path) -> None:
    """T15: whether there is a user is looked at under the lock under which one is made."""
    accounts = Accounts(str(tmp_path / "users"))
    accounts.put_first("first", SECRET)
    with pytest.raises(Overtaken):
        accounts.put_first("second", SECRET)
    assert set(accounts.all()) == {"first"}


def test_a_user_has_ten_sessions_and_of_more_the_oldest_ends() -> None:
    alice = Account("alice", Role.VIEWER, "secret")
    sessions, accounts = Sessions(), {"alice": alice}
    words = [sessions.begin(alice, 0) for _ in range(PER_USER + 1)]
    alive = [sessions.account(word, accounts, 1) is not None for word in words]
    assert alive == [False] + [True] * PER_USER
