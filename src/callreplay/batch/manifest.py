"""The result manifest: one row per output, or per capture that gave none, written as it comes to be.

``manifest.jsonl`` grows line by line, each flushed to the operating system as its output finishes; a last line cut
short by a kill is dropped. Beside it every share has a journal of its worker process while it is in flight: a row goes
there just before its output appears, so that after a kill at any moment an output that is whole is known by its digest.
``manifest.parquet`` holds what stands at the end of a run: the last row of every output, made of the last state of its
input.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError, OutputError
from callreplay.outputs.atomic import AtomicFile

__all__ = [
    "LEGS",
    "MANIFEST",
    "ManifestWriter",
    "Row",
    "as_line",
    "as_values",
    "check_manifest",
    "journal_path",
    "journals",
    "parquet_path",
    "read_rows",
    "with_seconds",
    "write_parquet",
]

MANIFEST: Final = "manifest.jsonl"
LEGS: Final = {"caller": ".caller", "called": ".called"}
"""What an output of one leg has in its name, so that those of both stand side by side."""
_PARQUET: Final = ".parquet"
_LOCK: Final = ".lock"
_ROWS_AT_ONCE: Final = 1 << 14
_FEW_OCTETS: Final = 8 << 20  # of a manifest whose rows may be in memory


@dataclass(frozen=True, slots=True)
class Row:
    """One output. ``error`` is empty where it is whole; an input that gave no call has a row with ``call`` 0.

    ``output`` is then what its first call would have become, and empty where nothing was tried.
    ``input`` is the first capture; ``duration_s`` the output's, 0 where there is none; ``loss`` the share of the
    packets of both legs that were lost on the way, 0 to 1; ``key`` tells inputs and options apart from changed ones;
    ``seconds`` is CPU time shared out over the calls that finished together, in proportion to their length.
    ``caller`` and ``called`` are names and numbers as signalling has them, else addresses; ``start`` ISO 8601, UTC;
    ``sides_inferred``: who called is a guess. Who talks how long is known where the run was asked to find out.
    ``warnings`` are what was odd about the call. Where something of it could not be decoded, and is silent in the
    output, ``decoders`` says with what that was tried, and ``mos`` is None: what nobody hears has none.
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
    caller: str = ""
    called: str = ""
    start: str = ""
    call_id: str = ""
    one_way: bool = False
    sides_inferred: bool = False
    caller_talk_s: float | None = None
    called_talk_s: float | None = None
    silence_s: float | None = None
    overlap_s: float | None = None
    interruptions: int | None = None
    longest_monologue_s: float | None = None
    warnings: tuple[str, ...] = ()
    decoders: str | None = None


class ManifestWriter:
    """Appends rows. One writer at a time holds the manifest: a second run on the same destination is refused."""

    def __init__(self, path: Path, fresh: bool) -> None:
        try:
            self._lock_file = os.open(path.with_suffix(_LOCK), os.O_CREAT | os.O_RDWR, 0o644)
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


_NAMES: Final = tuple(f.name for f in fields(Row))
as_values: Final = attrgetter(*_NAMES)
"""The values of a row, in order: ``Row(*asas_values(row))`` equals it. asdict() copies each, in ten times as long."""
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_SECONDS: Final = _NAMES.index("seconds")

_ROW_HAS: Final = frozenset(f.name for f in fields(Row) if f.default is MISSING)
_ROW_HAS_NOT: Final = frozenset(("path", "paths"))  # rows that ask for work


def parquet_path(manifest: Path) -> Path:
    """The Parquet file beside a manifest."""
    return manifest.with_suffix(_PARQUET)


def check_manifest(path: Path) -> None:
    """Raise ArgumentError where a run would write its rows over a file that is no result manifest.

    So whatever else stands there is safe: the manifest of jobs that is the run's own source, by whatever link.
    """
    if not path.name or path.suffix.lower() in (_PARQUET, _LOCK) or path.is_dir():
        raise ArgumentError(f"{path}: the result manifest is a file of JSON lines: {MANIFEST}, say")
    parquet = parquet_path(path)
    for file, columns in ((path, _line_columns), (parquet, _parquet_columns)):
        if file.exists():
            found = columns(file)
            if not found >= _ROW_HAS or found & _ROW_HAS_NOT:
                raise ArgumentError(
                    f"{file} is no result manifest, and would be overwritten: give another one"
                )


