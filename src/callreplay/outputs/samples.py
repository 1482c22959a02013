"""Shards of data sets: many pieces of calls in one file, as the libraries that train and measure read them.

WebDataset: a tar in which ``KEY.json`` and ``KEY.wav`` are a sample. Parquet: a row a sample, whose column ``audio`` is
what Hugging Face ``datasets`` knows as Audio. Lhotse: the two files of its Shar format, cuts as JSON lines and their
recordings as a tar. The same samples give the same bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from callreplay import _core
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError, UnsupportedError

__all__ = ["CONTAINERS", "Container", "Sample", "container_of", "wav_head"]

_ROWS: Final = 64  # of a row group of Parquet: about 64 MiB of half minutes
_BLOCK: Final = tarfile.BLOCKSIZE

Data = bytes | memoryview


class Out(Protocol):
    """Where a shard's octets go."""

    def write(self, data: Any, /) -> Any:
        """Append."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """A piece of a call. ``key``: unique in the data set, ASCII without dots. ``wav``: a whole file.

    ``about``: what is known of it, as JSON has it. ``pcm``: 16 bits, little-endian, interleaved, after ``head`` a WAV
    file: apart, as there is much of it, and each copy costs. It stands until the next sample comes.
    """

    key: str
    about: dict[str, Any]
    head: bytes
    pcm: Data

    @property
    def wav(self) -> bytes:
        """The whole file."""
        return b"".join((self.head, self.pcm))


def wav_head(frames: int, channels: int, rate_hz: int) -> bytes:
    """What comes before the samples in a WAV file of PCM."""
    return _core.wav_header(0, rate_hz, channels, frames)


_USTAR: Final = tarfile.TarInfo("")
_USTAR.mode = 0o644
_BEFORE_SIZE, _AFTER_SUM = _USTAR.tobuf(tarfile.PAX_FORMAT)[100:124], _USTAR.tobuf(tarfile.PAX_FORMAT)[156:]


def _tar_head(name: str, size: int) -> bytes:
    """What tarfile writes before a file of nobody's, of no time; a twentieth of its time where the name is short."""
    short = name.encode()
    if len(short) > 100 or not name.isascii() or size >= 8**11:
        about = tarfile.TarInfo(name)
        about.size, about.mode = size, 0o644
        return about.tobuf(tarfile.PAX_FORMAT)
    first = b"%s%s%011o\0%011o\0" % (short.ljust(100, b"\0"), _BEFORE_SIZE, size, 0)
    total = sum(first) + 8 * ord(" ") + sum(_AFTER_SUM)
    return b"%s%06o\0 %s" % (first, total, _AFTER_SUM)


def _member(name: str, *data: Data) -> Iterator[Data]:
    """A file of a tar: nobody's, of no time, so that equal files give equal tars."""
    size = sum(map(len, data))
    yield _tar_head(name, size)
    yield from data
    yield b"\0" * (-size % _BLOCK)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Tar:
    """WebDataset."""

    def __init__(self, out: Sequence[Out]) -> None:
        (self._out,) = out

    def add(self, sample: Sample) -> None:
        for part in (
            *_member(f"{sample.key}.json", _line(sample.about)),
            *_member(f"{sample.key}.wav", sample.head, sample.pcm),
        ):
            self._out.write(part)

    def finish(self) -> None:
        self._out.write(b"\0" * (2 * _BLOCK))


class _Sink:
    """A file as PyArrow wants one; what becomes of it at the end is not PyArrow's to say."""

    closed = False

    def __init__(self, out: Out) -> None:
        self.write = out.write

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


_TEXTS: Final = ("key", "speaker", "call_start", "call_id", "caller", "called", "name")
_NUMBERS: Final = ("start_s", "duration_s")


def _schema(pa: Any) -> Any:
    """Columns; what Hugging Face's library reads beside them tells it that ``audio`` is sound."""
    talk = pa.struct(
        [
            ("speaker", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("level_dbfs", pa.float64()),
        ]
    )
    kinds = [
        ("key", "string"),
        *((name, "string") for name in _TEXTS[1:]),
        *((name, "float64") for name in _NUMBERS),
    ]
    features: dict[str, dict[str, Any]] = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds}
    features |= {
        name: {"dtype": "int64", "_type": "Value"} for name in ("call", "channels", "sample_rate_hz")
    }
    features["audio"] = {"_type": "Audio"}
    features["talk"] = {
        "feature": {
            "speaker": {"dtype": "string", "_type": "Value"},
            **{name: {"dtype": "float64", "_type": "Value"} for name in ("start_s", "end_s", "level_dbfs")},
        },
        "_type": "List",
    }
    return pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, pa.float64()) for name in _NUMBERS),
            *((name, pa.int64()) for name in ("call", "channels", "sample_rate_hz")),
            ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("talk", pa.list_(talk)),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


