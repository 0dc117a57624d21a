"""One request: who asks, for what, with which fields; and what all requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_urlsafe

from greylag.app.config import Settings
from greylag.web.accounts import Account, Accounts, Hasher, Role
from greylag.web.drawing import Drawing
from greylag.web.forms import Fields
from greylag.web.journal import Journal
from greylag.web.kept import Kept
from greylag.web.places import Place
from greylag.web.sessions import Sessions
from greylag.web.sight import Sight
from greylag.web.stores import Stores
from greylag.web.throttle import Throttle

SETUP_LASTS = 900  # seconds


@dataclass
class SetUp:
    """The one-time link that makes the first user, as it was printed to a terminal."""

    until: int
    word: str = field(default_factory=lambda: token_urlsafe(24))


@dataclass
class Web:
    """What all requests share."""

    settings: Settings
    place: Place
    accounts: Accounts
    stores: Stores
    journal: Journal
    drawing: Drawing
    hosts: frozenset[str]
    proxies: frozenset[str]
    read_only: bool = False
    setup: SetUp | None = None
    sessions: Sessions = field(default_factory=Sessions)
    throttle: Throttle = field(default_factory=Throttle)
    hasher: Hasher = field(default_factory=Hasher)
    kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        """Keep what is counted in the store."""
        self.kept = Kept(self.stores)


@dataclass
class Visit:
    """One request."""

    web: Web
    method: str
    path: str
    query: Fields
    form: Fields
    host: str  # by which name or address the dashboard was reached, with its port
    source: str  # address of who asks
    secure: bool  # it came by https
    word: str  # what the browser's cookie says
    account: Account | None  # who is signed in
    now: int
    owner: str = ""  # of a mailbox, whose link this is: as the audit names him
    parts: dict[str, str] = field(default_factory=dict)  # of the path, that its route names

    @property
    def role(self) -> Role | None:
        """Return the role of who is signed in."""
        return self.account.role if self.account else None

    @property
    def user(self) -> str:
        """Return the name of who is signed in."""
        return self.account.name if self.account else ""

    @property
    def sight(self) -> Sight:
        """Return what shows addresses as whoever asks may see them."""
        return Sight(self.role, self.web.settings.policy)

    def whole(self, path: str) -> str:
        """Return the URL of a path, as whoever asks reaches it."""
        return f"{'https' if self.secure else 'http'}://{self.host}{path}"

    def may_as(self, role: str) -> bool:
        """Tell the same of a role's word, as templates have it."""
        return self.may(Role(role))

    def may(self, role: Role) -> bool:
        """Tell whether whoever asks may change what this role may change."""
        allowed = self.account is not None and self.account.role.may(role)
        return allowed and not self.web.read_only
