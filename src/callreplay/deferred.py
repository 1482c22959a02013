"""``dataclass`` as the standard library has it, made when it is first used: a program starts in half the time.

The standard decorator writes and compiles four methods for each class while its module is imported, a thousandth of a
second a class; to open a call imports some eighty classes. This one compiles nothing: ``callreplay.instances`` makes
and compares instances. What shows them, and all that inherits fields, is made by the standard library when it is asked
for. What comes of it is the standard library's own: ``fields``, ``replace`` and ``asdict`` take it, and type checkers
see nothing else.

>>> @dataclass(frozen=True, slots=True)
... class Point:
...     x: int
...     y: int = 0
>>> Point(1), Point(1) == Point(1, 0), dataclasses.replace(Point(1), y=2)
(Point(x=1, y=0), True, Point(x=1, y=2))
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from callreplay.instances import eq_of, hash_of, init_of

__all__ = ["dataclass", "field", "pattern"]


class _Pattern:
    """A regular expression that is compiled when one of its methods is first asked for, and hands on those."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found


class _Asked:
    """An attribute of a class that is made when somebody asks for it."""

    def __init__(self, recipe: _Recipe, name: str, make: Callable[[], None]) -> None:
        self._recipe, self._name, self._make = recipe, name, make

    def __get__(self, instance: object, owner: type) -> Any:
        self._make()
        return getattr(self._recipe.made, self._name)


class _Signature:
    """``__signature__`` of a class, for whoever shows how an instance is made; a class below it has its own."""

    def __init__(self, recipe: _Recipe) -> None:
        self._recipe = recipe

    def __get__(self, instance: object, owner: type) -> Any:
        if owner is not self._recipe.made:
            raise AttributeError("__signature__")
        return self._recipe.signature()


_RECIPES: Final[dict[type, _Recipe]] = {}
"""By the class that was made of it, for those below."""
_REQUIRED, _DEFAULT, _FACTORY, _UNGIVEN = range(4)
_Absent: Final = dataclasses.MISSING


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
        given = {name: self._body[name] for name in self._names if name in self._body}
        self._known, self._fields = _fields_of(
            written.__mro__[:0:-1], {name: (given.get(name, _Absent), kw_only) for name in self._names}
        )
        body = {name: value for name, value in self._body.items() if name not in given}
        if slots:
            body["__slots__"] = self._names
        else:
            body |= {name: value for name, value in given.items() if not _is_field(value)}
        body["__qualname__"] = written.__qualname__
        self._stand_in(body)
        self.made: Final[type] = type(written)(self._name, self._bases, body)
        _RECIPES[self.made] = self

    def _stand_in(self, body: dict[str, Any]) -> None:
        """Put in what makes and compares instances, or what will make that when it is first called."""
        body["__dataclass_fields__"] = _Asked(self, "__dataclass_fields__", self.make_fields)
        body["__dataclass_params__"] = _Asked(self, "__dataclass_params__", self.make_params)
        body["__signature__"] = _Signature(self)
        methods: dict[str, Any] = {
            "__init__": self._init() if self._known else _calling(self, "__init__", self.make_init),
            "__repr__": _calling(self, "__repr__", self.make_compared),
        }
        if self._known:
            body.setdefault("__match_args__", self._matched)
        elif not self._kw_only:
            before: tuple[str, ...] = ()
            for base in self._bases:
                before = before or getattr(base, "__match_args__", ())
            body.setdefault("__match_args__", tuple(dict.fromkeys((*before, *self._names))))
        if self._eq:
            plain, names = self._known and self._alike, tuple(self._fields)
            methods["__eq__"] = eq_of(names) if plain else _calling(self, "__eq__", self.make_compared)
            hashed = hash_of(names) if plain else _calling(self, "__hash__", self.make_compared)
            # As there: what compares by value and can change has no hash.
            methods["__hash__"] = hashed if self._frozen else None
        if self._frozen:
            methods |= _FROZEN
            if self._known:
                methods |= _pickled(self)
        for name, method in methods.items():
            if name not in self._body or (name == "__hash__" and self._body[name] is None):
                body[name] = method

    def _init(self) -> Any:
        """``__init__`` of a class whose fields are all known here."""
        names, ways, places, values = [], [], [], []
        place = 0
        self._alike = True  # no field has a say of its own in how instances compare
        for name, (given, kw_only) in self._fields.items():
            value, way, positional = given, _DEFAULT, not kw_only
            if given is _Absent:
                way = _REQUIRED
            elif _is_field(given):
                self._alike = self._alike and given.compare and given.hash is None
                value = given.default if given.default_factory is _Absent else given.default_factory
                way = _FACTORY if given.default_factory is not _Absent else _DEFAULT
                if value is _Absent:
                    way = _REQUIRED
                if not given.init:
                    if way == _REQUIRED:
                        continue
                    way, positional = way + _UNGIVEN - _DEFAULT, False
                elif given.kw_only is not _Absent:
                    positional = not given.kw_only
            names.append(name)
            ways.append(way)
            places.append(place if positional else -1)
            values.append(value)
            place += positional
        self._matched = tuple([name for name, at in zip(names, places, strict=True) if at >= 0])
        after = "__post_init__" in self._body or any(hasattr(base, "__post_init__") for base in self._bases)
        return init_of(
            tuple(names), tuple(ways), tuple(places), tuple(values), self._frozen, after, self._refuse
        )

    def _refuse(self, made: Any, *values: Any, **named: Any) -> None:
        """Raise what arguments that do not fit raise."""
        _init(self.made, dataclasses.fields(self.made), self._frozen)(made, *values, **named)

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
        """Make what makes instances of a class that inherits fields, and the fields' table."""
        made: Any = self.made
        copy = self._copy(init=True, repr=False, eq=False, frozen=self._frozen)
        made.__dataclass_params__ = copy.__dataclass_params__
        made.__dataclass_fields__ = copy.__dataclass_fields__
        self._put("__init__", copy.__init__)

    def make_fields(self) -> None:
        """Make the fields' table."""
        # What refuses to assign would be compiled once more; below a frozen class there is no other way.
        inherits = any(
            "__dataclass_fields__" in above.__dict__ for base in self._bases for above in base.__mro__
        )
        copy = self._copy(init=False, repr=False, eq=False, frozen=self._frozen and inherits)
        self.made.__dataclass_fields__ = copy.__dataclass_fields__  # type: ignore[attr-defined]

    def make_params(self) -> None:
        """Make ``__dataclass_params__``, which classes that inherit are made by."""
        copy = self._copy(init=False, repr=False, eq=self._eq, frozen=self._frozen)
        self.made.__dataclass_params__ = copy.__dataclass_params__  # type: ignore[attr-defined]

    def signature(self) -> Any:
        """How an instance is made, for ``inspect``."""
        import inspect

        return inspect.signature(self._copy(init=True, repr=False, eq=False, frozen=self._frozen))

    def make_compared(self) -> None:
        """Make what compares instances and shows them."""
        copy = self._copy(init=False, repr=True, eq=self._eq, frozen=self._frozen)
        self._put("__repr__", copy.__repr__)
        if self._eq:
            self._put("__eq__", copy.__eq__)
            self._put("__hash__", copy.__hash__)


