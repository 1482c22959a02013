"""One row for each parameter: what it is called, how it is written and read, and what it means, for every door.

A class's fields are the table: ``dtmf: str = choice("mute", ...)`` is a field with its default, and a row beside it.
``rows_of`` reads them back. The URL's parser, SQL, the command line, the OpenAPI document, the pages' forms and
docs/parameters.md are made of the rows, so that adding a parameter is adding a field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import field, fields
from typing import Any, TypeVar

from callreplay.deferred import dataclass

__all__ = ["Kind", "Row", "camel", "declared", "kebab", "mark", "rows_of"]


def mark(text: str) -> str:
    """``text`` as it is: what stands here is looked up in the catalogues when a page shows it."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of value: what it is called in words, how a URL's text is read, and its JSON schema."""

    name: str
    read: Callable[..., Any]
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One parameter. ``name`` is the field's; ``url`` is its name in URLs and JSON, in camel case unless given.

    ``help`` says what it is in words; ``panel`` is the group that it is shown in; ``example`` is a value that it takes,
    as a URL has it.
    """

    kind: Kind
    help: str
    panel: str = ""
    example: str = ""
    name: str = ""
    url: str = ""
    default: Any = None

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return "--" + kebab(self.url)


AnyRow = TypeVar("AnyRow", bound=Row)


def camel(name: str) -> str:
    """``caller_color`` as URLs have it: ``callerColor``."""
    return re.sub(r"_(.)", lambda found: found[1].upper(), name)


def kebab(name: str) -> str:
    """``callerColor`` as the command line has it: ``caller-color``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def declared(default: Any, row: Row) -> Any:
    """A dataclass field with that default, and the row beside it."""
    return field(default=default, metadata={"row": row})


def rows_of(table: type, kind: type[AnyRow]) -> tuple[AnyRow, ...]:
    """The rows of a dataclass whose fields are ``declared``, in order; each knows its field's name and default."""
    made = []
    for each in fields(table):
        row = copy(each.metadata["row"])
        assert isinstance(row, kind), each.name
        # Not by ``replace``: it asks for the row's table of fields, which takes as long as all rows.
        known = {"name": each.name, "url": row.url or camel(each.name), "default": each.default}
        for name, value in known.items():
            object.__setattr__(row, name, value)
        made.append(row)
    return tuple(made)
