"""The result manifest: one row per output, or per capture that gave none, written as it comes to be.

``manifest.jsonl`` grows line by line, each flushed to the operating system as its output finishes; a last line cut
short by a kill is dropped. Beside it every share has a journal of its worker process while it is in flight: a row goes
there just before its output appears, so that after a kill at any moment an output that is whole is known by its digest.
``manifest.parquet`` holds what stands at the end of a run: the last row of every output.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from callreplay.encode import AtomicFile
from callreplay.errors import OutputError

__all__ = [
    "MANIFEST",
    "ManifestWriter",
    "Row",
    "as_line",
    "journal_path",
    "journals",
    "read_rows",
    "write_parquet",
]

MANIFEST: Final = "manifest.jsonl"
_ROWS_AT_ONCE: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Row:
    """One output. ``error`` is empty where it is whole; an input without any call has a row with ``call`` 0.

    ``input`` is the first capture; ``duration_s`` the output's, 0 where there is none; ``loss`` the share of the
    packets of both legs that were lost on the way, 0 to 1; ``key`` tells inputs and options apart from changed ones;
    ``seconds`` is CPU time shared out over the calls that finished together, in proportion to their length.
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
    loss: float = 0.0
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

    def write(self, row: Row) -> None:
        """Append a row and hand it to the operating system."""
        self._file.write(as_line(row))
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


def as_line(row: Row) -> str:
    """The row as a line of JSON."""
    return json.dumps(asdict(row), separators=(",", ":")) + "\n"


def journals(manifest: Path) -> list[Path]:
    """The journals that shares of a killed run left beside its manifest."""
    return sorted(manifest.parent.glob(f".{glob.escape(manifest.name)}.*.journal"))


def journal_path(manifest: Path, share: int) -> Path:
    """The journal of a share of this run."""
    return manifest.with_name(f".{manifest.name}.{share}.journal")


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


def _standing(path: Path) -> Iterator[Row]:
    """The rows of a manifest that no later row of the same output, or of the same input, has made untrue."""
    last: dict[tuple[str, str], int] = {}
    for number, row in enumerate(read_rows(path)):
        last[row.output and "output", row.output or row.input] = number
        if row.call:
            last.pop(("", row.input), None)
    for number, row in enumerate(read_rows(path)):
        if last.get((row.output and "output", row.output or row.input)) == number:
            yield row


class _Sink:
    """The file as PyArrow wants one; what becomes of it at the end is not PyArrow's to say."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self.write = file.write

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def write_parquet(manifest: Path, path: Path) -> None:
    """What stands of a manifest of JSON lines as one Parquet file, in memory that does not grow with it."""
    import pyarrow
    import pyarrow.parquet

    types = {"int": pyarrow.int64(), "float": pyarrow.float64()}
    schema = pyarrow.schema(
        [(f.name, types.get(str(f.type).split(" ")[0], pyarrow.string())) for f in fields(Row)]
    )
    rows = _standing(manifest)
    with (
        AtomicFile(path) as out,
        pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(_Sink(out), "w"), schema) as writer,
    ):
        while block := [asdict(row) for row in islice(rows, _ROWS_AT_ONCE)]:
            writer.write_table(pyarrow.Table.from_pylist(block, schema=schema))