def _fields_of(
    above: Sequence[type], own: dict[str, tuple[Any, bool]]
) -> tuple[bool, dict[str, tuple[Any, bool]]]:
    """All fields of a class, by name: what its body says of it, and whether it is given by name alone.

    The classes ``above`` begin with ``object``. False with it where the standard library has to tell: of classes that
    it made itself, and of a field that is declared twice.
    """
    if len(above) == 1:
        return True, own
    fields: dict[str, tuple[Any, bool]] = {}
    for each in above:
        if each in _RECIPES:
            fields |= _RECIPES[each]._fields
        elif "__dataclass_fields__" in each.__dict__:
            return False, own
    return not fields.keys() & own.keys(), fields | own


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


def _calling(of: _Recipe, name: str, make: Any) -> Any:
    def method(self: Any, *values: Any, **named: Any) -> Any:
        make()
        return getattr(of.made, name)(self, *values, **named)

    method.__name__ = name
    return method


def _refuse_to_assign(self: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _pickled(of: _Recipe) -> dict[str, Any]:
    """``_state`` and ``_set_state`` of a class whose fields are known here: its table of fields need not be made."""
    names = tuple(of._fields)

    def state(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names] if type(self) is of.made else _state(self)

    def set_state(self: Any, state: list[Any]) -> None:
        if type(self) is not of.made:
            _set_state(self, state)
            return
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return {"__getstate__": state, "__setstate__": set_state}


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


_FROZEN: Final = {
    "__setattr__": _refuse_to_assign,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _set_state,
}

if TYPE_CHECKING:
    from dataclasses import dataclass
    from re import compile as pattern
else:

    def pattern(text, flags=0):
        """``re.compile`` when it is used: to compile one takes as long as a hundred searches."""
        return _Pattern(text, int(flags))

    def dataclass(written=None, /, *, frozen=False, slots=False, eq=True, kw_only=False):
        """What ``dataclasses.dataclass`` gives for these of its options, made when it is used."""

        def decorate(written):
            return _Recipe(written, frozen, slots, eq, kw_only).made

        return decorate if written is None else decorate(written)
