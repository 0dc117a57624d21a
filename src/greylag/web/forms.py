"""What a browser sends: the query of a URL, and the fields of a form; all of it bounded."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

_MOST_FIELDS = 200
_LONGEST = 1000  # characters of a field, where nobody asks for more


class WrongForm(ValueError):
    """What was sent is no form of ours."""


class Fields:
    """Names and texts; a name may come several times."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = list(pairs)

    def one(self, name: str, longest: int = _LONGEST) -> str:
        """Return the last text of a name, without blanks around it; "" where there is none."""
        found = [text for key, text in self._pairs if key == name]
        text = found[-1].strip() if found else ""
        if len(text) > longest:
            raise WrongForm(f"{name}: expected at most {longest} characters")
        return text

    def raw(self, name: str, longest: int = _LONGEST) -> str:
        """Return the last text of a name as it was sent."""
        text = next((text for key, text in reversed(self._pairs) if key == name), "")
        if len(text) > longest:
            raise WrongForm(f"{name}: expected at most {longest} characters")
        return text

    def many(self, name: str) -> list[str]:
        """Return all texts of a name."""
        return [text for key, text in self._pairs if key == name]

    def without(self, *names: str) -> str:
        """Return the query that has all other fields, to be followed by one more."""
        kept = [(key, text) for key, text in self._pairs if key not in names and text]
        return urlencode(kept)


def read_fields(raw: bytes) -> Fields:
    """Return the fields of a query or of a form's body. Raises WrongForm."""
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise WrongForm("expected the fields of a form") from error
    return Fields(pairs)
