"""G.711 of several channels: what comes out is the average of what each channel decodes to."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.captures import pcap, rtp, udp

import callreplay
from callreplay.errors import ArgumentError

_PACKETS, _OCTETS = 60, 160


def _pcm(octets: NDArray[np.uint8], kind: int, name: str) -> NDArray[np.int16]:
    size = len(octets) // _PACKETS
    records = [
        (
            1_700_000_000_000_000_000 + i * 20_000_000,
            udp(
                "10.0.0.1",
                4000,
                "10.0.0.2",
                5000,
                rtp(i, i * 160, 1, kind, octets[i * size : (i + 1) * size].tobytes()),
            ),
        )
        for i in range(_PACKETS)
    ]
    with callreplay.open(pcap(records), codecs={kind: name}) as capture:
        return capture.calls[0].caller.pcm()


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
@pytest.mark.parametrize("channels", [2, 3, 8])
def test_channels_are_averaged(law: str, channels: int) -> None:
    random = np.random.default_rng(channels)
    each = random.integers(0, 256, (_PACKETS * _OCTETS, channels), np.uint8)
    mixed = _pcm(each.reshape(-1), 96, f"{law}/8000/{channels}")
    alone = np.stack([_pcm(np.ascontiguousarray(each[:, c]), 97, f"{law}/8000") for c in range(channels)])
    wanted = np.trunc(alone.astype(np.int32).sum(axis=0) / channels).astype(np.int16)
    np.testing.assert_array_equal(mixed, wanted)


def test_hints_take_format_parameters_and_refuse_what_nobody_knows() -> None:
    octets = np.zeros(_PACKETS * _OCTETS, np.uint8)
    with pytest.raises(ArgumentError, match="none that is known"):
        _pcm(octets, 97, "PMCU/8000")
    assert len(_pcm(octets, 97, "PCMU/8000;ptime=20")) == _PACKETS * _OCTETS