def _line_columns(path: Path) -> frozenset[str]:
    """The columns of the first row of JSON lines; those of a result where there is no row yet."""
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    if not line or (not line.endswith(b"\n") and line.startswith(b'{"input":')):  # cut short by a kill
        return _ROW_HAS
    try:
        return frozenset(dict(json.loads(line)))
    except (ValueError, TypeError, RecursionError):
        return frozenset()


def _parquet_columns(path: Path) -> frozenset[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        return frozenset(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError):
        return frozenset()


def with_seconds(row: Row, seconds: float) -> Row:
    """The row with its ``seconds``; ``dataclasses.replace`` takes five times as long."""
    values = list(as_values(row))
    values[_SECONDS] = seconds
    return Row(*values)


def as_line(row: Row) -> str:
    """The row as a line of JSON."""
    return _encode(dict(zip(_NAMES, as_values(row), strict=True))) + "\n"


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
    names = frozenset(_NAMES)
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                values = json.loads(line)
                if not names.issuperset(values):  # a later release may write more
                    values = {key: value for key, value in values.items() if key in names}
                if warnings := values.get("warnings"):
                    values["warnings"] = tuple(warnings)
                yield Row(**values)
            except (ValueError, TypeError, AttributeError):
                continue


def _standing(path: Path) -> Iterator[Row]:
    """The rows of a manifest that no later row has made untrue.

    The last row of every output stands, if its job has the same key in its last row: else the input has changed, or
    gave nothing any more. That an input gave nothing stands until there is an output of it.
    """
    outputs: dict[str, int] = {}
    without: dict[str, int] = {}  # any output, of a job or, where nothing was tried, of an input
    keys: dict[str, int] = {}
    few = path.exists() and path.stat().st_size <= _FEW_OCTETS
    rows: Iterable[Row] = list(read_rows(path)) if few else read_rows(path)
    for number, row in enumerate(rows):
        job = _first_output(row)
        if job:
            keys[job] = hash(row.key)
        if row.call:
            outputs[row.output] = number
            without.pop(job, None)
            without.pop(row.input, None)
        else:
            without[job or row.input] = number
    for number, row in enumerate(rows if few else read_rows(path)):
        job = _first_output(row)
        last = outputs.get(row.output) if row.call else without.get(job or row.input)
        if last == number and (not job or keys[job] == hash(row.key)):
            yield row


def _first_output(row: Row) -> str:
    """The output of the first call of the same job: what the job is known by. Empty where nothing was tried."""
    if row.call < 2:
        return row.output
    stem, dot, suffix = row.output.rpartition(".")
    for leg in LEGS.values():
        if stem.endswith(leg):
            stem, suffix = stem.removesuffix(leg), leg[1:] + dot + suffix
    return stem.removesuffix(f"-{row.call}") + dot + suffix


class _Sink:
    """The file as PyArrow wants one; what becomes of it at the end is not PyArrow's to say."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self.write = file.write

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def _plain(value: Any) -> Any:
    """A name that is not UTF-8 with its octets as escapes, as Parquet takes it."""
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="backslashreplace").decode()
    return [_plain(text) for text in value] if isinstance(value, tuple) else value


def _column(values: Sequence[Any], kind: Any) -> Any:
    import pyarrow

    try:
        return pyarrow.array(values, kind)
    except UnicodeEncodeError:
        return pyarrow.array(list(map(_plain, values)), kind)


def write_parquet(manifest: Path, path: Path) -> None:
    """What stands of a manifest of JSON lines as one Parquet file; of many rows, memory has the names alone."""
    import pyarrow
    import pyarrow.parquet

    types = {
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "tuple[str,": pyarrow.list_(pyarrow.string()),
    }
    schema = pyarrow.schema(
        [(f.name, types.get(str(f.type).split(" ")[0], pyarrow.string())) for f in fields(Row)]
    )
    rows = _standing(manifest)
    with (
        AtomicFile(path) as out,
        pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(_Sink(out), "w"), schema) as writer,
    ):
        while block := list(islice(rows, _ROWS_AT_ONCE)):
            columns = list(map(_column, zip(*map(as_values, block), strict=True), schema.types))
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
