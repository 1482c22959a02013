"""An import of many captures as its watchers see it: the command's terminal, and the page of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from callreplay.importing import workers
from callreplay.importing.importer import Job, Outcome
from callreplay.store import activity, jobs
from callreplay.store.database import Database

__all__ = ["Tally", "run"]


@dataclass(slots=True)
class Tally:
    """Totals of an import: captures and their octets, calls added and known, what failed."""

    captures: int = 0
    added: int = 0
    known: int = 0
    without_media: int = 0
    octets: int = 0
    skipped: int = 0
    bad: int = 0
    failed: int = 0
    is_stopped: bool = False

    def take(self, outcome: Outcome, named: bool) -> None:
        """Count an outcome; ``named``: its file was named itself, and not found in a folder."""
        if outcome.bad and not named:
            # A folder may hold anything; only what was named must be a capture.
            self.skipped += 1
            return
        self.captures += outcome.files
        self.octets += outcome.octets
        self.added += outcome.added
        self.known += len(outcome.calls) - outcome.added
        self.without_media += sum(not call["legs"] for call in outcome.calls)
        self.bad += bool(outcome.error) and outcome.bad
        self.failed += bool(outcome.error) and not outcome.bad


def run(
    database: Database,
    job: Job,
    chosen: Sequence[tuple[Path, bool]],
    processes: int,
    tally: Tally,
    watched: jobs.Job | None = None,
) -> Iterator[tuple[Outcome, bool]]:
    """Import what ``sources.captures`` chose; yields each outcome and whether its file was named itself.

    Ends early where whoever watches asks for it.
    """
    names = dict(chosen)
    for outcome in workers.import_captures(job, (path for path, _ in chosen), processes):
        named = names[Path(outcome.capture)]
        tally.take(outcome, named)
        if not job.dry_run and (named or not outcome.bad):
            activity.note(database, "import", **outcome.figures())
        yield outcome, named
        if watched is not None:
            watched.result = {"calls": tally.added, "failed": tally.failed + tally.bad}
            if not watched.step(watched.done + outcome.files):
                tally.is_stopped = True
                return
