"""What is handed in as a capture and is none, and compression made to hurt."""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from tests.captures import gz, pcap, rtp, udp, zst

from callreplay import packets
from callreplay.errors import CaptureError, LimitError

T = 1_700_000_000_000_000_000
CAPTURE = pcap(
    [(T + i, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(i, i, 7, 0, b"x" * 160))) for i in range(9)]
)


@functools.cache
def _zstd_bomb(octets: int) -> bytes:
    """Zeros: one frame of run-length blocks, each four octets for 128 KiB."""
    press = zstandard.ZstdCompressor(level=1).compressobj()
    zeros = bytes(1 << 20)
    return b"".join(press.compress(zeros) for _ in range(octets >> 20)) + press.flush()


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pcap")
    with pytest.raises(CaptureError, match=r"pipe\.pcap: not a regular file"):
        packets.open_buffer(tmp_path / "pipe.pcap")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "."])
def test_devices_and_folders_are_refused(path: str) -> None:
    with pytest.raises(CaptureError, match=r"not a regular file|Is a directory"):
        packets.open_buffer(path)


@pytest.mark.parametrize("bomb", [lambda: _zstd_bomb(1 << 30), lambda: gzip.compress(bytes(1 << 26))])
def test_a_bomb_stops_at_the_limit(bomb: object) -> None:
    assert callable(bomb)
    with pytest.raises(LimitError, match="more than 1048576 octets"):
        packets.open_buffer(bomb(), limit=1 << 20)


def test_a_zstandard_bomb_comes_in_bounded_pieces(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(_zstd_bomb(1 << 30))
    code = (
        "import resource, sys\n"
        "from callreplay import packets\n"
        "from callreplay.errors import LimitError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: packets.open_buffer(sys.argv[1], limit=1 << 20)\n"
        "except LimitError: pass\n"
        "else: raise SystemExit('no limit')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb")], check=True, capture_output=True, text=True
    )
    assert int(ran.stdout) < 256  # MiB; the bomb holds 1024


def test_a_bomb_leaves_room_in_the_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=40 << 20))
    with pytest.raises(LimitError, match=f"more than {20 << 20} octets"):
        packets.open_buffer(gzip.compress(bytes(24 << 20)))


@pytest.mark.parametrize("squeeze", [gz, zst])
@pytest.mark.parametrize("tail", [b"", bytes(512), b"not compressed"])
def test_members_follow_each_other_and_garbage_ends_them(squeeze: object, tail: bytes) -> None:
    assert callable(squeeze)
    said: list[str] = []
    octets = squeeze(CAPTURE[:700]) + squeeze(CAPTURE[700:]) + tail
    assert packets.open_buffer(octets, warnings=said).tobytes() == CAPTURE
    assert len(said) == (tail == b"not compressed")


@pytest.mark.parametrize("squeeze", [gz, zst])
def test_a_cut_member_is_read_up_to_the_cut(squeeze: object) -> None:
    assert callable(squeeze)
    octets = squeeze(os.urandom(400_000))
    said: list[str] = []
    read = packets.open_buffer(octets[:-1000], warnings=said)
    assert 100_000 < len(read) < 400_000
    assert len(said) == 1
    assert "ends too soon" in said[0]
