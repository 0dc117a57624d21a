"""Who may sign in: a file of names, roles and argon2 hashes, for its owner alone.

One user a line, `name:role:hash`. The file is written anew and renamed, so a reader sees the old
one or the new one, and a link planted at its path is replaced and never followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from fcntl import LOCK_EX, flock
from secrets import token_hex

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHash

from greylag.core.value import replace, value
from greylag.store.plain_file import read_plain

MODE = 0o600
SHORTEST, LONGEST = 10, 256  # characters of a password
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_MOST = 1000  # users


class AccountsError(Exception):
    """The file of users cannot be used. The text names it and says why."""


class Overtaken(Exception):
    """Whoever asks was removed or demoted, or his password was changed, since he was looked at."""


class Role(Enum):
    """What a user may do: each may do what those before it may."""

    VIEWER = "viewer"  # looks; parts of addresses are hidden
    OPERATOR = "operator"  # releases, allows for a time, expects, forgets
    ADMIN = "admin"  # keeps the lists, switches, looks after the users

    __hash__ = object.__hash__

    def may(self, needed: Role) -> bool:
        """Tell whether this role includes another."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@value
class Account:
    """A user."""

    name: str
    role: Role
    secret: str  # argon2's hash of the password


class Accounts:
    """The file of users."""

    def __init__(self, path: str, *, dry_run: bool = False) -> None:
        self.path = path
        self._dry_run = dry_run  # nothing is written
        # One value, set at once: threads read it, and each has to see users with their own file.
        self._kept: tuple[tuple[int, ...], dict[str, Account]] = ((), {})

    def all(self) -> dict[str, Account]:
        """Return the users by their names; none where there is no file. Raises AccountsError."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AccountsError(f"{self.path}: {error.strerror}") from None
        seen = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_ctime_ns)
        kept, accounts = self._kept
        if seen != kept:
            accounts = self._read(found)
            self._kept = (seen, accounts)
        return accounts

    def _read(self, found: os.stat_result) -> dict[str, Account]:
        if found.st_mode & 0o077:
            raise AccountsError(f"{self.path}: others may read it (chmod 600 {self.path})")
        try:
            lines = read_plain(self.path).decode("ascii").splitlines()
        except OSError as error:
            raise AccountsError(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AccountsError(f"{self.path}: expected ASCII alone") from None
        accounts: dict[str, Account] = {}
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                account = _account(line)
                if account is None:
                    raise AccountsError(f"{self.path}:{number}: expected name:role:hash")
                accounts[account.name] = account
        return accounts

    def put(self, name: str, secret: str, role: Role | None = None) -> tuple[Account, bool]:
        """Store a user; return him, and whether there was one of this name. Raises AccountsError.

        Without a role he keeps his own; the first is an admin, and others are viewers.
        """
        with self._alone():
            accounts = dict(self.all())
            known = accounts.get(name)
            if known is None and len(accounts) >= _MOST:
                raise AccountsError(f"{self.path}: has {_MOST} users, the most there may be")
            new = Role.VIEWER if accounts else Role.ADMIN
            account = Account(name, role or (known.role if known else new), secret)
            self._write({**accounts, name: account})
        return account, known is not None

    def put_first(self, name: str, secret: str) -> Account:
        """Store an admin where there is no user yet. Raises Overtaken, AccountsError."""
        with self._alone():
            if self.all():
                raise Overtaken
            account = Account(name, Role.ADMIN, secret)
            self._write({name: account})
        return account

    def renew(self, checked: Account, secret: str) -> Account:
        """Give a user another password, if the one that was checked is his still.

        He has the role that the file gives him now. Raises Overtaken, AccountsError.
        """
        with self._alone():
            accounts = dict(self.all())
            there = accounts.get(checked.name)
            if there is None or there.secret != checked.secret:
                raise Overtaken
            account = replace(there, secret=secret)
            self._write({**accounts, checked.name: account})
        return account

    def give_role(self, name: str, role: Role, by: str) -> bool:
        """Give a user another role; tell whether there is one. Raises Overtaken, AccountsError.

        `by`: the admin who does it. He has to be one still, or two who demote each other at once
        would leave none.
        """
        with self._alone():
            accounts = dict(self.all())
            _need_admin(accounts, by)
            if name not in accounts:
                return False
            self._write({**accounts, name: replace(accounts[name], role=role)})
        return True

    def remove(self, name: str, by: str | None = None) -> bool:
        """Delete a user; tell whether there was one. Raises Overtaken, AccountsError.

        `by`: the admin who does it in the dashboard.
        """
        with self._alone():
            accounts = dict(self.all())
            if by is not None:
                _need_admin(accounts, by)
            if accounts.pop(name, None) is None:
                return False
            self._write(accounts)
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers out, and turn what goes wrong into AccountsError."""
        try:
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                flock(folder, LOCK_EX)
                yield
            finally:
                os.close(folder)
        except OSError as error:
            raise AccountsError(f"{error.filename or self.path}: {error.strerror}") from None

    def _write(self, accounts: dict[str, Account]) -> None:
        if self._dry_run:
            return
        text = "".join(f"{a.name}:{a.role.value}:{a.secret}\n" for a in accounts.values())
        made = f"{self.path}.{token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(made, flags, MODE)
        try:
            try:
                os.fchmod(handle, MODE)
                if os.geteuid() == 0:  # the dashboard runs as whoever owns the folder
                    around = os.stat(os.path.dirname(self.path))
                    os.fchown(handle, around.st_uid, around.st_gid)
                left = memoryview(text.encode("ascii"))
                while left:  # a disk that is nearly full takes a part
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            os.rename(made, self.path)
        except BaseException:
            os.unlink(made)
            raise


def _need_admin(accounts: dict[str, Account], name: str) -> None:
    if name not in accounts or accounts[name].role is not Role.ADMIN:
        raise Overtaken


def _account(line: str) -> Account | None:
    name, _colon, rest = line.strip().partition(":")
    role, _colon, secret = rest.partition(":")
    words = {one.value: one for one in Role}
    if not _NAME.fullmatch(name) or role not in words or not secret.startswith("$argon2"):
        return None
    return Account(name, words[role], secret)


def check_name(text: str) -> str:
    """Return the name of a user. Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError("expected a name of at most 64 letters, digits and . _ @ -")
    return text


def check_password(text: str, name: str) -> str:
    """Return a password that may be used. Raises ValueError."""
    if not SHORTEST <= len(text) <= LONGEST:
        raise ValueError(f"expected a password of {SHORTEST} to {LONGEST} characters")
    if not text.isprintable():
        raise ValueError("expected a password of characters that can be seen")
    if text.casefold() == name.casefold() or len(set(text)) < 4:
        raise ValueError("expected a password that is harder to guess")
    return text


class Hasher:
    """Makes and checks argon2 hashes. Each takes some 64 MB, and a tenth of a second."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(time_cost=3, memory_cost=1 << 16, parallelism=1)
        self._nobody = self._argon2.hash(token_hex(16))

    def make(self, password: str) -> str:
        """Return the hash of a password."""
        return self._argon2.hash(password)

    def fits(self, secret: str | None, password: str) -> bool:
        """Tell whether a password is the one. It takes as long where there is no such user."""
        try:
            self._argon2.verify(secret or self._nobody, password)
        except (Argon2Error, InvalidHash):
            return False
        return secret is not None
