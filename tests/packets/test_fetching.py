"""Octets of rows side by side: the same whether copied from memory or a mapping, or read from the file."""

from __future__ import annotations

import gc
import gzip
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay.errors import FormatError, OutputError
from callreplay.packets import join, open_buffer
from callreplay.packets.arena import fetch, release

OCTETS = 8 << 20
SPARSE = 9  # rows so far apart that they are read from the file
DENSE = 2000


@pytest.fixture(scope="module")
def content() -> bytes:
    return np.random.default_rng(7).bytes(OCTETS)


def rows(count: int, octets: int = OCTETS) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """In no order; the first octet, the last, and sizes of nothing among them."""
    random = np.random.default_rng(count)
    sizes = random.integers(0, 1500, count)
    offsets = random.integers(0, octets - 1500, count)
    offsets[0], offsets[-1], sizes[-1] = 5, octets - 7, 7
    return offsets, sizes


def expected(
    data: bytes, offsets: NDArray[np.int64], sizes: NDArray[np.int64], before: int, floor: int = 0
) -> bytes:
    found = b""
    for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
        ahead = data[max(floor, offset - before) : offset]
        found += bytes(before - len(ahead)) + ahead + data[offset : offset + size]
    return found


@pytest.mark.parametrize("count", [SPARSE, DENSE])
@pytest.mark.parametrize("kind", ["bytes", "mapped", "gzip", "part of a mapping"])
def test_whatever_lies_under_it(kind: str, count: int, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    more = content + content + content if kind == "gzip" else content  # above what is decompressed in memory
    path.write_bytes(gzip.compress(more, 0) if kind == "gzip" else more)
    data = np.frombuffer(more, np.uint8) if kind == "bytes" else open_buffer(path)
    if kind == "part of a mapping":
        data, more = data[4096 + 3 :], more[4096 + 3 :]
    offsets, sizes = rows(count, len(more))
    for before in (0, 140):
        assert fetch(data, offsets, sizes, before).tobytes() == expected(more, offsets, sizes, before)


def test_over_the_files_of_a_rotation(content: bytes, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    cuts = (0, 3_000_001, 3_000_101, OCTETS)
    for path, start, stop in zip(paths, cuts, cuts[1:], strict=False):
        path.write_bytes(content[start:stop])
    data, spans = join(paths)
    offsets = np.array([spans[2][0] + 9, spans[1][0], 3, spans[0][1] - 5, spans[2][1] - 50, spans[1][1] - 20])
    sizes = np.array([300, 100, 200, 5, 50, 20])
    wanted = b""
    for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
        floor = max(start for start, _ in spans if start <= offset)
        wanted += expected(data.tobytes(), np.array([offset]), np.array([size]), 64, floor)
    assert fetch(data, offsets, sizes, 64).tobytes() == wanted


@pytest.mark.parametrize("count", [SPARSE, DENSE])
@pytest.mark.parametrize(("offset", "size"), [(-1, 5), (OCTETS - 4, 5), (OCTETS + 9, 1), (1 << 62, 1500)])
def test_rows_outside_are_refused(count: int, offset: int, size: int, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    offsets, sizes = rows(count)
    offsets[1], sizes[1] = offset, size
    for data in (np.frombuffer(content, np.uint8), open_buffer(path)):
        with pytest.raises(FormatError, match="outside"):
            fetch(data, offsets, sizes, 140)


@pytest.mark.parametrize("joined", [False, True])
def test_a_short_read_is_a_file_that_shrank(joined: bool, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    data = join([path, path])[0] if joined else open_buffer(path)
    offsets, sizes = rows(SPARSE)
    fetch(data, offsets, sizes)
    os.truncate(path, OCTETS - 3)  # within the last page: the mapping itself would tell nothing
    for _ in range(2):  # and it stays so
        with pytest.raises(OutputError, match="shrank"):
            fetch(data, offsets, sizes)


def test_descriptors_go_with_the_mapping(content: bytes, tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    path = tmp_path / "x"
    path.write_bytes(content)
    gc.collect()
    before = descriptors()
    kept = [open_buffer(path), join([path, path])[0]]
    assert descriptors() > before
    # No room for one more: it is copied from the mapping.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 1, hard))
    try:
        kept.append(open_buffer(path))
    except OSError:
        pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    del kept
    gc.collect()
    assert descriptors() == before


def test_no_page_stays(content: bytes, tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[2])

    path = tmp_path / "x"
    path.write_bytes(content)
    data = open_buffer(path)
    release(data)
    before = resident()
    for count in (SPARSE, DENSE):
        fetch(data, *rows(count))
        assert resident() - before < OCTETS // 4096 // 8
