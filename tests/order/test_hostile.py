"""Whatever stands in the columns, ordering ends, stays in bounds and keeps its promises to the decoder."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from callreplay.model import Flow, GapReason, RtpColumns, Stream
from callreplay.order import assemble
from tests.scenario.call import SyntheticScan

# The longest that an octet of a static type lasts: 1 ms (G.729) unless it stands here. A frame of G.723 that was not
# sent is an octet and 30 ms (RFC 3551, 4.5.3), one of LPC 14 octets and 20 ms.
_SECONDS_PER_OCTET = {4: 0.03, 7: 0.02 / 14}


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    rows=st.integers(0, 300),
    streams=st.integers(1, 4),
    types=st.lists(st.integers(0, 127), min_size=1, max_size=6),
    wild=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_any_columns_give_lawful_legs(
    seed: int, rows: int, streams: int, types: list[int], wild: float
) -> None:
    random = np.random.default_rng(seed)
    scan = SyntheticScan([])
    number = np.arange(rows)
    odd = random.random(rows) < wild

    def mixed(usual: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
        return np.where(odd, random.integers(low, high, rows), usual)

    scan.data = random.integers(0, 256, 4096, np.uint8)
    scan.rtp = RtpColumns(
        offset=mixed(number % 4000, -(1 << 40), 1 << 40).astype(np.int64),
        arrival_ns=mixed(number * 20_000_000, 0, 10**11).astype(np.int64) + 10**18,
        timestamp=mixed(number * 160, 0, 1 << 32).astype(np.uint32),
        stream=random.integers(0, streams, rows).astype(np.int32),
        sequence=mixed(number & 0xFFFF, 0, 1 << 16).astype(np.uint16),
        size=mixed(np.full(rows, 90), 0, 1 << 16).astype(np.uint16),
        payload_type=random.choice(np.array(types, np.uint8), rows),
        flags=mixed(np.zeros(rows, np.int64), 0, 256).astype(np.uint8),
    )
    scan.streams = [
        Stream(index, Flow("a", 1 + index % 2, "a", 2 - index % 2), index % 3, found, len(found))
        for index in range(streams)
        for found in [np.flatnonzero(scan.rtp.stream == index)]
    ]
    for call in assemble(scan):
        for leg in call.legs:
            columns = leg.columns
            assert sum(span.stop - span.first for span in columns.spans) == len(columns.offset)
            for span in columns.spans:
                ticks = columns.timestamp[span.first : span.stop]
                assert ticks[0] == 0
                assert np.all(np.diff(ticks) >= 0)
                assert span.end_tick >= ticks[-1]
            inner = columns.gaps[
                ~np.isin(columns.gaps["reason"], [GapReason.LATE_START, GapReason.EARLY_END])
            ]
            assert np.all(inner["ticks"] > 0)
            assert np.all(inner["start"] >= 0)
            # No gap makes a call longer than its capture: 100 s of arrival, and every packet's own length.
            slowest = max(_SECONDS_PER_OCTET.get(each, 0.001) for each in types)
            own = int(columns.size.astype(np.int64).sum()) * slowest
            assert (leg.end_ns - leg.start_ns) * 1e-9 < 100 + own + 5 + 0.02 * rows
