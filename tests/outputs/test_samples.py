"""Heads of the files in a tar are what tarfile writes."""

from __future__ import annotations

import tarfile

import pytest

from callreplay.outputs.samples import _tar_head


@pytest.mark.parametrize("size", [0, 1, 511, 512, 12_345_678, 8**11 - 1, 8**11])
@pytest.mark.parametrize("name", ["a", "a/b-caller-00000150.json", "x" * 99, "x" * 100, "x" * 101, "ș/y.wav"])
def test_a_head_is_what_tarfile_writes(name: str, size: int) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, 0o644
    assert _tar_head(name, size) == about.tobuf(tarfile.PAX_FORMAT)
