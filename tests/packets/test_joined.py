"""Files side by side in memory, and one scan over several captures."""

from __future__ import annotations

import gzip
import mmap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.captures import Record, pcap, pcapng, rtp, udp

from callreplay.errors import CaptureError
from callreplay.packets import Part, join, open_buffer, scan, span
from callreplay.packets.arena import release
from callreplay.packets.joined import Joined


def records(first: int, count: int) -> list[Record]:
    return [
        (
            (1_700_000_000_000 + 20 * n) * 1_000_000,
            udp("10.0.0.1", 4000, "10.0.0.2", 4002, rtp(n, n * 160, 77, 0, bytes([n % 256]) * 160)),
        )
        for n in range(first, first + count)
    ]


def test_every_octet_stands_on_a_page_of_its_file(tmp_path: Path) -> None:
    sizes = (1, mmap.PAGESIZE, mmap.PAGESIZE + 1, 3 * mmap.PAGESIZE - 1)
    paths = []
    for number, size in enumerate(sizes):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(np.random.default_rng(number).bytes(size))
    data, spans = join(paths)
    for path in paths[1:]:
        path.unlink()  # what is mapped stays
    assert all(start % mmap.PAGESIZE == 0 for start, _ in spans)
    for turn in range(2):
        for number, (start, stop) in enumerate(spans):
            assert data[start:stop].tobytes() == np.random.default_rng(number).bytes(sizes[number]), turn
        release(data[5:])
    gaps = [data[stop:start] for (_, stop), (start, _) in pairwise(spans)]
    assert not any(gap.any() for gap in gaps)
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 1


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    empty, absent, good = tmp_path / "empty", tmp_path / "absent", tmp_path / "good"
    empty.touch()
    good.write_bytes(b"x")
    with pytest.raises(CaptureError, match="empty: empty"):
        join([good, empty])
    with pytest.raises(CaptureError, match="absent: No such file"):
        join([good, absent])
    with pytest.raises(CaptureError, match="not a regular file"):
        join([good, Path("/dev/null")])
    for files in ([], [(0, 0)], [(0, -1)]):
        with pytest.raises(ValueError, match=r"mapped|no files"):
            Joined(files)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Joined([(-1, 10)])


def test_one_stream_over_captures_of_every_kind(tmp_path: Path) -> None:
    """Byte order, resolution, container and compression may change from file to file."""
    contents = [
        pcap(records(0, 40)),
        pcap(records(40, 40), big=True, nano=True),
        pcapng(records(80, 40)),
        gzip.compress(pcap(records(120, 40), modified=True)),
        pcapng(records(160, 40)),
        pcap(records(200, 40))[:-90],
    ]
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"part{number}")
        paths[-1].write_bytes(content)
    data, spans = join(paths)
    parts = [Part(*places, path.name) for places, path in zip(spans, paths, strict=True)]
    found = scan(data, parts=parts)
    whole = scan(open_buffer(pcap(records(0, 240), nano=True)))
    for name in ("arrival_ns", "timestamp", "sequence", "payload_type", "stream"):
        np.testing.assert_array_equal(getattr(found.rtp, name), getattr(whole.rtp, name))
    assert len(found.streams) == 1
    for row, offset in enumerate(found.rtp.offset[:-1]):
        assert (data[offset : offset + 160] == row % 256).all()
    assert found.truncated
    assert [text for text in found.warnings if text.startswith("part5: the capture ends inside")]
    times = [span(data[start:stop]) for start, stop in spans]
    assert times == [(part[0][0], part[-1][0]) for part in (records(n, 40) for n in range(0, 240, 40))]
    with pytest.raises(CaptureError, match="part0: not a capture"):
        scan(data, parts=[parts[1], Part(3, 40, "part0")])
