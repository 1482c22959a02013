"""``dataclass`` as the standard library has it, made when it is first used: a program starts in half the time.

The standard decorator writes and compiles four methods for each class while its module is imported, a thousandth of a
second a class; to open a call imports some eighty classes, of which half are ever made. This one compiles what makes
an instance with the first instance, and what compares and shows it when that is asked for. What comes of it is the
standard library's own: ``fields``, ``replace`` and ``asdict`` take it, and type checkers see nothing else.

>>> @dataclass(frozen=True, slots=True)
... class Point:
...     x: int
...     y: int = 0
>>> Point(1), Point(1) == Point(1, 0), dataclasses.replace(Point(1), y=2)
(Point(x=1, y=0), True, Point(x=1, y=2))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass", "field"]


class _Asked:
    """An attribute of a class that is made when somebody asks for it."""

    def __init__(self, of: type, name: str, make: Callable[[], None]) -> None:
        self._of, self._name, self._make = of, name, make

    def __get__(self, instance: object, owner: type) -> Any:
        self._make()
        return getattr(self._of, self._name)


class _Recipe:
    """A class as it was written, and what has been made of it so far."""

    def __init__(self, written: type, frozen: bool, slots: bool, eq: bool, kw_only: bool) -> None:
        self._name, self._bases, self._body = written.__name__, written.__bases__, dict(written.__dict__)
        self._frozen, self._eq, self._kw_only = frozen, eq, kw_only
        for name in ("__dict__", "__weakref__"):
            self._body.pop(name, None)
        self._names = tuple(
            name for name, kind in written.__annotations__.items() if "ClassVar" not in str(kind)
        )
        body = {name: value for name, value in self._body.items() if not _is_field(value)}
        if slots:
            body = {name: value for name, value in body.items() if name not in self._names}
            body["__slots__"] = self._names
        self.made: Final[type] = type(written)(self._name, self._bases, body)
        self.made.__qualname__ = written.__qualname__

    def stand_in(self) -> None:
        """Give the class methods that make the real ones and call those."""
        made: Any = self.made
        if not self._kw_only:
            setattr(made, "__match_args__", (*getattr(made, "__match_args__", ()), *self._names))  # noqa: B010
        made.__dataclass_fields__ = _Asked(made, "__dataclass_fields__", self.make_init)
        made.__dataclass_params__ = _Asked(made, "__dataclass_params__", self.make_params)
        self._put("__init__", _calling(made, "__init__", self.make_init))
        self._put("__repr__", _calling(made, "__repr__", self.make_compared))
        if self._eq:
            self._put("__eq__", _calling(made, "__eq__", self.make_compared))
            # As there: what compares by value and can change has no hash.
            self._put("__hash__", _calling(made, "__hash__", self.make_compared) if self._frozen else None)
        if self._frozen:
            self._put("__setattr__", _refuse_to_assign)
            self._put("__delattr__", _refuse_to_delete)
            self._put("__getstate__", _state)
            self._put("__setstate__", _set_state)

    def _put(self, name: str, method: Any) -> None:
        if name not in self._body or (name == "__hash__" and self._body[name] is None):
            setattr(self.made, name, method)

    def _copy(self, **wanted: bool) -> Any:
        """The class as it was written once more, with what is wanted: the decorator eats what it finds in a body."""
        # Without a text of its own the decorator would write one from a signature, which costs more than all the rest.
        copy = type(self.made)(
            self._name, self._bases, self._body | {"__doc__": self._body.get("__doc__") or "-"}
        )
        copy.__qualname__ = self.made.__qualname__
        return dataclasses.dataclass(match_args=False, kw_only=self._kw_only, **wanted)(copy)

    def make_init(self) -> None:
        """Make what makes instances, and the fields' table."""
        made: Any = self.made
        if any(map(dataclasses.is_dataclass, self._bases)):
            copy = self._copy(init=True, repr=False, eq=False, frozen=self._frozen)
            made.__dataclass_params__ = copy.__dataclass_params__
            made.__dataclass_fields__ = copy.__dataclass_fields__
            self._put("__init__", copy.__init__)
            return
        # The decorator would make two methods that refuse for each class that is frozen.
        made.__dataclass_fields__ = self._copy(init=False, repr=False, eq=False).__dataclass_fields__
        self._put("__init__", _init(made, dataclasses.fields(made), self._frozen))

    def make_params(self) -> None:
        """Make ``__dataclass_params__``, which classes that inherit are made by."""
        copy = self._copy(init=False, repr=False, eq=self._eq, frozen=self._frozen)
        self.made.__dataclass_params__ = copy.__dataclass_params__  # type: ignore[attr-defined]

    def make_compared(self) -> None:
        """Make what compares instances and shows them."""
        copy = self._copy(init=False, repr=True, eq=self._eq, frozen=self._frozen)
        self._put("__repr__", copy.__repr__)
        if self._eq:
            self._put("__eq__", copy.__eq__)
            self._put("__hash__", copy.__hash__)


def _init(made: type, fields: tuple[dataclasses.Field[Any], ...], frozen: bool) -> Any:
    """``__init__`` of a class without bases that have fields, as the standard library writes it."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_absent": object()}
    plain: list[str] = []
    named: list[str] = []
    lines: list[str] = []
    for each in fields:
        name, value = each.name, each.name
        default = ""
        if each.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = each.default
            default = value = f"_default_{name}"
        elif each.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = each.default_factory
            default, value = "_absent", f"_make_{name}()"
        elif not each.init:
            continue
        if each.init:
            (named if each.kw_only else plain).append(f"{name}={default}" if default else name)
            value = f"{value} if {name} is _absent else {name}" if default == "_absent" else name
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        lines.append("self.__post_init__()")
    parameters = ", ".join(["self", *plain, *(["*", *named] if named else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(lines or ["pass"]), known)
    known["__init__"].__qualname__ = f"{made.__qualname__}.__init__"
    return known["__init__"]


def _is_field(value: object) -> bool:
    return isinstance(value, dataclasses.Field)


def _calling(of: type, name: str, make: Any) -> Any:
    def method(self: Any, *values: Any, **named: Any) -> Any:
        make()
        return getattr(of, name)(self, *values, **named)

    method.__name__ = name
    return method


def _refuse_to_assign(self: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(written=None, /, *, frozen=False, slots=False, eq=True, kw_only=False):
        """What ``dataclasses.dataclass`` gives for these of its options, made when it is used."""

        def decorate(written):
            recipe = _Recipe(written, frozen, slots, eq, kw_only)
            recipe.stand_in()
            return recipe.made

        return decorate if written is None else decorate(written)
