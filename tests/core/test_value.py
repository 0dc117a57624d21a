"""Frozen values behave as frozen dataclasses with slots do."""

from __future__ import annotations

import pytest

from greylag.core.record import Record
from greylag.core.subject import Domain, Network
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value


@value
class Pair:
    """Two fields, one with a default."""

    left: int
    right: str = "r"

    def both(self) -> str:
        """Show that methods stay."""
        return f"{self.left}{self.right}"


@value
class Twin:
    """The same fields under another name."""

    left: int
    right: str = "r"


def test_arguments_by_position_and_by_name() -> None:
    assert Pair(1).right == "r"
    assert Pair(1, "x") == Pair(right="x", left=1)
    assert Pair(2).both() == "2r"


@pytest.mark.parametrize("arguments", [{}, {"left": 1, "middle": 2}, {"right": "x"}])
def test_missing_and_unknown_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Pair(**arguments)  # type: ignore[arg-type]


def test_values_are_frozen() -> None:
    pair = Pair(1)
    with pytest.raises(AttributeError, match="Pair is frozen: cannot change left"):
        pair.left = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="Pair is frozen: cannot change right"):
        del pair.right
    with pytest.raises(AttributeError, match="Pair is frozen: cannot change other"):
        pair.other = 2  # type: ignore[attr-defined]
    assert pair == Pair(1)


def test_values_have_slots_and_no_dict() -> None:
    assert Pair.__slots__ == ("left", "right")  # type: ignore[attr-defined]
    assert not hasattr(Pair(1), "__dict__")


def test_equality_is_by_type_and_every_field() -> None:
    assert Pair(1) == Pair(1)
    assert Pair(1) != Pair(2)
    assert Pair(1) != Pair(1, "x")
    others: list[object] = [Twin(1), (1, "r"), Network(b"\0", 8), Domain("x")]
    assert Pair(1) not in others
    assert others[2] != others[3]


def test_equal_values_have_one_hash() -> None:
    assert len({Pair(1), Pair(1), Pair(2), Pair(1, "x")}) == 3
    assert {Triplet(b"", "a", "b"): 1}[Triplet(b"", "a", "b")] == 1


def test_repr_reads_as_python() -> None:
    assert repr(Pair(1)) == "Pair(left=1, right='r')"
    record = Record(1, 2, 3)
    assert eval(repr(record)) == record


def test_values_can_be_matched_by_position() -> None:
    match Pair(1, "x"):
        case Pair(left, right):
            assert (left, right) == (1, "x")


def test_replace_changes_what_is_named_and_copies_the_rest() -> None:
    pair = Pair(1, "x")
    assert replace(pair) == pair
    assert replace(pair, left=2) == Pair(2, "x")
    assert pair.left == 1
    with pytest.raises(TypeError):
        replace(pair, middle=2)


def test_the_class_keeps_its_name_module_and_docstring() -> None:
    assert (Pair.__name__, Pair.__module__) == ("Pair", __name__)
    assert Pair.__doc__ == "Two fields, one with a default."
    assert Pair.__annotations__ == {"left": "int", "right": "str"}
