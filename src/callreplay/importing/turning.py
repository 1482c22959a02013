"""A rotation under watch, split by call file after file: each file is read once, each call imported when it is over.

The files stay as long as a call that goes on needs them: they are what a restart splits anew, for these spools lie in
the temporary directory. What a watch before has filed is known by its end (`callreplay.importing.rotation.Carry`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from callreplay.importing import portions, rotation
from callreplay.importing.importer import Job, Outcome, import_portions_of
from callreplay.importing.rotation import Carry, Member
from callreplay.store.database import Database

__all__ = ["Turning"]


class Turning:
    """The splitter of one rotation."""

    def __init__(self, carry: Carry) -> None:
        self.carry = carry
        self.fed: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="callreplay-")
        self._feeder = portions.Feeder(Path(self._folder.name), rotation.limits())

    def goes_on_with(self, names: Sequence[str]) -> bool:
        """Whether files are those that were split before, and others after them."""
        kept = [name for name in self.fed if name in names]
        return list(names[: len(kept)]) == kept and (not kept or kept[-1] == self.fed[-1])

    def feed(
        self, database: Database, job: Job, run: Sequence[Member], *, final: bool
    ) -> tuple[Outcome, Carry, int]:
        """Split what is new of ``run``, and, where none will follow, file what goes on.

        Returns what became of it, what a restart must know, and the first member that a call needs.
        """
        new = [member for member in run if member.path.name not in self.fed]
        paths = [member.path for member in new or run[-1:]]
        outcome = import_portions_of(
            database, job, paths, self._feeder, self.carry, feed=[member.path for member in new], final=final
        )
        self.fed += [member.path.name for member in new]
        spooler = self._feeder.spooler
        begun = [group.begun_ns for group in spooler.board.groups.values()]
        needed = len(run) if final or not begun else rotation.begins(run, min(begun))
        return outcome, Carry(max(spooler.splitter.last_ns, self.carry.until_ns)), min(needed, len(run))

    def close(self) -> None:
        """Let go of the spools."""
        self._feeder.close()
        self._folder.cleanup()
