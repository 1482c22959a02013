"""Rows of options: the kinds of value that an option takes, how a URL's text becomes one, and which are refused."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import Any, Final

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.parameters import Kind, Row, declared

__all__ = [
    "OptionRow",
    "choice",
    "colour",
    "flag",
    "level",
    "names",
    "seconds",
    "text",
    "whole",
]

_LONGEST_SECONDS: Final = 999_999_999
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRow(Row):
    """An option's row: beside the rest, the values that it takes.

    ``choices`` are all of them where there are few; ``low`` and ``high`` bound a number, and ``or_zero`` lets 0 stand
    for the usual one. ``cli`` is its type on the command line, ``flags`` its spellings there where they are not the
    usual ones. ``checked`` is False where another place checks the value.
    """

    cli: Any = str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    or_zero: bool = False
    unit: str = ""
    flags: tuple[str, ...] = ()
    checked: bool = True

    @property
    def hint(self) -> str:
        """Its type, as one writes it in Python."""
        if self.choices:
            values = dict.fromkeys((self.default, *self.choices) if self.default == "" else self.choices)
            return f"Literal[{', '.join(map(_quoted, values))}]"
        if self.kind is NAMES:
            return "tuple[str, ...]"
        hint = self.cli.__name__ if isinstance(self.cli, type) else str(self.cli)
        return hint if self.default is not None or "None" in hint else f"{hint} | None"

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema, as URLs have it."""
        made = dict(self.kind.schema)
        if self.choices:
            made["enum"] = list(dict.fromkeys(("", *self.choices) if self.default == "" else self.choices))
        bounds = {"minimum": self.low, "maximum": self.high}
        bounds = {name: value for name, value in bounds.items() if value is not None}
        return made | ({"anyOf": [{"const": 0}, bounds]} if self.or_zero else bounds)

    def checked_value(self, value: Any) -> Any:
        """``value`` as the field keeps it. Raises ArgumentError, which names the option."""
        if self.cli is int:
            value = _index(self.name, value)
        elif self.cli is float and value is not None:
            value = _number(self.name, value, self.unit)
        if not self.checked or value is None or value == self.default or (self.or_zero and not value):
            return value
        if self.choices and value not in self.choices:
            raise ArgumentError(f"{self.name} must be {_either(self.choices)}, not {value!r}")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            unit = f" {self.unit}" if self.unit else ""
            raise ArgumentError(f"{self.name} must be {self.low} to {self.high}{unit}, not {value}")
        return value


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _either(values: Iterable[Any]) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last


def _index(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, not {value!r}") from None


def _number(name: str, value: Any, unit: str) -> float:
    try:
        return float(+value)  # float() alone would read texts too
    except (TypeError, OverflowError):
        raise ArgumentError(f"{name} must be a number of {unit}, not {value!r}") from None


# -- what a URL says ------------------------------------------------------------------------------------------------
# A text to a value. Each raises ValueError, whose text says what the value is not.


def _read_whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("not a whole number")
    return int(text)


def _read_seconds(text: str) -> float:
    # As JSON writes numbers: programs print a small one as 1e-05.
    if len(text) > 64 or not re.fullmatch(r"\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII):
        raise ValueError("not a number of seconds")
    value = float(text)
    if value > _LONGEST_SECONDS:
        raise ValueError(f"more than {_LONGEST_SECONDS} seconds")
    return value


def _read_level(text: str) -> float:
    value = float(text)
    if not -70 <= value <= 0:
        raise ValueError("not -70 to 0 LUFS")
    return value


def _read_flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("not true or false")
    return text.lower() in ("true", "1")


def _read_text(text: str) -> str:
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise ValueError("at most 200 printable characters")
    return text


def _read_names(text: str) -> tuple[str, ...]:
    """Speakers' names, caller first, with a line break between them: ``Ana%0AFront%20Desk``."""
    return tuple(_read_text(each) for each in text.split("\n", 2)[:2])


WORD: Final = Kind(name="word", read=str, schema={"type": "string"})
WHOLE: Final = Kind(name="whole number", read=_read_whole, schema={"type": "integer"})
SECONDS: Final = Kind(
    name="seconds", read=_read_seconds, schema={"type": "number", "minimum": 0, "maximum": _LONGEST_SECONDS}
)
END: Final = Kind(
    name="seconds",
    read=_read_seconds,
    schema={"type": "number", "exclusiveMinimum": 0, "maximum": _LONGEST_SECONDS},
)
LEVEL: Final = Kind(name="LUFS", read=_read_level, schema={"type": "number"})
FLAG: Final = Kind(name="true or false", read=_read_flag, schema={"type": "boolean"})
TEXT: Final = Kind(name="text", read=_read_text, schema={"type": "string", "maxLength": _LONGEST_TEXT})
NAMES: Final = Kind(name="names, a line break between them", read=_read_names, schema={"type": "string"})
COLOUR: Final = Kind(name="colour", read=str, schema={"type": "string", "pattern": "^(#?[0-9a-fA-F]{6})?$"})


# -- fields ---------------------------------------------------------------------------------------------------------
# Each makes the field of an option: its default, its help, and what else the row says.


def choice(default: Any, help: str, *values: Any, panel: str, **more: Any) -> Any:
    """One of a few values; '' as default stands for the format's own."""
    kind, cli = (WHOLE, int) if isinstance(values[0], int) else (WORD, str)
    example = next(str(value) for value in values if value != default)
    row = OptionRow(kind=kind, cli=cli, choices=values, help=help, panel=panel, example=example, **more)
    return declared(default, row)


def whole(
    default: int,
    help: str,
    low: int,
    high: int,
    *,
    panel: str,
    example: str,
    **more: Any,
) -> Any:
    """A whole number from ``low`` to ``high``."""
    row = OptionRow(kind=WHOLE, cli=int, low=low, high=high, help=help, panel=panel, example=example, **more)
    return declared(default, row)


def seconds(default: float | None, help: str, *, panel: str, example: str) -> Any:
    """A number of seconds; on the command line also ``1:30``."""
    kind = SECONDS if default is not None else END  # an end that is not given is the call's
    return declared(
        default, OptionRow(kind=kind, cli=float, unit="seconds", help=help, panel=panel, example=example)
    )


def level(default: float | None, help: str, *, panel: str, example: str) -> Any:
    """A loudness."""
    row = OptionRow(
        kind=LEVEL, cli=float, low=-70, high=0, unit="LUFS", help=help, panel=panel, example=example
    )
    return declared(default, row)


def flag(default: bool | None, help: str, *, panel: str) -> Any:
    """True or false."""
    row = OptionRow(
        kind=FLAG,
        cli=bool,
        help=help,
        panel=panel,
        example="false" if default else "true",
    )
    return declared(default, row)


def text(default: str, help: str, *, panel: str, example: str) -> Any:
    """A text that is shown or written as it stands."""
    return declared(default, OptionRow(kind=TEXT, help=help, panel=panel, example=example))


def names(help: str, *, panel: str, example: str, flags: tuple[str, ...]) -> Any:
    """Several texts."""
    return declared(
        (), OptionRow(kind=NAMES, cli=list[str], help=help, panel=panel, example=example, flags=flags)
    )


def colour(help: str, *, panel: str, example: str) -> Any:
    """``#rrggbb``; '' for the theme's."""
    return declared("", OptionRow(kind=COLOUR, help=help, panel=panel, example=example))
