"""Output files: written aside and renamed when whole; WAV in three encodings, streamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final

from callreplay.errors import OutputError, StateError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["AtomicFile"]


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
