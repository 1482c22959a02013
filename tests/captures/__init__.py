"""A small writer of captures for tests: every container, link layer, tunnel and payload that callreplay reads.

    from tests.captures import pcap, rtp, udp

    capture = pcap([(time_ns, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(seq, ts, ssrc, 0, payload)))])

Builders take plain values and return ``bytes``; they share no code with the reader under test.
"""

from tests.captures.containers import *  # noqa: F403
from tests.captures.layers import *  # noqa: F403
from tests.captures.media import *  # noqa: F403
from tests.captures.recorders import *  # noqa: F403
