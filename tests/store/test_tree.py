"""The tree store: the old program's files, as they are, and nothing outside of them.

What it shares with other stores is in test_contract.py. It keeps connections, not recipients, and
of these two times only, no counts, figures and lists: what that means is here.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greylag.core.accesslist import Seen
from greylag.core.client import parse_address
from greylag.core.connection import Connection, held, precheck_connection
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Blocked, Created, Freed, Passed
from greylag.core.triplet import Triplet, connection_of
from greylag.service import Service
from greylag.store import check_url, open_store
from greylag.store.base import Filter, StoreError, StoreRefused, StoreUnavailable, Stretch
from greylag.store.contacts import Times
from greylag.store.tree.files import DAY, Root, names_of, network_of
from greylag.store.tree.store import TreeStore

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
FLOOD, FILES = (1_000_000, 100_000) if SOAK else (600, 400)  # clients, and the disk's room
NOW = 1_700_000_000
NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def own_root(root: Path, as_nobody: None) -> Path:
    """A tree of the user that the test runs as."""
    made = root.with_name("own")
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def tree(root: Path) -> Iterator[TreeStore]:
    store = TreeStore(str(root))
    yield store
    store.close()


def key(text: bytes, prefix: int | None = None) -> Triplet:
    packed = parse_address(text)
    assert packed is not None
    return connection_of(packed, prefix or (24 if len(packed) == 4 else 64))


def test_it_frees_nobody_and_says_so(tree: TreeStore) -> None:
    came = key(b"192.0.2.1")
    for freed in (came, Triplet(came.network, "a@example.org", "b@example.net")):
        with pytest.raises(StoreRefused, match="came first and last, and no more"):
            tree.apply([born(came), Freed(freed, NOW)], {}, NOW)
    assert tree.load([came]) == {}


def born(triplet: Triplet, at: int = NOW) -> Created:
    return Created(triplet, at, at + 120, at + DAY)


def plant(path: Path, first: int, last: int | None = None) -> Path:
    """Make a record as the old program does."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600)
    os.utime(path, (first if last is None else last, first))
    return path


def times(path: Path) -> tuple[int, int]:
    found = path.stat()
    return int(found.st_mtime), int(found.st_atime)


def ask(
    root: Path,
    address: bytes,
    at: int,
    *,
    by_address: bool = False,
    hold: int = 120,
    opened_with: int | None = None,
) -> str:
    """Connect at a time; return the reason of what the client hears."""
    connection = Connection(address, by_address=by_address, hold=hold)
    store = TreeStore(str(root), hold=hold if opened_with is None else opened_with)
    service = Service(lambda: store, report=lambda _: None, clock=lambda: at)
    decision = service.answer(precheck_connection(connection, held(Policy(), hold)))
    store.close()
    return decision.reason.value


@pytest.mark.parametrize(
    ("address", "prefix", "place"),
    [
        (b"192.0.2.17", 24, "192/000/002"),
        (b"192.0.2.17", 32, "192/000/002/017"),
        (b"::ffff:198.51.100.1", 24, "198/051/100"),  # fault 2
        (b"2001:db8::1", 64, "ipv6/2001/0db8/00000000"),
        (b"2001:db8:0:1::1", 64, "ipv6/2001/0db8/00000001"),
        (b"2001:db8::1", 128, "ipv6/2001/0db8/000000000000000000000001"),
        (b"::1", 64, "ipv6/0000/0000/00000000"),
        (b"fe80::1", 64, "ipv6/fe80/0000/00000000"),
    ],
)
def test_fault_2_where_a_record_is(
    tree: TreeStore, root: Path, address: bytes, prefix: int, place: str
) -> None:
    triplet = key(address, prefix)
    tree.apply([born(triplet)], {}, NOW)
    file = root / place
    assert times(file) == (NOW, NOW)
    assert file.stat().st_size == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in list(file.relative_to(root).parents)[:-1]:
        assert stat.S_IMODE((root / folder).stat().st_mode) == 0o700
    assert network_of(names_of(triplet.network)) == triplet.network
    assert list(tree.load([triplet])) == [triplet]


