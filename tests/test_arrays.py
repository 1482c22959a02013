"""Columns by NumPy's own C interface: what is refused, and that what comes of it is what NumPy says."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from callreplay.arrays import empty_each, plain_columns
from callreplay.model import mappings
from callreplay.order.gathering import Survey
from callreplay.order.placing import count_late, window_minima
from callreplay.packets.arena import Mapping
from callreplay.packets.rows import examine, group, leaps, mend_times, spread

_I64, _U16, _U8 = np.arange(8, dtype=np.int64), np.ones(8, np.uint16), np.zeros(8, np.uint8)
_U32, _I32 = np.arange(8, dtype=np.uint32), np.zeros(8, np.int32)

_PASSES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...], tuple[int, ...]]] = {
    "look": (Survey().look, (_U16, _I64, _U8), (None, 0, 8, 1), ()),
    "window_minima": (window_minima, (_I64, _I64, _U8), (0, 1.0, 4), ()),
    "count_late": (count_late, (_I64, _I64), (0, 0.0, 1.0, 1.0), ()),
    "leaps": (leaps, (_I64,), (1, 1), ()),
    "group": (group, (_I32, np.zeros(2, np.int64), _I32.copy()), (), (1, 2)),
    "mend_times": (mend_times, (_I64.copy(), _U32, _I32, _U8.copy()), (), (0, 3)),
    "spread": (spread, (_I64,), (_I32,), ()),
    "examine": (examine, (_U8, _U8, _I64, _U16, _U8, _U16, _U32, _U8), (_I32, 1.0), ()),
}
"""A pass, the columns that it takes, what else, and which of the columns it writes to."""


@pytest.mark.parametrize("name", _PASSES)
def test_a_pass_takes_no_column_that_is_not_what_it_should_be(name: str) -> None:
    run, columns, rest, written = _PASSES[name]
    run(*columns, *rest)
    for at, column in enumerate(columns):
        others: list[Any] = [None, b"octets", column.reshape(1, -1)]
        others += [column.astype(np.float32), np.repeat(column, 2)[::2]]
        others += [column.astype(column.dtype.newbyteorder())] if column.itemsize > 1 else []
        if at in written:
            fixed = column.copy()
            fixed.flags.writeable = False
            others.append(fixed)
        for other in others:
            with pytest.raises((ValueError, TypeError)):
                run(*columns[:at], other, *columns[at + 1 :], *rest)
    if len(columns) > 1 and name not in ("group", "examine"):
        with pytest.raises(ValueError, match="length"):
            run(columns[0][:-1], *columns[1:], *rest)


def test_columns_are_made_as_numpy_makes_them() -> None:
    kinds = (np.dtype("i8"), np.dtype("u2"), np.dtype([("a", "u1"), ("b", "<i4")]))
    made = empty_each(5, kinds)
    assert [(one.dtype, one.shape, one.flags.owndata) for one in made] == [
        (kind, (5,), True) for kind in kinds
    ]
    assert [one.shape for one in empty_each(0, kinds)] == [(0,)] * 3
    with pytest.raises(ValueError, match="negative"):
        empty_each(-1, kinds)


def test_plain_columns_are_contiguous_of_the_very_kinds_and_of_one_length() -> None:
    kinds = (np.dtype("i8"), np.dtype("u1"))
    good = (np.zeros(4, np.int64), np.zeros(4, np.uint8))
    assert plain_columns(good, kinds)
    for bad in (
        good[:1], (good[0], None), (good[0][:3], good[1]), (np.zeros(8, np.int64)[::2], good[1]),
        (good[0].view(np.uint64), good[1]), (good[0].reshape(2, 2), good[1]),
    ):  # fmt: skip
        assert not plain_columns(bad, kinds)


def test_the_files_under_arrays_are_named_once_each() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(4096))
        file.flush()
        one, two = (Mapping(file.fileno(), 4096, prot=mmap.PROT_READ) for _ in range(2))
        first, second = np.frombuffer(one, np.uint8), np.frombuffer(memoryview(two), np.uint8)
        views = first[10:20].view(np.uint16), second[1:], np.zeros(3), first, second[4:8], bytes_view()
        assert mappings(*views) == [one, two]
        assert mappings(np.zeros(3), np.zeros(4)[1:], bytes_view()) == []


def bytes_view() -> Any:
    return np.frombuffer(b"octets of no file", np.uint8)
