"""Dataclasses made when they are used are what the standard library makes of the same classes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Any, ClassVar

import pytest

from callreplay import deferred

OPTIONS: list[dict[str, bool]] = [
    {"frozen": frozen, "slots": slots, "eq": eq, "kw_only": kw_only}
    for frozen in (False, True)
    for slots in (False, True)
    for eq in (False, True)
    for kw_only in (False, True)
]


def _classes(decorate: Callable[..., Any], options: dict[str, bool]) -> tuple[Any, Any]:
    @decorate(**options)
    class Base:
        kind: ClassVar[str] = "base"
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list)
        hidden: float = field(default=0.5, repr=False, compare=False)

        def total(self) -> int:
            return self.a + len(self.c)

    @decorate(**options)
    class Derived(Base):
        d: int = 4

        def __post_init__(self) -> None:
            if self.d < 0:
                raise ValueError("d")

    return Base, Derived


def _error(work: Callable[[], object]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as told:  # noqa: PT011  # the same as the other's, whichever that is
        work()
    return told.type, str(told.value)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_what_the_standard_library_makes(options: dict[str, bool]) -> None:
    ours, theirs = _classes(deferred.dataclass, options), _classes(dataclasses.dataclass, options)
    for our, their in zip(ours, theirs, strict=True):
        one, two = our(a=1, c=[2]), their(a=1, c=[2])
        assert (one.total(), our.kind) == (two.total(), "base")
        assert dataclasses.asdict(one) == dataclasses.asdict(two)
        assert dataclasses.astuple(dataclasses.replace(one, b="x")) == dataclasses.astuple(
            dataclasses.replace(two, b="x")
        )
        assert [each.name for each in dataclasses.fields(our)] == [
            each.name for each in dataclasses.fields(their)
        ]
        assert all(map(dataclasses.is_dataclass, [our]))  # a plain assertion would narrow its type
        assert our(a=1, hidden=1.0).__eq__(our(a=1)) == their(a=1, hidden=1.0).__eq__(their(a=1))
        assert (our(a=1) == our(a=2), our(a=1) == two) == (False, False)
        assert (our.__hash__ is None) == (their.__hash__ is None)
        assert hasattr(one, "__dict__") == hasattr(two, "__dict__")
        assert copy.copy(one).total() == 2
        assert inspect.signature(our) == inspect.signature(their)
        assert getattr(our, "__match_args__", ()) == getattr(their, "__match_args__", ())
        assert _error(partial(our)) == _error(partial(their))
        assert _error(partial(our, a=1, e=1)) == _error(partial(their, a=1, e=1))
        assert _error(partial(our, *range(9))) == _error(partial(their, *range(9)))
        assert _error(partial(our, 1, a=1)) == _error(partial(their, 1, a=1))
        if options["frozen"]:
            assert _error(partial(setattr, one, "a", 2)) == _error(partial(setattr, two, "a", 2))
            assert _error(partial(delattr, one, "a")) == _error(partial(delattr, two, "a"))
        else:
            one.a = two.a = 5
            assert one.total() == two.total() == 6
        if options["eq"]:
            assert repr(one) == repr(two)
    with pytest.raises(ValueError, match="d"):
        ours[1](a=1, d=-1)


@pytest.mark.parametrize("first", [repr, hash, lambda one: one == copy.copy(one), dataclasses.fields])
def test_any_use_may_be_the_first(first: Callable[[Any], object]) -> None:
    base, derived = _classes(deferred.dataclass, {"frozen": True, "slots": True})
    if first is hash:
        assert hash(base(1, c=())) == hash(base(1, c=()))
    else:
        assert first(derived(1)) == first(derived(1))
    if first is dataclasses.fields:
        assert len(dataclasses.fields(base)) == 4


def _families(decorate: Callable[..., Any], options: dict[str, bool]) -> list[Any]:
    """Classes below others: three one below the other, beside a plain one, of two, and one that says a field again."""

    @decorate(**options)
    class First:
        a: int
        b: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.b.append(self.a)

    class Between(First):
        pass

    @decorate(**options)
    class Second(Between):
        c: int = 3
        d: int = field(default=4, kw_only=True)

    @decorate(**options)
    class Third(Second):
        e: tuple[int, ...] = ()
        f: int = field(default=6, init=False)

    @decorate(**options)
    class Other:
        g: int = 7

    @decorate(**options)
    class Again(First):
        a: int = 9
        b: list[int] = field(default_factory=lambda: [0])

    if options["slots"]:  # of two classes with slots there is no class below both
        return [Third, Again]

    @decorate(**options)
    class Both(Other, First):
        h: int = 8

    return [Third, Again, Both]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_classes_below_others_are_what_the_standard_library_makes(options: dict[str, bool]) -> None:
    for our, their in zip(
        _families(deferred.dataclass, options), _families(dataclasses.dataclass, options), strict=True
    ):
        one, two = our(a=1), their(a=1)
        names = [each.name for each in dataclasses.fields(their)]
        assert [getattr(one, name) for name in names] == [getattr(two, name) for name in names]
        assert (our(a=1) == our(a=1), our(a=1) == our(a=2)) == (their(a=1) == their(a=1), False)
        assert [each.name for each in dataclasses.fields(our)] == names
        assert inspect.signature(our) == inspect.signature(their)
        assert getattr(our, "__match_args__", ()) == getattr(their, "__match_args__", ())
        assert (our.__hash__ is None) == (their.__hash__ is None)
        assert _error(partial(our, a=1, z=1)) == _error(partial(their, a=1, z=1))
        assert _error(partial(our, *range(9))) == _error(partial(their, *range(9)))
        assert dataclasses.asdict(copy.copy(one)) == dataclasses.asdict(copy.copy(two))
        if options["eq"]:
            assert repr(one) == repr(two)
        assert dataclasses.replace(one, a=5).a == 5


def test_below_a_class_of_the_standard_library() -> None:
    @dataclasses.dataclass(frozen=True)
    class Theirs:
        a: int = 1

    @deferred.dataclass(frozen=True)
    class Ours(Theirs):
        b: int = 2

    assert (Ours(), Ours(3) == Ours(3, 2), hash(Ours()) == hash(Ours(1))) == (Ours(1, 2), True, True)
    assert str(inspect.signature(Ours)) == "(a: 'int' = 1, b: 'int' = 2) -> None"


@deferred.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: list[int] = field(default_factory=list)


def test_a_class_below_has_its_own_signature() -> None:
    class Named(Point):
        __slots__ = ()

        def __init__(self, name: str) -> None:
            super().__init__(len(name))

    assert str(inspect.signature(Named)) == "(name: 'str') -> 'None'"
    assert Named("four").x == 4


def test_fields_that_nobody_gives_are_made() -> None:
    def classes(decorate: Callable[..., Any]) -> Any:
        @decorate(slots=True)
        class Counter:
            name: str
            seen: list[int] = field(default_factory=list, init=False)
            step: int = field(default=2, init=False)
            unset: int = field(init=False)
            last: int = field(default=0, kw_only=True)

            def __post_init__(self) -> None:
                self.seen.append(self.step + self.last)

        return Counter

    ours, theirs = classes(deferred.dataclass), classes(dataclasses.dataclass)
    for made in (ours, theirs):
        assert made("a").seen == [2]
        assert made(name="a", last=3).seen == [5]
        assert not hasattr(made("a"), "unset")
    assert _error(partial(ours, "a", 3)) == _error(partial(theirs, "a", 3))
    assert _error(partial(ours, "a", step=3)) == _error(partial(theirs, "a", step=3))


def test_pickles_come_back() -> None:
    point = Point(1, [2])
    assert pickle.loads(pickle.dumps(point)) == copy.deepcopy(point) == point
    match point:
        case Point(x, y):
            assert (x, y) == (1, [2])


@dataclasses.dataclass(frozen=True)
class Above(Point):
    z: int = 3


def test_pickles_need_no_table_of_fields_but_have_all_of_a_class_above() -> None:
    @deferred.dataclass(frozen=True, slots=True)
    class Job:
        name: str
        size: int = 0

    state = Job("a", 2).__getstate__()
    other = Job("b")
    other.__setstate__(state)  # type: ignore[attr-defined]
    assert (state, other) == (["a", 2], Job("a", 2))
    assert "_Asked" in type(vars(Job)["__dataclass_fields__"]).__name__
    above = Above(1, [2], 4)
    assert pickle.loads(pickle.dumps(above)) == copy.copy(above) == above


def test_threads_may_be_the_first_together() -> None:
    _, derived = _classes(deferred.dataclass, {"frozen": True, "slots": True})
    start = threading.Barrier(4)
    made: list[Any] = []

    def work(number: int) -> None:
        start.wait()
        made.append(derived(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.a for each in made} == {0, 1, 2, 3}


def test_values_in_slots_are_held_once_and_let_go() -> None:
    @deferred.dataclass(slots=True)
    class Held:
        one: object
        other: object = None

    value = object()
    before = sys.getrefcount(value)
    made = Held(value, other=value)
    assert sys.getrefcount(value) == before + 2
    made.__init__(None)  # type: ignore[misc]
    assert (made.one, made.other) == (None, None)
    assert sys.getrefcount(value) == before
    made.one = value
    del made
    assert sys.getrefcount(value) == before


def test_a_class_that_has_a_say_in_how_values_are_set_keeps_it() -> None:
    @deferred.dataclass(slots=True)
    class Plain:
        x: int
        y: int = 2

    class Own(Plain):
        __slots__ = ()

        @property
        def x(self) -> int:  # type: ignore[override]
            return 7

    with pytest.raises(AttributeError):
        Own(1)
    assert Plain(1).x == 1
    with pytest.raises(AttributeError):
        Own(1)

    seen = []

    @deferred.dataclass(slots=True)
    class Watched:
        x: int

        def __setattr__(self, name: str, value: object) -> None:
            seen.append((name, value))
            object.__setattr__(self, name, value)

    assert (Watched(3).x, seen) == (3, [("x", 3)])
