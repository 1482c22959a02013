"""Output files: written aside and named when whole."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Final

from callreplay.errors import OutputError, StateError
from callreplay.outputs.finishing import finish

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer as Buffer

__all__ = ["AtomicFile", "Folders", "write_all"]


_MODE: Final = 0o666  # less the umask, as for any file that a program makes
_BUFFER: Final = 1 << 13


@lru_cache(1)
def _nameable() -> bool:
    """Whether a file without a name can be given one: by what /proc calls it."""
    return os.path.isdir("/proc/self/fd")  # noqa: PTH112


def _open_unnamed(folder: str, mode: int) -> int | None:
    """A file of this folder that has no name yet; None where there is no such thing (or no /proc to name it by)."""
    flag = getattr(os, "O_TMPFILE", 0)
    if not flag or not _nameable():
        return None
    try:
        return os.open(folder, os.O_RDWR | flag | os.O_CLOEXEC, mode)
    except OSError as error:
        # What the file system says that cannot do it; anything else is said again, better, by the named file.
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            return None
        raise


class _Alone:
    """An open folder in which one file gets its name."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def flush(self) -> None:
        """Put its names on the disk."""
        # Some file systems refuse, and lose nothing by it.
        with contextlib.suppress(OSError):
            os.fsync(self.descriptor)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[_Alone]:
    folder = _Alone(path)
    try:
        yield folder
    finally:
        os.close(folder.descriptor)


class _Folder(_Alone):
    """An open folder, whose names are put on the disk for all who wait for that at the same time."""

    def __init__(self, path: str) -> None:
        import threading

        super().__init__(path)
        self.users = 0
        self._turn = threading.Condition()
        self._begun = self._done = 0  # flushes; one at a time
        self._busy = False

    def flush(self) -> None:
        """Return when a flush is through that began after this was called."""
        with self._turn:
            mine = self._begun + 1
            while self._busy and self._done < mine:
                self._turn.wait()
            if self._done >= mine:
                return
            self._begun += 1
            number, self._busy = self._begun, True
        super().flush()
        with self._turn:
            self._done, self._busy = number, False
            self._turn.notify_all()


class Folders:
    """The folders of files that threads close: those that get their names at the same time wait for one flush."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._open: dict[str, _Folder] = {}

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[_Folder]:
        """The folder at ``path``, open as long as somebody uses it."""
        with self._lock:
            folder = self._open.get(path)
            if folder is None:
                folder = self._open[path] = _Folder(path)
            folder.users += 1
        try:
            yield folder
        finally:
            with self._lock:
                folder.users -= 1
                if not folder.users:
                    del self._open[path]
                    os.close(folder.descriptor)


def _name(descriptor: int, path: str, folder: int) -> None:
    # A folder's descriptor makes os.link call linkat(), which alone follows /proc's link to the file.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=folder, follow_symlinks=True)


def _hidden(target: str) -> str:
    """What a file is called before it is ``target``, in the same folder."""
    folder, name = os.path.split(target)
    # Octets are cut from a long name, not characters: a name has at most 255.
    name = os.fsdecode(os.fsencode(name)[:200])
    return os.path.join(folder, f".{name}.{os.urandom(6).hex()}.part")  # noqa: PTH118


def _keep_rights(descriptor: int, old: os.stat_result) -> None:
    """Give a new file that is its owner's alone the rights of the one it replaces, as far as we may."""
    new = os.fstat(descriptor)
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if new.st_gid != old.st_gid:
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= mode << 3 | 0o707  # another group may do what everybody may
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, mode)
        if new.st_uid != old.st_uid:
            os.fchown(descriptor, old.st_uid, -1)


def write_all(file: IO[bytes], data: Buffer) -> int:
    """Write every octet of ``data``; how many. Under PYTHONUNBUFFERED standard output may take less at a time."""
    left = memoryview(data).cast("B")
    size = len(left)
    done = file.write(left) if size else 0
    while done < size:
        done += file.write(left[done:])
    return size


