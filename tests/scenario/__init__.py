"""Two-leg calls made packet by packet, with the truth of each packet known."""

from tests.scenario.call import Call, Direction, Network, Packet, SyntheticScan

__all__ = ["Call", "Direction", "Network", "Packet", "SyntheticScan"]
