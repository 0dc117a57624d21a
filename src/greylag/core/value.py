"""Frozen value types with slots: what `dataclass(frozen=True, slots=True)` gives, for less time.

Importing `dataclasses` (it pulls in `inspect`, `ast` and `tokenize`) costs a process that lives
for one recipient more than an empty Python does: measured 27 ms against 14 ms for a process
that only imports sqlite3. Type checkers see ordinary frozen dataclasses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_options):
        """Stand in for typing's marker, which only type checkers read."""
        return lambda decorator: decorator


def _refuse(self: object, name: str, _value: object = None) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: cannot change {name}")


def _eq(self: Any, other: Any) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)


def _hash(self: Any) -> int:
    return hash(tuple(getattr(self, name) for name in self.__slots__))


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({fields})"


def _new(names: tuple[str, ...], defaults: dict[str, object], opened: type) -> Any:
    """Compile a `__new__`: generic code over *args would cost each attempt microseconds.

    The fields are set while the object is of the open class. Then the frozen class takes its place.
    `object.__setattr__` for each field would cost more than twice as much.
    """
    parameters = ", ".join(f"{n}=_defaults[{n!r}]" if n in defaults else n for n in names)
    fields = "".join(f"\n    self.{name} = {name}" for name in names)
    body = f"\n    self = _new(_open){fields}\n    self.__class__ = cls\n    return self"
    scope: dict[str, Any] = {"_new": object.__new__, "_open": opened, "_defaults": defaults}
    exec(f"def __new__(cls, {parameters}):{body}", scope)  # noqa: S102 - our own field names
    return scope["__new__"]


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make of an annotated class a frozen value: slots, equality, hash, repr, keyword arguments."""
    names = tuple(cls.__annotations__)
    body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    opened = type(cls.__name__, cls.__bases__, {"__slots__": names})

    def first(kind: type[T], *given: Any, **named: Any) -> T:
        """Make the first one: most processes need only half of the classes, so compile it here."""
        new = _new(names, defaults, opened)
        made.__new__ = staticmethod(new)
        item: T = new(kind, *given, **named)
        return item

    body |= {
        "__slots__": (),
        "__match_args__": names,
        "__new__": first,
        "__eq__": body.get("__eq__", _eq),
        "__hash__": body.get("__hash__") or _hash,
        "__repr__": body.get("__repr__", _repr),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
    }
    made: Any = type(cls.__name__, (opened,), body)
    made.__slots__ = names  # those of the open class, for whoever asks
    frozen: type[T] = made
    return frozen


def replace(item: T, **changes: Any) -> T:
    """Copy a value, or a named tuple, with some fields changed; an unknown one is a TypeError."""
    names = type(item).__match_args__  # type: ignore[attr-defined]
    fields = {name: getattr(item, name) for name in names}
    return type(item)(**(fields | changes))
