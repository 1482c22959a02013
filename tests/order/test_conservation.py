"""Every packet is in one leg of one call, or listed with the reason why not: over every capture there is."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from callreplay import errors, order, packets, signalling
from callreplay.order.aside import Aside
from tests.laws import nothing_goes_unsaid

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
VECTORS = Path(os.environ.get("CALLREPLAY_VECTORS", SHARED / "vectors"))
CASES = Path(os.environ.get("CALLREPLAY_CASES", SHARED / "cases"))
SUFFIXES = {".pcap", ".pcapng", ".cap", ".rtp", ".rtpdump", ".gz"}


def captures() -> list[Path]:
    found = [path for folder in (ROOT / "samples", CASES, VECTORS) for path in sorted(folder.rglob("*"))]
    return [path for path in found if path.suffix in SUFFIXES]


def assembled(path: Path) -> tuple[packets.Scan, list[order.CallMedia], list[Aside]]:
    name = path.name.removesuffix(".gz")
    try:
        data = packets.open_buffer(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path)
        scan = packets.scan(data, name=name, announced=signalling.sockets_of)
    except errors.CaptureError as error:
        pytest.skip(f"not read: {error}")
    unplaced: list[Aside] = []
    descriptions = signalling.calls_of(scan.messages)
    calls = order.assemble(scan, descriptions, reports=scan.sender_reports, unplaced=unplaced)
    return scan, calls, unplaced


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.name)
def test_nothing_goes_unsaid(path: Path) -> None:
    nothing_goes_unsaid(*assembled(path))


def test_there_are_captures() -> None:
    if os.environ.get("CI") == "true":
        assert len(captures()) > 40
    assert len(captures()) >= 3
