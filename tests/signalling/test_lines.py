"""The native walk over a description's lines gives what the parser in Python gives, which any may be left to."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signalling.test_heads import _messages
from tests.signalling.test_sdp import FULL

from callreplay.signalling import lines, sdp, sip

PIECES = (
    b"v=0", b"o=a b", b"s=", b"c=IN IP4 10.0.0.1", b"a=rtpmap:0 PCMU/8000", b"m=audio 4000 RTP/AVP 0", b"m=", b"=",
    b"a=", b"x=1", b"a", b"==", b"\r\n", b"\n", b"\r", b"\t", b" ", b"\x00", b"\x0b", b"\x1c", b"\x7f",
    b"\xc2\xa0", b"\xe4",
)  # fmt: skip


def _agree(body: bytes) -> bool:
    """Hold both to each other; whether the description was plain."""
    read = lines.read(body)
    if read is not None:
        assert read == sdp._lines(body), body
    return read is not None


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=24).map(b"".join))
@settings(max_examples=200, deadline=None)
def test_any_octets(body: bytes) -> None:
    _agree(body)


def test_every_cut_of_a_description() -> None:
    for end in range(len(FULL) + 1):
        assert _agree(FULL[:end])
        _agree(FULL[:end] + b"\r")
        _agree(FULL[end:])


def test_as_many_lines_as_are_read() -> None:
    for count in (4094, 4095, 4096, 4097):
        body = b"v=0\n" + b"a=x\n" * (count - 1)
        assert _agree(body) is (count < 4096)
        assert len(sdp._lines(body)[3][0][2]) == min(count, 4096) - 1


def test_descriptions_of_captures() -> None:
    bodies = [parsed.sdp for message in _messages() if (parsed := sip.parse(message)) is not None]
    plain = [_agree(body) for body in bodies if body]
    assert sum(plain) >= 0.8 * len(plain)  # or nothing would be won


def test_what_is_remembered_stays_as_it_was() -> None:
    """Two descriptions with the same attributes: what is done to the one is not done to the other."""
    body = b"v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0 200 96\na=rtpmap:96 opus/x\n"
    faults: Counter[str] = Counter()
    one = sdp.parse(body, faults)
    assert one is not None
    one.media[0].payload_types.clear()
    other = sdp.parse(body, faults)
    assert other is not None
    assert list(other.media[0].payload_types) == [0]
    assert faults == {
        "sdp: bad payload type": 2, "sdp: bad a=rtpmap": 2, "sdp: payload type without rtpmap": 2
    }  # fmt: skip
