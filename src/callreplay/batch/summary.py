"""What came of a batch."""

from __future__ import annotations

from callreplay.batch.manifest import Row
from callreplay.deferred import dataclass
from callreplay.errors import CallReplayError

__all__ = ["BatchError", "Summary"]


@dataclass(slots=True)
class Summary:
    """What came of a run. ``skipped`` inputs were whole already; ``audio_s`` and ``cpu_s`` of this run's outputs.

    Of ``undecoded`` outputs something could not be decoded, and is silent.
    """

    inputs: int = 0
    outputs: int = 0
    errors: int = 0
    skipped: int = 0
    audio_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    interrupted: bool = False
    undecoded: int = 0

    def add(self, row: Row) -> None:
        """Count a row."""
        if row.error:
            self.errors += 1
        else:
            self.outputs += 1
            self.audio_s += row.duration_s
        self.cpu_s += row.seconds
        self.undecoded += row.decoders is not None and not row.error


class BatchError(CallReplayError):
    """The run stopped early: too many errors, or its workers do not start.

    ``summary`` tells of what it did until then, None where it did nothing.
    """

    def __init__(self, message: str, summary: Summary | None = None) -> None:
        super().__init__(message)
        self.summary = summary
