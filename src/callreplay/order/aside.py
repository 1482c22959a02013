"""What no leg of a call plays: which packets, how long, and why. Nothing that the parser accepted goes unsaid."""

from __future__ import annotations

from typing import Any, Literal

from callreplay.deferred import dataclass
from callreplay.model import Stream
from callreplay.order.taps import StreamFacts

__all__ = ["Aside", "Kind", "set_aside"]

Kind = Literal["copy", "parallel", "other media"]


@dataclass(frozen=True, slots=True)
class Aside:
    """Packets of a stream that were set aside; ``copy``: what they say is in a leg of a call already."""

    kind: Kind
    stream: Stream
    packets: int
    seconds: float
    reason: str

    def report(self) -> dict[str, Any]:
        """As plain JSON data."""
        flow = self.stream.flow
        return {
            "kind": self.kind,
            "ssrc": f"{self.stream.ssrc:#010x}",
            "flow": f"{flow.source}:{flow.source_port} > {flow.destination}:{flow.destination_port}",
            "packets": self.packets,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        """One line, for a warning."""
        flow = self.stream.flow
        what = "packets of a second sender at the same time" if self.kind == "parallel" else "packets"
        return (
            f"{self.packets} {what} set aside ({self.seconds:.1f} s of SSRC {self.stream.ssrc:#010x} from "
            f"{flow.source}:{flow.source_port}): {self.reason}"
        )


def set_aside(fact: StreamFacts, kind: Kind, reason: str) -> Aside:
    """A whole stream, or part of one, set aside."""
    return Aside(kind, fact.stream, fact.packets, (fact.last_ns - fact.first_ns) * 1e-9, reason)