class _Parquet:
    """Hugging Face's way: the file itself in a column."""

    def __init__(self, out: Sequence[Out]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UnsupportedError("Parquet needs pyarrow: pip install 'callreplay[batch]'") from error
        self._arrow: Any = pyarrow
        self._schema = _schema(pyarrow)
        # Sound does not get smaller by what Parquet packs with.
        self._writer = pyarrow.parquet.ParquetWriter(
            pyarrow.PythonFile(_Sink(out[0]), "w"), self._schema, compression="none", use_dictionary=False
        )
        self._rows: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> None:
        audio = {"bytes": sample.wav, "path": f"{sample.key}.wav"}
        self._rows.append({**sample.about, "audio": audio})
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def finish(self) -> None:
        self._flush()
        self._writer.close()


class _Shar:
    """Lhotse's Shar: cuts whose recordings are looked for, in the same order, in the tar beside them."""

    def __init__(self, out: Sequence[Out]) -> None:
        self._cuts, self._tar = out

    def add(self, sample: Sample) -> None:
        about, key = sample.about, sample.key
        channels = list(range(about["channels"]))
        recording = {
            "id": key,
            "sources": [{"type": "shar", "channels": channels, "source": ""}],
            "sampling_rate": about["sample_rate_hz"],
            "num_samples": about["frames"],
            "duration": about["duration_s"],
            "channel_ids": channels,
        }
        for part in (
            *_member(f"{key}.wav", sample.head, sample.pcm),
            *_member(f"{key}.json", _line(recording)),
        ):
            self._tar.write(part)
        speakers = [about["speaker"]] if about["speaker"] else ["caller", "called"]
        supervisions = [
            {
                "id": f"{key}-{number}",
                "recording_id": key,
                "start": talk["start_s"],
                "duration": round(talk["end_s"] - talk["start_s"], 6),
                "channel": 0 if len(channels) == 1 else speakers.index(talk["speaker"]),
                "speaker": about[talk["speaker"]] if talk["speaker"] else None,
                "custom": {"side": talk["speaker"], "level_dbfs": talk["level_dbfs"]},
            }
            for number, talk in enumerate(about["talk"])
        ]
        cut = {
            "id": key,
            "start": 0.0,
            "duration": about["duration_s"],
            "channel": 0 if len(channels) == 1 else channels,
            "supervisions": supervisions,
            "recording": recording,
            "custom": {name: about[name] for name in (*_TEXTS[1:], "start_s", "call")},
            "type": "MonoCut" if len(channels) == 1 else "MultiCut",
        }
        self._cuts.write(_line(cut))

    def finish(self) -> None:
        self._tar.write(b"\0" * (2 * _BLOCK))


class Writer(Protocol):
    """Writes one shard."""

    def add(self, sample: Sample) -> None:
        """Append a sample."""
        ...

    def finish(self) -> None:
        """Write what ends the files."""
        ...


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of shard: what its files are called, of which the first is the one that a shard is known by."""

    name: str
    names: tuple[str, ...]
    """With ``{}`` for the shard's number."""
    open: Callable[[Sequence[Out]], Writer]

    def files(self, number: str) -> tuple[str, ...]:
        """The files of a shard."""
        return tuple(name.format(number) for name in self.names)


CONTAINERS: Final[dict[str, Container]] = {
    each.name: each
    for each in (
        Container("webdataset", ("shard-{}.tar",), _Tar),
        Container("parquet", ("shard-{}.parquet",), _Parquet),
        Container("lhotse", ("cuts.{}.jsonl", "recording.{}.tar"), _Shar),
    )
}


def container_of(name: str) -> Container:
    """The container called ``name``; ArgumentError where there is none."""
    if name not in CONTAINERS:
        raise ArgumentError(f"container must be one of {', '.join(CONTAINERS)}, not {name!r}")
    return CONTAINERS[name]
