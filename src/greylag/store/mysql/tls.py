"""TLS to a MySQL server, as the option files of its own clients ask for it.

MySQL's `ssl-mode` says it in one word; MariaDB's `ssl` and `ssl-verify-server-cert` in two. What is
asked for holds: a server that does not offer it is refused before the password is sent. Without a
word TLS is used where the server offers it. On the unix socket there is none, whatever is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.value import value
from greylag.store.base import StoreError
from greylag.store.plain_file import read_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

DISABLED, PREFERRED, REQUIRED = "DISABLED", "PREFERRED", "REQUIRED"
CHAIN, NAME = "VERIFY_CA", "VERIFY_IDENTITY"  # the certificate's issuer; and its name, too
MODES = (DISABLED, PREFERRED, REQUIRED, CHAIN, NAME)
_MOST_OF_A_KEY = 65536  # bytes of a PEM file
_YES, _NO = ("", "1", "on", "true"), ("0", "off", "false")


@value
class Tls:
    """How a connection is kept from others, and which PEM files prove who is who."""

    mode: str = PREFERRED
    ca: str = ""  # empty: the system's own authorities
    cert: str = ""
    key: str = ""
    server_key: str = ""  # a file with the server's public key: for sha2 passwords without TLS
    believe_key: bool = False  # take the one that the server sends

    @property
    def verifies(self) -> bool:
        """Tell whether the server has to prove who it is."""
        return self.mode in (CHAIN, NAME)


def read_tls(found: Mapping[str, str]) -> Tls:
    """Return what the options of a [client] section say. Raises ValueError."""
    ca, cert, key = (found.get(f"ssl-{name}", "") for name in ("ca", "cert", "key"))
    if key and not cert:
        raise ValueError("ssl-key: expected ssl-cert beside it")
    server_key = found.get("server-public-key-path", "")
    believe = bool(_said(found, "get-server-public-key"))
    return Tls(_mode(found, ca, cert), ca, cert, key, server_key, believe)


def _mode(found: Mapping[str, str], ca: str, cert: str) -> str:
    mode = found.get("ssl-mode", "").upper()
    if mode and mode not in MODES:
        raise ValueError(f"ssl-mode: expected one of {', '.join(MODES)}, got {mode[:40]!r}")
    if mode:
        return mode
    if _said(found, "skip-ssl") or _said(found, "disable-ssl") or _said(found, "ssl") is False:
        return DISABLED
    if _said(found, "ssl-verify-server-cert"):
        return NAME
    if ca:
        return CHAIN
    return REQUIRED if cert or _said(found, "ssl") else PREFERRED


def _said(found: Mapping[str, str], option: str) -> bool | None:
    """Return what an option that is on or off says; None if it is not there."""
    word = found.get(option)
    if word is None:
        return None
    if word.lower() not in (*_YES, *_NO):
        raise ValueError(f"{option}: expected 1 or 0, got {word[:40]!r}")
    return word.lower() in _YES


def arguments(tls: Tls) -> dict[str, Any]:
    """Return the driver's arguments for it. Raises StoreError with the name of a file."""
    given: dict[str, Any] = {}
    if tls.mode == DISABLED:
        given["ssl_disabled"] = True
    elif tls.mode != PREFERRED:
        given["ssl"] = _context(tls)
    if tls.server_key:
        try:
            given["server_public_key"] = read_plain(tls.server_key)[:_MOST_OF_A_KEY]
        except OSError as error:
            raise StoreError(f"{tls.server_key}: {error.strerror}") from error
    return given


def _context(tls: Tls) -> SSLContext:
    import ssl

    path = ""
    try:
        for path in filter(None, (tls.cert, tls.key, tls.ca)):
            read_plain(path)  # what the ssl module says of a file has no name in it
        context = ssl.create_default_context(cafile=tls.ca or None)
        # Python 3.13 refuses authorities that do not say what their key is for, as the handbooks
        # of MySQL and MariaDB make them. Their clients take these; the chain is verified all the
        # same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = tls.mode == NAME
        context.verify_mode = ssl.CERT_REQUIRED if tls.mode in (CHAIN, NAME) else ssl.CERT_NONE
        if tls.cert:
            path = tls.cert
            context.load_cert_chain(tls.cert, tls.key or None, password=_no_password)
    except OSError as error:  # those of the ssl module are of this kind, too
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return context


def _no_password() -> str:
    """A key that is encrypted is an error: nobody is there to type a password."""
    return ""
