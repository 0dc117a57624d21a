"""The registry of backends: what is known of a store before one is opened."""

from __future__ import annotations

import subprocess
import sys

import pytest

from greylag.store import (
    BACKENDS,
    backend_of,
    check_url,
    expected,
    kind_of_scheme,
    kinds,
    without_password,
)
from greylag.store.base import TABLES, StoreError

URLS = {
    "sqlite": "sqlite:///var/lib/x.db",
    "mysql": "mysql://grey:geheim@db/mail",
    "tree": "tree:///var/lib/jgreylist",
    "memory": "memory:",
}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_is_not_used_is_not_imported(name: str) -> None:
    code = f"""
import sys, greylag.store
greylag.store.check_url({kind_of_scheme(name).example!r})
print(*(m for m in sys.modules if m in {set(BACKENDS.values())!r}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [BACKENDS[name]]


def test_each_example_is_a_url_of_its_backend() -> None:
    for name, kind in zip(BACKENDS, kinds(), strict=True):
        assert kind.example in expected()
        assert check_url(kind.example) == kind.example
        assert type(backend_of(kind.example)) is kind
        assert kind.example.startswith(f"{name}:")


@pytest.mark.parametrize("url", ["", "sqlite", "/var/lib/x.db", "postgres://x", "memory:x", ":"])
def test_what_names_no_store_is_told_what_does(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected sqlite:///.* or .*:"):
        check_url(url)


@pytest.mark.parametrize("url", ["sqlite:x", "sqlite://", "sqlite:///", "sqlite:///x\0"])
def test_a_path_has_to_be_absolute(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected an? .*path"):
        check_url(url)


def test_no_password_is_shown_t43() -> None:
    assert [without_password(url) for url in URLS.values()] == [
        *("sqlite:///var/lib/x.db", "mysql://grey:***@db/mail"),
        *("tree:///var/lib/jgreylist", "memory:"),
    ]


def test_an_option_file_is_taken_from_a_folder() -> None:
    assert (
        backend_of("mysql:?default_file=a/my.cnf").below("/q") == "mysql:?default_file=/q/a/my.cnf"
    )
    assert backend_of("mysql:?default_file=/my.cnf").below("/q") == "mysql:?default_file=/my.cnf"
    assert backend_of("mysql:?default_file=my.cnf").below(".") == "mysql:?default_file=my.cnf"
    for url in URLS.values():
        assert backend_of(url).below("/q") == url


def test_who_has_no_tables_says_so() -> None:
    for name in ("tree", "memory"):
        backend = backend_of(URLS[name])
        with pytest.raises(StoreError, match=f"{URLS[name]}: .*no database with tables"):
            backend.admin(timeout=1)
    for name in ("sqlite", "mysql"):
        assert TABLES not in backend_of(URLS[name]).lacks