class AtomicFile:
    """A binary file that appears under its name only when it is whole.

    Bytes go to a file without a name in the same directory, of which nothing is left when the process is
    killed (where the file system has no such files: to a hidden one, ``.NAME.*.part``); :meth:`close` flushes
    it to the disk and names it ``path``, :meth:`abort` (or leaving a ``with`` block by an exception) drops it,
    so that nothing partial ever stands under the final name. Mode, owner and group of a file that it replaces are kept,
    as far as the process may set them; setuid and setgid are not. ``-`` is standard output; pipes, sockets and
    devices are written in place, for they cannot be renamed. ``folders`` are shared by files that several threads
    close. Raises OutputError, with the path, when anything of this fails.
    """

    def __init__(self, path: str | os.PathLike[str], folders: Folders | None = None) -> None:
        self.path: Final = os.fspath(path)
        self._folders = folders
        self._fresh = False  # nothing stood under the name
        self._aside: str | None = None
        self._target: str | None = None
        self._place = ""  # the folder of the target
        self._named = False
        self._file: IO[bytes] | None = None
        self._descriptor = -1  # of a file that is ours to close
        try:
            self._open()
        except OSError as error:
            raise self._failed("cannot write", error) from error

    def _open(self) -> None:
        if self.path == "-":
            self._file = sys.stdout.buffer
            return
        target = self.path.rstrip("/") or "/"
        if not os.path.isabs(target):  # noqa: PTH117  # it stays there, wherever the process goes meanwhile
            target = os.path.join(os.getcwd(), target)  # noqa: PTH109, PTH118
        old: os.stat_result | None = None
        try:
            found = os.lstat(target)
        except FileNotFoundError:
            found = None
        if found is not None:
            if stat.S_ISLNK(found.st_mode):
                # A symbolic link keeps pointing where it points: its target is replaced.
                from pathlib import Path  # which programs that write one file need for nothing else

                target = str(Path(target).resolve())
                with contextlib.suppress(FileNotFoundError):
                    old = os.stat(target)  # noqa: PTH116
            else:
                old = found
        if old is not None:
            if stat.S_ISDIR(old.st_mode):
                raise IsADirectoryError(21, "it is a folder")
            if not stat.S_ISREG(old.st_mode):
                self._file = open(target, "wb")  # noqa: PTH123, SIM115
                return
        mode = 0o600 if old else _MODE
        self._place = os.path.dirname(target)  # noqa: PTH120
        descriptor = _open_unnamed(self._place, mode)
        if descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
            self._aside = _hidden(target)
            descriptor = os.open(self._aside, flags, mode)
            self._named = True
        self._descriptor = descriptor
        if old:
            _keep_rights(descriptor, old)
        self._fresh = old is None
        # With a buffer of a size that is named, nobody asks whether it is a terminal.
        self._file = open(descriptor, "wb", _BUFFER, closefd=False)  # noqa: SIM115
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
            return write_all(file, data)
        except OSError as error:
            raise self._failed("cannot write", error) from error

    def close(self) -> None:
        """Make the file whole under its name. Does nothing the second time."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.flush()
            if self._target is None:
                if file is not sys.stdout.buffer:
                    file.close()
                return
            opened = self._folders.opened if self._folders else _alone
            with opened(self._place) as folder:
                self._appear(self._descriptor, folder.descriptor, self._target)
                # The name itself is on the disk only when its folder is.
                folder.flush()
        except OSError as error:
            self._file = file
            self.abort()
            raise self._failed("cannot finish", error) from error

    def _appear(self, descriptor: int, folder: int, target: str) -> None:
        """Put the whole file on the disk, under its name, and close it."""
        if self._fresh and not self._named:
            if finish(descriptor, target):
                self._descriptor = -1
                return
        else:
            os.fsync(descriptor)
        if self._aside is None:
            aside = _hidden(target)
            _name(descriptor, aside, folder)
            self._aside, self._named = aside, True
        os.replace(self._aside, target)  # noqa: PTH105
        self._aside = None
        self._shut()

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def abort(self) -> None:
        """Leave nothing behind. What went to a pipe is gone already."""
        file, self._file = self._file, None
        if file is not None and file is not sys.stdout.buffer:
            with contextlib.suppress(OSError):
                file.close()
        with contextlib.suppress(OSError):
            self._shut()
        if self._aside is not None and self._named:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._aside)  # noqa: PTH108
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
        if getattr(self, "_file", None) is not None or getattr(self, "_descriptor", -1) >= 0:
            self.abort()