@given(network=st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_names_lead_to_one_network_and_nowhere_else_t21(network: bytes) -> None:
    names = names_of(network)
    assert network_of(names) == network
    assert not [name for name in names if "/" in name or name in ("", ".", "..")]


NO_NETWORKS = [
    *(("200", ".00", ".00"), ("1", "2", "3"), ("192", "000"), ("999", "000", "000"), ("ipv6",)),
    *(("192", "000", "002", "000", "001"), ("ipv6", "2001", "0DB8", "00000000"), ("x",)),
    *(("ipv6", "2001", "0db8", "00000000" + 16 * "0"), ("\udcff", "000", "000")),
]


@pytest.mark.parametrize("names", NO_NETWORKS)
def test_other_names_are_no_networks(names: tuple[str, ...]) -> None:
    assert network_of(names) is None


def test_the_life_of_a_connection(root: Path) -> None:
    file = root / "192/000/002"
    assert ask(root, b"192.0.2.17", NOW) == "new"
    assert times(file) == (NOW, NOW)
    assert ask(root, b"192.0.2.18", NOW + 119) == "early"
    assert times(file) == (NOW, NOW + 119)
    assert ask(root, b"192.0.2.17", NOW + 120) == "retried"
    assert times(file) == (NOW, NOW + 120)
    assert ask(root, b"192.0.2.99", NOW + 5000) == "known"
    assert times(file) == (NOW, NOW + 5000)


def test_who_came_only_too_soon_is_known_after_the_hold(root: Path) -> None:
    assert [ask(root, b"192.0.2.1", NOW + s) for s in (0, 60, 110)] == ["new", "early", "early"]
    assert ask(root, b"192.0.2.1", NOW + 40 * DAY) == "retried"


def test_a_longer_hold_than_that_of_the_store_is_kept(root: Path) -> None:
    """The daemon opens a tree once, and is told the time for each client."""

    def at(seconds: int) -> str:
        return ask(root, b"192.0.2.1", NOW + seconds, hold=600, opened_with=120)

    reasons = [at(seconds) for seconds in (0, 130, 140, 599, 600)]
    assert reasons == ["new", "early", "early", "early", "known"]


def test_hold_zero_may_come_back_at_once(root: Path) -> None:
    assert [ask(root, b"192.0.2.1", NOW, hold=0) for _ in range(2)] == ["new", "retried"]


def test_an_old_tree_is_used_as_it_is(root: Path) -> None:
    """A file counts as long as it is there, and a longer hold holds for old records, too."""
    file = plant(root / "192/000/002", NOW - 40 * DAY)
    assert ask(root, b"192.0.2.1", NOW) == "retried"
    assert times(file) == (NOW - 40 * DAY, NOW)
    plant(root / "198/051/100", NOW - 300, NOW - 100)
    assert ask(root, b"198.51.100.7", NOW, hold=600) == "early"
    assert ask(root, b"198.51.100.7", NOW, hold=120) == "known"


def test_fault_3_by_address_over_a_tree_of_networks(root: Path) -> None:
    plant(root / "192/000/002", NOW - DAY, NOW - 60)
    assert ask(root, b"192.0.2.17", NOW, by_address=True) == "known"
    assert times(root / "192/000/002/017") == (NOW - DAY, NOW)
    assert ask(root, b"192.0.2.18", NOW, by_address=True) == "new"
    assert ask(root, b"192.0.2.18", NOW + 1, by_address=True) == "early"


def test_fault_3_networks_over_a_tree_by_address(root: Path) -> None:
    plant(root / "192/000/002/017", NOW - DAY, NOW - 60)
    assert ask(root, b"192.0.2.18", NOW) == "known"
    assert times(root / "192/000/002/000") == (NOW - DAY, NOW)
    assert times(root / "192/000/002/017") == (NOW - DAY, NOW - 60)
    assert ask(root, b"192.0.2.17", NOW + 9, by_address=True) == "known"


def test_a_record_from_the_future_starts_anew_t8(root: Path) -> None:
    plant(root / "192/000/002", NOW + 9000)
    assert ask(root, b"192.0.2.1", NOW) == "new"
    assert ask(root, b"192.0.2.1", NOW + 120) == "retried"


def test_a_clock_that_went_back_does_not_move_the_last_contact_t8(root: Path) -> None:
    file = plant(root / "192/000/002", NOW - DAY, NOW)
    assert ask(root, b"192.0.2.1", NOW - 60) == "known"
    assert times(file) == (NOW - DAY, NOW)


def test_what_root_makes_belongs_to_the_owner_of_the_tree(root: Path) -> None:
    """Or jgreylist, which runs as that user, could not go on using it."""
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(root, 12345, 12346)
    assert ask(root, b"192.0.2.17", NOW) == "new"
    made = [path.lstat() for path in root.rglob("*")]
    assert [(found.st_uid, found.st_gid) for found in made] == [(12345, 12346)] * 3


def test_what_was_forgotten_meanwhile_stays_forgotten(tree: TreeStore, root: Path) -> None:
    triplet = key(b"192.0.2.1")
    tree.apply([Blocked(triplet), Passed(triplet, NOW)], {}, NOW)
    assert list(root.iterdir()) == []


def test_two_first_contacts_at_once_are_one_record_p9(tree: TreeStore, root: Path) -> None:
    triplet = key(b"192.0.2.1")
    tree.apply([born(triplet)], {}, NOW)
    tree.apply([born(triplet, NOW + 5)], {}, NOW + 5)
    assert times(root / "192/000/002") == (NOW, NOW + 5)


def test_who_makes_a_record_second_does_not_move_it_p9(root: Path) -> None:
    top = Root(str(root))
    with top.folder(()) as handle:
        top.create(handle, "002", Times(NOW, NOW))
        with pytest.raises(FileExistsError):
            top.create(handle, "002", Times(NOW + 5, NOW + 5))
    top.close()
    assert times(root / "002") == (NOW, NOW)


def test_recipients_are_not_for_a_tree(tree: TreeStore) -> None:
    triplet = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
    for call in (lambda: tree.load([triplet]), lambda: tree.apply([born(triplet)], {}, NOW)):
        with pytest.raises(StoreError, match="keeps connections, not recipients"):
            call()


def test_lists_and_figures_are_not_kept(tree: TreeStore) -> None:
    tree.apply([], {"defer:new": 1}, NOW)
    assert (tree.figures(0, NOW + DAY), tree.entries(), tree.generation()) == ({}, [], 0)
    assert tree.matching(Seen(b"\xc0\x00\x02\x01", "example.net")) == []
    with pytest.raises(StoreError, match="keeps no lists"):
        tree.put_entries([])


MANY = [b"192.0.2.1", b"9.9.9.9", b"2001:db8::1", b"203.0.113.4", b"2001:db8:0:5::1"]


def test_search_count_and_forget(tree: TreeStore) -> None:
    keys = [key(address) for address in MANY]
    tree.apply([born(k) for k in keys], {}, NOW)
    tree.apply([Passed(keys[0], NOW + DAY)], {}, NOW + 200)
    ordered = sorted(keys, key=lambda k: k.key)
    assert [k for k, _ in tree.search(Filter(), 10)] == ordered
    assert [k for k, _ in tree.search(Filter(), 2)] == ordered[:2]
    assert [k for k, _ in tree.search(Filter(passed=True), 9)] == [keys[0]]
    assert [k for k, _ in tree.search(Filter(sender="x"), 9)] == []
    one = Filter(first_network=keys[3].network, last_network=keys[3].network)
    assert [k for k, _ in tree.search(one, 9)] == [keys[3]]
    assert tree.count(NOW + 200) == (4, 1)
    thin = tree.thin(keys[2].network, passed=False, look=9, part=1, now=NOW, after=None)
    assert thin == Stretch(0, 0, None)
    assert tree.trim(3, NOW + 200) == 3
    assert tree.forget(keys, NOW) == 2
    assert tree.count(NOW) == (0, 0)


def aged(root: Path) -> dict[str, Path]:
    return {
        "once, a day and a second": plant(root / "001/001/001", NOW - DAY - 1),
        "once, a day": plant(root / "001/001/002", NOW - DAY),
        "again, a month and a second": plant(root / "002/001/001", 1, NOW - 30 * DAY - 1),
        "again, a month": plant(root / "002/001/002", 1, NOW - 30 * DAY),
        "IPv6, once, two days": plant(root / "ipv6/2001/0db8/00000000", NOW - 2 * DAY),
        "by the old program, of IPv6": plant(root / "200/.00/.00", NOW - 2 * DAY),
    }


GONE = {"once, a day and a second", "again, a month and a second", "IPv6, once, two days"}


@pytest.mark.parametrize("limit", [1, 2, 99])
def test_expire_goes_by_the_two_ages(tree: TreeStore, root: Path, limit: int) -> None:
    files = aged(root)
    after, sums = None, (0, 0, 0, 0)
    while True:
        page = tree.expire(NOW, limit, after)
        step = (page.stopped, page.delayed, page.waiting, page.passed)
        sums = tuple(map(sum, zip(sums, step, strict=True)))  # type: ignore[assignment]
        after = page.after
        if after is None:
            break
    assert sums == (2, 1, 1, 1)
    assert {name for name, file in files.items() if not file.exists()} == GONE


def test_no_step_of_expire_looks_again_at_what_was_before_it(
    tree: TreeStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        plant(root / f"010/{number % 5:03d}/{number:03d}", NOW)
    looks = []
    times_of = Root.times

    def counted(top: Root, parent: int, name: str) -> Times | None:
        looks.append(name)
        return times_of(top, parent, name)

    monkeypatch.setattr(Root, "times", counted)
    pages = [tree.expire(NOW, 1)]
    while pages[-1].after is not None:
        pages.append(tree.expire(NOW, 1, pages[-1].after))
    assert sum(page.waiting for page in pages) == 100
    assert len(looks) < 100 * 10


def test_clean_removes_what_is_past_and_folders_left_empty(tree: TreeStore, root: Path) -> None:
    files = aged(root)
    told = [fate for _, _, fate in tree.clean(NOW)]
    assert sorted(told) == ["kept", "kept", "old", "once", "once", "once"]
    gone = {*GONE, "by the old program, of IPv6"}
    assert {name for name, file in files.items() if not file.exists()} == gone
    assert sorted(p.name for p in root.iterdir()) == ["001", "002"]


def test_remember_takes_the_earlier_and_the_later(tree: TreeStore, root: Path) -> None:
    plant(root / "192/000/002", NOW - 50, NOW - 10)
    tree.put_times([(key(b"192.0.2.1"), Times(NOW - 90, NOW - 20)), (key(b"::1"), Times(1, 2))])
    assert times(root / "192/000/002") == (NOW - 90, NOW - 10)
    assert times(root / "ipv6/0000/0000/00000000") == (1, 2)


def test_a_folder_that_is_replaced_is_noticed(tree: TreeStore, root: Path) -> None:
    tree.check()
    root.rename(root.with_name("away"))
    with pytest.raises(StoreUnavailable):
        tree.check()
    root.mkdir()
    with pytest.raises(StoreUnavailable, match="another folder"):
        tree.check()


def test_the_url(root: Path) -> None:
    open_store(f"tree://{root}", timeout=1).close()
    for url in ("tree://", "tree://x", "tree:///x\0"):
        with pytest.raises(ValueError, match="absolute path after tree"):
            check_url(url)
    with pytest.raises(StoreUnavailable, match="No such file"):
        open_store(f"tree://{root}/none", timeout=1)


# What is planted at a place of the tree, and what it could lead to.
def link_to_folder(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def link_to_file(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "file")


def link_to_nothing(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "new")


def second_name(place: Path, outside: Path) -> None:
    os.link(outside / "file", place)


def pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def listening(place: Path, outside: Path) -> None:
    bound = socket.socket(socket.AF_UNIX)
    handle = os.open(place.parent, os.O_RDONLY)
    bound.bind(f"/proc/self/fd/{handle}/{place.name}")
    os.close(handle)
    bound.close()


def with_content(place: Path, outside: Path) -> None:
    place.write_text("not empty")


def foreign_folder(place: Path, outside: Path) -> None:
    place.mkdir()
    os.chown(place, 12345, 12345)


def foreign_file(place: Path, outside: Path) -> None:
    place.touch()
    os.chown(place, 12345, 12345)


def open_folder(place: Path, outside: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


PLANTS: list[Callable[[Path, Path], None]] = [
    *(link_to_folder, link_to_file, link_to_nothing, second_name, pipe, listening),
    *(with_content, foreign_folder, foreign_file, open_folder),
]


def snapshot(folder: Path) -> list[tuple[object, ...]]:
    found = [folder, *sorted(folder.rglob("*"))]
    stats = [(path, path.lstat()) for path in found]
    return [(p, s.st_mode, s.st_mtime_ns, s.st_atime_ns, s.st_uid, s.st_size) for p, s in stats]


@pytest.mark.parametrize("place", ["192", "192/000", "192/000/002", "192/000/002/017"])
@pytest.mark.parametrize("plant_it", PLANTS, ids=lambda planted: planted.__name__)
def test_forty_planted_trees_lead_nowhere_t21(
    root: Path, tmp_path: Path, place: str, plant_it: Callable[[Path, Path], None]
) -> None:
    """Nothing outside is made, removed, or given another time; nothing planted is, either."""
    if "foreign" in plant_it.__name__ and os.geteuid():
        pytest.skip("only root can give files away")
    outside = tmp_path / "outside"
    for name in ("000/002", "002"):
        (outside / name).mkdir(parents=True)
    plant(outside / "file", 1, 1)
    plant(outside / "017", 1, 1)
    spot = root / place
    spot.parent.mkdir(parents=True, exist_ok=True)
    plant_it(spot, outside)
    os.utime(outside, (1, 1))
    before, planted = snapshot(outside), spot.lstat()
    store = TreeStore(str(root))
    triplet = key(b"192.0.2.17", 32)
    with pytest.raises(StoreRefused):  # of this key alone (T34)
        store.apply([born(triplet)], {}, NOW)
    with pytest.raises(StoreRefused):
        store.apply([Passed(triplet, NOW)], {}, NOW)
    store.apply([born(key(b"198.51.100.1"))], {}, NOW)
    list(store.search(Filter(), 9))
    store.expire(NOW, 99)
    list(store.clean(NOW))
    store.close()
    assert snapshot(outside) == before
    if spot.is_symlink() or spot.exists():
        now = spot.lstat()
        assert (now.st_ino, now.st_mtime_ns, now.st_size) == (
            *(planted.st_ino, planted.st_mtime_ns, planted.st_size),
        )
    else:
        assert stat.S_ISDIR(planted.st_mode), "only an empty folder may be tidied away"


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Run as a user whose rights are looked at."""
    if os.geteuid():
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest's own, or with --basetemp /tmp
        if str(folder) not in ("/", "/tmp"):
            folder.chmod(0o755)
    tmp_path.chmod(0o777)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize("place", ["192", "192/000"])
@pytest.mark.parametrize("mode", [0, 0o500])
def test_a_folder_without_rights_is_refused_alone_t34(
    own_root: Path, place: str, mode: int
) -> None:
    plant(own_root / place / "x", 1, 1).parent.chmod(mode)
    store = TreeStore(str(own_root))
    with pytest.raises(StoreRefused, match="Permission denied"):
        store.apply([born(key(b"192.0.2.17"))], {}, NOW)
    store.apply([born(key(b"198.51.100.1"))], {}, NOW)
    own_root.chmod(mode)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        store.apply([born(key(b"203.0.113.1"))], {}, NOW)
    own_root.chmod(0o700)
    (own_root / place).chmod(0o700)
    store.close()


def test_a_file_where_the_tree_should_be_is_no_refusal_of_one_key(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        TreeStore(str(root / "file"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for few files."""
    if os.geteuid():
        pytest.skip("only root can mount")
    place = tmp_path / "small"
    place.mkdir()
    options = f"size={FILES // 100}m,nr_inodes={FILES},mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_flood_leaves_room_for_others_t22(small: Path) -> None:
    """New clients are let in then, as the store fails; who is known stays known."""
    reasons = Counter(ask(small, f"{address(n)}.1".encode(), NOW) for n in range(FLOOD))
    assert reasons.keys() == {"new", "store-unavailable"}
    assert FILES // 2 < reasons["new"] < FILES
    assert os.statvfs(small).f_favail >= FILES // 20 - 5
    assert ask(small, b"10.0.0.1", NOW + 200) == "retried"


def address(number: int) -> str:
    """Return the first three numbers of an address of 10.0.0.0/8 and the like."""
    return f"{10 + number // 40_000}.{number // 200 % 200}.{number % 200}"


ADDRESSES = [b"192.0.2.17", b"192.0.2.18", b"192.0.3.1", b"2001:db8::1"]


@given(
    visits=st.lists(
        st.tuples(st.sampled_from(ADDRESSES), st.booleans(), st.integers(0, 300)), max_size=14
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_switching_by_address_never_fails_and_never_lets_in_early(
    visits: list[tuple[bytes, bool, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, at = tmp_path_factory.mktemp("switched"), NOW
    first: dict[bytes, int] = {}
    for address, by_address, later in visits:
        at += later
        reason = ask(root, address, at, by_address=by_address)
        assert reason != "store-unavailable"
        question = precheck_connection(Connection(address), held(Policy(), 120))
        assert isinstance(question, Question)
        since = first.setdefault(question.triplet.network, at)
        if at < since + 120:
            assert reason in ("new", "early")
        elif not by_address:
            assert reason in ("retried", "known")
