"""The result manifest: one row per output, or per capture that gave none, written as it comes to be.

``manifest.jsonl`` grows line by line, each flushed to the operating system before the next share is handed out, so
what it says is there after a kill; a last line cut short is dropped. ``manifest.parquet`` holds the same rows, written
at the end of a run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from callreplay.encode import AtomicFile
from callreplay.errors import OutputError

__all__ = ["MANIFEST", "ManifestWriter", "Row", "read_rows", "write_parquet"]

MANIFEST: Final = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One output. ``error`` is empty where it is whole; an input without any call has a row with ``call`` 0.

    ``input`` is the first capture; ``key`` tells inputs and options apart from changed ones; ``seconds`` is CPU time
    shared out over the calls of a share, in proportion to their length.
    """

    input: str
    output: str
    call: int
    key: str
    calls: int = 0
    sha256: str = ""
    size: int = 0
    duration_s: float = 0.0
    codec: str = ""
    packets: int = 0
    lost: int = 0
    mos: float | None = None
    seconds: float = 0.0
    error: str = ""
    finished: float = 0.0


class ManifestWriter:
    """Appends rows. One writer at a time holds the manifest: a second run on the same destination is refused."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self._lock = path.with_suffix(".lock")
        try:
            self._lock_file = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o644)
            import fcntl

            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock_file)
            raise OutputError(f"{path.parent}: another batch is writing there") from None
        if not fresh:
            _cut_last_line(path)
        self._file = path.open("w" if fresh else "a", encoding="utf-8")

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows and hand them to the operating system."""
        for row in rows:
            self._file.write(json.dumps(asdict(row), separators=(",", ":")) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.close(self._lock_file)


def _cut_last_line(path: Path) -> None:
    """Remove what a killed run left of its last line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        back = min(size, 1 << 20)
        file.seek(size - back)
        tail = file.read(back)
        if tail and not tail.endswith(b"\n"):
            file.truncate(size - back + tail.rfind(b"\n") + 1)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a manifest; lines that are not whole rows are passed over."""
    if not path.exists():
        return
    names = {f.name for f in fields(Row)}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                values = json.loads(line)
                yield Row(**{key: value for key, value in values.items() if key in names})
            except (ValueError, TypeError, AttributeError):
                continue


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    """The rows as one Parquet file."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [
            (
                f.name,
                {"int": pyarrow.int64(), "float": pyarrow.float64()}.get(
                    str(f.type).split(" ")[0], pyarrow.string()
                ),
            )
            for f in fields(Row)
        ]
    )
    table = pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    with AtomicFile(path) as out:
        out.write(sink.getvalue().to_pybytes())
