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
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass", "field"]


class _Fields:
    """``__dataclass_fields__`` and ``__dataclass_params__`` of a class, until somebody asks for one."""

    def __init__(self, recipe: _Recipe, name: str) -> None:
        self._recipe, self._name = recipe, name

    def __get__(self, instance: object, owner: type) -> Any:
        self._recipe.make_init()
        return getattr(self._recipe.made, self._name)


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
        made.__dataclass_fields__ = _Fields(self, "__dataclass_fields__")
        made.__dataclass_params__ = _Fields(self, "__dataclass_params__")
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
        copy = type(self.made)(self._name, self._bases, dict(self._body))
        copy.__qualname__ = self.made.__qualname__
        return dataclasses.dataclass(frozen=self._frozen, match_args=False, kw_only=self._kw_only, **wanted)(
            copy
        )

    def make_init(self) -> None:
        """Make what makes instances, and the fields' table."""
        copy = self._copy(init=True, repr=False, eq=False)
        made: Any = self.made
        made.__dataclass_params__ = copy.__dataclass_params__
        made.__dataclass_fields__ = copy.__dataclass_fields__
        self._put("__init__", copy.__init__)

    def make_compared(self) -> None:
        """Make what compares instances and shows them."""
        copy = self._copy(init=False, repr=True, eq=self._eq)
        self._put("__repr__", copy.__repr__)
        if self._eq:
            self._put("__eq__", copy.__eq__)
            self._put("__hash__", copy.__hash__)


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
