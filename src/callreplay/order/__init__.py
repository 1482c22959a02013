"""Room `order`: the packets of a capture become calls, with two legs each, on one timeline."""

from callreplay.order.alignment import SenderReport
from callreplay.order.arrange import ns_of, ticks_of
from callreplay.order.aside import Aside
from callreplay.order.legs import CallMedia, LegMedia, assemble
from callreplay.order.mos import Quality, burst_ratio, estimate
from callreplay.order.statistics import LegStatistics
from callreplay.order.streams import Packets

__all__ = [
    "Aside",
    "CallMedia",
    "LegMedia",
    "LegStatistics",
    "Packets",
    "Quality",
    "SenderReport",
    "assemble",
    "burst_ratio",
    "estimate",
    "ns_of",
    "ticks_of",
]
