"""What a sorted stream's packets and timestamps may be believed, before media time is read off them.

Things are put right here that the walk, which looks at neighbours, cannot see: packets among the audio that take no
time of their own (keepalives, FEC, fax events), timestamps that count at another rate than the payloads and the
capture's clock do, and payloads that are longer than their time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import STEREO, payload_octets
from callreplay.model import PacketFlag
from callreplay.order.columns import Columns
from callreplay.order.gathering import Survey
from callreplay.order.payloads import Kind, PayloadTables
from callreplay.order.sequence import STRAY
from callreplay.order.speechlike import two_channels

__all__ = ["mend_time", "set_aside"]

Sound = Callable[[NDArray[np.intp]], list[bytes]]
"""The payloads of some rows of a stream."""

_AUDIO: Final = int(Kind.AUDIO)
OFF: Final = 3e-3  # a step further from the payload's time than any quartz takes it
FEWEST: Final = 25  # packets, one after the other in number, that tell how often they come
_HEAD: Final = 4096  # packets that tell the usual length
_SAMPLE: Final = 200  # payloads that are listened to
_EXTRA: Final = {
    4: "an authentication tag, of 32 bits",
    10: "an authentication tag, of 80 bits",
    14: "a key index and an authentication tag",
    16: "an authentication tag, of 128 bits",
}
_USUAL: Final = 0.8  # of the steps are the usual one
_WORTH_TICKS: Final = 0.2  # of a second, that the wrong rate must come to: less is not told from jitter


def set_aside(columns: Columns, tables: PayloadTables) -> list[str]:
    """Take from the media the payload types that nobody can decode and that leave the audio its time.

    In a stream with audio, a packet of a codec that is not known has time of its own only where its timestamp is its
    own and lies in a hole that the audio leaves. Where most have none (RFC 6263 keepalives, FEC, Cisco's NSE, fax
    events), ``tables.kinds`` says SKIP. Returns what must be said of it.
    """
    unknown = [
        payload_type
        for payload_type, codec in tables.resolution.codecs.items()
        if codec.kind == "other" and tables.kinds[payload_type] == _AUDIO
    ]
    if not unknown:
        return []
    known = np.zeros(256, np.bool_)
    known[[pt for pt, codec in tables.resolution.codecs.items() if codec.kind == "audio"]] = True
    if not known.any():
        return []
    audible = known[columns.payload_type] & (columns.size > 0) & (columns.sequence != STRAY)
    audio = np.flatnonzero(audible & ((columns.flags & PacketFlag.REDUNDANT) == 0))
    said = []
    for payload_type in unknown:
        rows = np.flatnonzero(columns.payload_type == payload_type)
        if len(rows) == 0 or len(audio) == 0:
            continue
        own = _own_time(columns, tables, rows, audio)
        if 2 * np.count_nonzero(own) >= len(rows):
            continue
        tables.kinds[payload_type] = Kind.SKIP
        codec = tables.resolution.codecs[payload_type]
        said.append(
            f"payload type {payload_type}: {len(rows)} packets of {codec} take no time beside the audio; left out"
        )
        tables.resolution.warnings[:] = [
            text
            for text in tables.resolution.warnings
            if not text.startswith(f"payload type {payload_type}:")
        ]
    return said


def _own_time(
    columns: Columns, tables: PayloadTables, rows: NDArray[np.intp], audio: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which rows have a timestamp of their own, in a hole of the audio (rows ``audio``) around them."""
    stamps = columns.timestamp
    clock = int(tables.clocks[columns.payload_type[rows[0]]])
    own = np.ones(len(rows), np.bool_)
    own[1:] = _since(stamps[rows[1:]], stamps[rows[:-1]]) != 0
    after = np.searchsorted(audio, rows)
    half = tables.typical[tables.codecs[columns.payload_type[rows]]] // 2
    for near, bounded in ((after - 1, after > 0), (np.minimum(after, len(audio) - 1), after < len(audio))):
        beside = audio[near]
        edge = bounded & (tables.clocks[columns.payload_type[beside]] == clock)
        ahead = _since(stamps[beside], stamps[rows])  # of the audio, in ticks
        lasts = tables.durations[tables.codecs[columns.payload_type[beside]], columns.size[beside]]
        room = (ahead >= half) | (ahead + np.maximum(lasts, 1) <= 0)
        own &= ~edge | room
    return own


