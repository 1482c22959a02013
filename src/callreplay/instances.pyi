from collections.abc import Callable
from typing import Any

def init_of(
    names: tuple[str, ...],
    ways: tuple[int, ...],
    places: tuple[int, ...],
    values: tuple[Any, ...],
    frozen: bool,
    after: bool,
    slow: Callable[..., None],
) -> Callable[..., None]:
    """``__init__`` that sets the attributes ``names``.

    ``ways``: 0 for what must be given, 1 a default, 2 what makes one, 3 and 4 the same of what cannot be given;
    ``places`` among what may be given without a name, -1 for none; ``values`` the defaults, and what makes them.
    ``frozen``: past the class's own ``__setattr__``; ``after``: ``__post_init__`` is called. ``slow`` is called in its
    place with arguments that do not fit: it raises.
    """

def eq_of(names: tuple[str, ...]) -> Callable[[Any, object], bool]:
    """``__eq__`` of instances of one class by these attributes, as tuples compare."""

def hash_of(names: tuple[str, ...]) -> Callable[[Any], int]:
    """``__hash__`` by these attributes."""
