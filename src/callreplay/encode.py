"""Output files: written aside and renamed when whole; WAV in three encodings, streamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.errors import ArgumentError, OutputError, StateError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["AtomicFile", "SampleFormat", "WavWriter"]

SampleFormat = Literal["s16", "ulaw", "alaw"]
_ENCODINGS: Final[dict[str, int]] = {"s16": 0, "ulaw": 1, "alaw": 2}


class AtomicFile:
    """A binary file that appears under its name only when it is whole.

    Bytes go to a hidden file in the same directory; :meth:`close` flushes it to the disk and renames it
    over ``path``, :meth:`abort` (or leaving a ``with`` block by an exception) removes it, so that nothing
    partial ever stands under the final name. ``-`` is standard output; pipes, sockets and devices are
    written in place, for they cannot be renamed. Raises OutputError, with the path, when anything of this
    fails.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Final = os.fspath(path)
        self._aside: Path | None = None
        self._file: IO[bytes] | None = None
        try:
            self._open()
        except OSError as error:
            raise self._failed("cannot write", error) from error

    def _open(self) -> None:
        if self.path == "-":
            self._file = sys.stdout.buffer
            return
        target = Path(self.path)
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode
            if not stat.S_ISREG(mode):
                self._file = target.open("wb")
                return
        # A symbolic link keeps pointing where it points: its target is replaced.
        target = target.resolve()
        aside = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.part")
        # 0o666 less the umask, as for any file that a program makes.
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        self._file = os.fdopen(descriptor, "w+b")
        self._aside = aside
        self._target = target

    def _failed(self, what: str, error: OSError) -> OutputError:
        return OutputError(f"{what} {self.path!r}: {error.strerror or error}")

    @property
    def seekable(self) -> bool:
        """Whether bytes already written can be overwritten."""
        return self._aside is not None

    def _checked(self) -> IO[bytes]:
        if self._file is None:
            raise StateError(f"{self.path!r} is closed")
        return self._file

    def write(self, data: Buffer) -> int:
        """Append ``data``; how many octets that were."""
        file = self._checked()
        try:
            return file.write(memoryview(data))
        except OSError as error:
            raise self._failed("cannot write", error) from error

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace octets at ``offset``; later writes go to the end again. Only where ``seekable``."""
        file = self._checked()
        if not self.seekable:
            raise StateError(f"{self.path!r} cannot be rewound")
        try:
            file.seek(offset)
            file.write(data)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed("cannot write", error) from error

    def close(self) -> None:
        """Make the file whole under its name. Does nothing the second time."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.flush()
            if self._aside is None:
                if file is not sys.stdout.buffer:
                    file.close()
                return
            os.fsync(file.fileno())
            file.close()
            self._aside.replace(self._target)
            self._aside = None
            self._sync_folder()
        except OSError as error:
            self._file = file
            self.abort()
            raise self._failed("cannot finish", error) from error

    def _sync_folder(self) -> None:
        # The name itself is on the disk only when its folder is; some file systems refuse, and lose nothing
        # by it.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def abort(self) -> None:
        """Leave nothing behind. What went to a pipe is gone already."""
        file, self._file = self._file, None
        if file is not None and file is not sys.stdout.buffer:
            with contextlib.suppress(OSError):
                file.close()
        if self._aside is not None:
            self._aside.unlink(missing_ok=True)
            self._aside = None

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.abort()


class WavWriter:
    """A WAV file of int16 blocks: 16-bit PCM, mu-law or A-law; RF64 above 4 GiB.

    ``frames``, when known, goes into the header at once, which is what a pipe needs; otherwise the header
    is put right at the end, and a pipe gets the size that means "to the end". Blocks are ``(n,)``, or ``(n,
    channels)``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate_hz: int,
        channels: int = 1,
        sample_format: SampleFormat = "s16",
        frames: int | None = None,
    ) -> None:
        if sample_format not in _ENCODINGS:
            raise ArgumentError(f"sample_format: {sample_format!r} is not s16, ulaw or alaw")
        self._encoding = _ENCODINGS[sample_format]
        self._rate_hz = rate_hz
        self._channels = channels
        self._promised = frames
        header = _core.wav_header(self._encoding, rate_hz, channels, frames)
        self._file = AtomicFile(path)
        self._bytes = np.empty(0, np.uint8)
        self.frames = 0
        self._file.write(header)

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append a block."""
        shape = () if self._channels == 1 and pcm.ndim == 1 else (self._channels,)
        if pcm.dtype != np.int16 or pcm.shape[1:] != shape:
            raise ArgumentError(f"pcm: int16 of {self._channels} channels, not {pcm.dtype} {pcm.shape}")
        flat = np.ascontiguousarray(pcm).reshape(-1)
        need = flat.size * (2 if self._encoding == 0 else 1)
        if self._bytes.size < need:
            self._bytes = np.empty(need, np.uint8)
        _core.wav_encode(self._encoding, flat, self._bytes)
        self._file.write(self._bytes[:need])
        self.frames += len(pcm)

    def close(self) -> None:
        """Put the header right and the file under its name; OutputError if promised ``frames`` did not
        come."""
        data = self.frames * self._channels * (2 if self._encoding == 0 else 1)
        try:
            if data % 2:
                self._file.write(b"\0")
            if self._promised != self.frames:
                if self._file.seekable:
                    self._file.overwrite(
                        0, _core.wav_header(self._encoding, self._rate_hz, self._channels, self.frames)
                    )
                elif self._promised is not None:
                    raise OutputError(
                        f"{self._file.path!r}: {self.frames} frames, {self._promised} announced"
                    )
        except BaseException:
            self.abort()
            raise
        self._file.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._file.abort()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