def _since(later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ticks from one 32-bit timestamp to another, the nearer way round."""
    return (later - earlier).astype(np.uint32).view(np.int32).astype(np.int64)


def mend_time(columns: Columns, tables: PayloadTables, survey: Survey, sound: Sound) -> tuple[str, bool]:
    """Settle the time of a packet where timestamps and payload lengths do not agree; arrival decides between them.

    Some senders step by what another codec would take (320 ticks for 160 octets of G.711): where arrival agrees with
    the payloads, these count, and ``columns.timestamp`` changes in place. Where arrival agrees with the timestamps, a
    payload's length is not its time: it holds several channels (``sound`` tells), or what does not belong to it (an
    authentication tag, a second frame) and is cut, ``columns.size`` changes in place. Only what is steady, beyond any
    clock's error, and worth a fifth of a second is put right. Returns what must be said of it, or '', and whether
    timestamps changed.
    """
    payload_type = survey.commonest(tables.kinds, _AUDIO)
    if payload_type < 0 or survey.count(payload_type) < FEWEST:
        return "", False
    which = int(tables.codecs[payload_type])
    step = int(tables.typical[which])
    usual = survey.largest
    if survey.smallest < usual or len(columns) > _HEAD:
        sizes = columns.size[np.flatnonzero(columns.payload_type[:_HEAD] == payload_type)]
        if not len(sizes):
            return "", False
        usual = int(np.bincount(sizes).argmax())
    duration = int(tables.durations[which, usual])
    if duration <= 0 or abs(step / duration - 1) <= OFF or (tables.doubtful[which] and step > duration):
        return "", False
    rows = np.flatnonzero(
        (columns.payload_type == payload_type) & ((columns.flags & PacketFlag.REDUNDANT) == 0)
    )
    following = np.diff(columns.sequence[rows]) == 1
    lasting = tables.durations[which, columns.size[rows[:-1]]] == duration
    steps = _since(columns.timestamp[rows[1:]], columns.timestamp[rows[:-1]])
    steady = following & lasting & (steps == step)
    pairs = int(np.count_nonzero(steady))
    if pairs < FEWEST or pairs < _USUAL * np.count_nonzero(following):
        return "", False
    clock = int(tables.clocks[payload_type])
    if abs(step - duration) * pairs < _WORTH_TICKS * clock:
        return "", False
    came = float(np.diff(columns.arrival_ns[rows])[steady].mean()) * clock * 1e-9
    if abs(came - duration) <= abs(came - step) / 4:
        return _count_by_payloads(columns, tables, which, step, duration), True
    if abs(came - step) <= abs(came - duration) / 4 and duration > step:
        return _cut(columns, tables, sound, rows, which, step, usual), False
    return "", False


def _count_by_payloads(columns: Columns, tables: PayloadTables, which: int, step: int, duration: int) -> str:
    since = np.cumsum(_since(columns.timestamp[1:], columns.timestamp[:-1]))
    columns.timestamp[1:] = (
        columns.timestamp[0] + np.rint(since * (duration / step)).astype(np.int64)
    ) & 0xFFFFFFFF
    tables.typical[which] = duration
    return (
        f"timestamps step by {step} where the payloads last {duration} ticks and come as often; "
        "counted by the payloads"
    )


def _cut(
    columns: Columns,
    tables: PayloadTables,
    sound: Sound,
    rows: NDArray[np.intp],
    which: int,
    step: int,
    usual: int,
) -> str:
    """Take payloads of ``usual`` octets, longer than their ``step``, for several channels, or cut them."""
    codec = tables.listed[which]
    right = int(payload_octets(codec, step))
    longer = f"payloads of {usual} octets of {codec} come every {step} ticks"
    if right and usual % right == 0 and codec.name in STEREO and usual // right == 2:
        sample = rows[columns.size[rows] == usual]
        if two_channels(codec.name, sound(sample[:_SAMPLE])):
            tables.replace(which, replace(codec, channels=2))
            return f"{longer}, and every other sample is of another channel: decoded as stereo and mixed"
    if not 0 < right < usual:
        return ""
    columns.size[rows] -= np.minimum(columns.size[rows], usual - right).astype(np.uint16)
    what = _EXTRA.get(
        usual - right, "more than one packet's audio" if usual >= 2 * right else "what is no audio"
    )
    return f"{longer}, {usual - right} too many: the end of each is {what}, and cut"
