"""SRTP streams of a scan decrypted with the keys that signalling gave (RFC 4568), before anything reads payloads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import FormatError, UnsupportedError
from callreplay.model import CallDescription, PacketFlag, RtpColumns, Stream
from callreplay.packets.arena import Arena
from callreplay.packets.red import regroup
from callreplay.packets.scan import Scan

if TYPE_CHECKING:
    from callreplay.packets.srtp import SrtpKey

__all__ = ["decrypt_srtp"]

_SAMPLE: Final = 20  # packets tried before a stream is given up
_MAX_KEYS: Final = 16  # keys tried on a stream: re-INVITEs may change them
_MAX_HEADER: Final = 12 + 15 * 4 + 4 + 4 * 512


class _Keys:
    """The keys of one stream: the one that worked last is tried first, so a re-key costs one failure a packet."""

    def __init__(self, keys: Sequence[SrtpKey]) -> None:
        from callreplay.packets.srtp import SrtpStream

        self._streams = [SrtpStream(key) for key in keys]

    def decrypt(self, packet: bytes, header_size: int) -> bytes | None:
        for index, stream in enumerate(self._streams):
            plain = stream.decrypt(packet, header_size)
            if plain is not None:
                self._streams.insert(0, self._streams.pop(index))
                return plain
        return None


def decrypt_srtp(scan: Scan, descriptions: Iterable[CallDescription]) -> Scan:
    """``scan`` with the streams decrypted that the ``a=crypto`` keys of ``descriptions`` fit.

    A stream is decrypted where a key authenticates one of its first packets; its payloads then lie in ``spill``, and
    packets that do not authenticate are dropped, counted (``srtp_failed``) and told in the warnings. A key that fits
    nothing leaves the stream as it is, to be refused as encrypted.
    """
    said: list[str] = []
    calls = list(descriptions)
    if not any(media.crypto for call in calls for media in call.media):
        return scan
    decrypted: dict[int, list[tuple[int, bytes]]] = {}
    for stream in scan.streams:
        rows = _rows(scan, stream)
        keys = _keys(stream, calls, said)
        if not keys:
            continue
        try:
            plain = _decrypt(scan, rows, keys)
        except UnsupportedError as error:
            said.append(str(error))
            break
        if plain:
            decrypted[stream.index] = plain
            if failed := len(rows) - len(plain):
                said.append(
                    f"stream {stream.ssrc:#010x}: {failed} SRTP packets do not authenticate and were dropped"
                )
    said = list(dict.fromkeys(said))
    if not decrypted:
        return dataclasses.replace(scan, warnings=scan.warnings + said) if said else scan
    return _rebuilt(scan, decrypted, said)


def _rows(scan: Scan, stream: Stream) -> NDArray[np.int64]:
    if isinstance(stream.rows, slice):
        return np.arange(*stream.rows.indices(len(scan.rtp.offset)), dtype=np.int64)
    return stream.rows.astype(np.int64)


def _keys(stream: Stream, calls: Iterable[CallDescription], said: list[str]) -> list[SrtpKey]:
    """Keys that may be the stream's: those of its sender's SDP first (RFC 4568 section 5.1: keys are for sending)."""
    source = (stream.flow.source, stream.flow.source_port)
    ends = {source, (stream.flow.destination, stream.flow.destination_port)}
    lines: dict[str, bool] = {}
    for call in calls:
        if not any((media.address, media.port) in ends for media in call.media):
            continue
        for media in call.media:
            own = (media.address, media.port) == source
            lines.update((line, own or lines.get(line, False)) for line in media.crypto)
    from callreplay.packets.srtp import parse_crypto

    keys: list[SrtpKey] = []
    for line in sorted(lines, key=lambda line: not lines[line]):
        try:
            key = parse_crypto(line)
        except (FormatError, UnsupportedError) as error:
            said.append(f"SRTP key not usable: {error}")
            continue
        if key not in keys:
            keys.append(key)
    return keys[:_MAX_KEYS]


def _decrypt(scan: Scan, rows: NDArray[np.int64], keys: Sequence[SrtpKey]) -> list[tuple[int, bytes]]:
    """(row, plain payload) of the rows that authenticate; nothing where none of the first ones does."""
    tried = _Keys(keys)
    plain: list[tuple[int, bytes]] = []
    for number, row in enumerate(rows.tolist()):
        if number >= _SAMPLE and not plain:
            break
        for packet, header in _packets(scan, row):
            payload = tried.decrypt(packet, header)
            if payload is not None:
                if (
                    packet[0] & 0x20 and payload
                ):  # RFC 3711 section 3.1: padding is encrypted with the payload
                    payload = payload[: max(0, len(payload) - payload[-1])]
                plain.append((row, payload))
                break
    return plain


def _packets(scan: Scan, row: int) -> Iterator[tuple[bytes, int]]:
    """What the whole SRTP packet of a row may be, with the octets of its header; authentication tells the right one.

    A row knows its payload, sequence number, timestamp and SSRC. The header stands before the payload: the place
    where it holds these and reads as just so long. Where the P bit is set the scan took the tag's last octet for a
    count of padding: each count that this may have been is tried.
    """
    rtp = scan.rtp
    flags = int(rtp.flags[row])
    if flags & PacketFlag.TRUNCATED:
        return
    store = scan.spill if flags & PacketFlag.SPILL else scan.data
    offset, size = int(rtp.offset[row]), int(rtp.size[row])
    ssrc = scan.streams[int(rtp.stream[row])].ssrc
    known = int(rtp.sequence[row]).to_bytes(2, "big") + int(rtp.timestamp[row]).to_bytes(4, "big")
    known += ssrc.to_bytes(4, "big")
    before = store[max(0, offset - _MAX_HEADER) : offset].tobytes()
    for header in range(12, len(before) + 1, 4):
        head = before[len(before) - header :]
        if head[2:12] != known or _header_size(head) != header:
            continue
        whole = head + store[offset : offset + size].tobytes()
        if not flags & PacketFlag.PADDED:
            yield whole, header
            return
        rest = store[offset + size : offset + size + 255].tobytes()
        yield from (
            (whole + rest[:count], header) for count in range(1, len(rest) + 1) if rest[count - 1] == count
        )
        return


def _header_size(head: bytes) -> int:
    """Octets of an RTP header with CSRCs and extension (RFC 3550 section 5.1), 0 where it is longer than ``head``."""
    size = 12 + 4 * (head[0] & 15)
    if head[0] >> 6 != 2:
        return 0
    if head[0] & 0x10:
        if size + 4 > len(head):
            return 0
        size += 4 + 4 * int.from_bytes(head[size + 2 : size + 4], "big")
    return size


def _rebuilt(scan: Scan, decrypted: dict[int, list[tuple[int, bytes]]], said: list[str]) -> Scan:
    arena = Arena()
    total = sum(len(payload) for plain in decrypted.values() for _, payload in plain)
    spill = arena.empty(len(scan.spill) + total, np.uint8)
    at = len(scan.spill)
    spill[:at] = scan.spill
    columns = RtpColumns(*(getattr(scan.rtp, field.name).copy() for field in dataclasses.fields(RtpColumns)))
    keep = ~np.isin(columns.stream, list(decrypted))
    for plain in decrypted.values():
        for row, payload in plain:
            spill[at : at + len(payload)] = np.frombuffer(payload, np.uint8)
            columns.offset[row], columns.size[row] = at, len(payload)
            columns.flags[row] |= PacketFlag.SPILL
            keep[row] = True
            at += len(payload)
    columns = RtpColumns(*(getattr(columns, field.name)[keep] for field in dataclasses.fields(RtpColumns)))
    streams = [
        dataclasses.replace(
            stream,
            packets=len(decrypted[stream.index]),
            srtp_suspect=False,
            srtp_evidence="",
            srtp_doubt="",
            decrypted=True,
        )
        if stream.index in decrypted
        else stream
        for stream in scan.streams
    ]
    counters = scan.counters | {"srtp_decrypted": sum(map(len, decrypted.values()))}
    failed = len(scan.rtp.offset) - len(columns.offset)
    if failed:
        counters["srtp_failed"] = failed
    return dataclasses.replace(
        scan,
        spill=spill,
        rtp=columns,
        streams=regroup(streams, columns, arena),
        counters=counters,
        warnings=scan.warnings + said,
    )
