"""The command line. Each command is a module of this package; a command's imports are paid for when it runs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["interrupted", "main"]

_INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def main() -> None:
    """Run ``callreplay``: exit code 0 for success, 1 for failure, 2 for bad arguments or bad input, 130 for Ctrl-C."""
    if sys.stderr is None:  # closed (2>&-): what is said goes nowhere, and no file of ours gets its number
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        os.set_inheritable(sys.stderr.fileno(), True)  # by workers
    from callreplay.cli.printable import careful_streams

    try:
        with careful_streams():
            _run()
    except KeyboardInterrupt:
        code: str | int | None = _INTERRUPTED
    except SystemExit as left:
        code = left.code
    except Exception as error:
        if not interrupted(error):
            raise
        code = _INTERRUPTED
    else:
        code = 0
    if code == _INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
        print("callreplay: interrupted", file=sys.stderr)
    sys.exit(code)


def interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C, or its like, is behind it: an extension that is being loaded says that it could not be."""
    seen: set[int] = set()  # an error that is raised again where another is handled may stand behind itself
    while error is not None and not isinstance(error, KeyboardInterrupt) and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt)


def _run() -> None:
    # NumPy's linear algebra starts a thread for each core and has nothing to do here; workers inherit it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:] == [
        "--version"
    ]:  # what scripts ask for often, and Typer takes a tenth of a second to say
        from callreplay._version import __version__

        print(f"callreplay {__version__}")
        return
    with _loading():
        # What all of it needs, NumPy within. It comes first, since Python gives a part of its stack back and takes it
        # again with each call that crosses the part's end: far down, NumPy's import did so four hundred times.
        from callreplay.cli.extras import missing
        from callreplay.cli.printable import printable
        from callreplay.errors import CallReplayError, OutputError

    try:
        with _loading():
            command = _command()
        code = command()
    except CallReplayError as error:
        print(printable(f"callreplay: {error}", lines=True), file=sys.stderr)
        sys.exit(1 if isinstance(error, OutputError | MemoryError) else 2)
    except ModuleNotFoundError as error:
        if not missing(error):
            raise
        print(f"callreplay: this {missing(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our standard output has gone; nothing is left to say to it.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        print(printable(f"callreplay: {error}", lines=True), file=sys.stderr)
        sys.exit(2 if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError) else 1)
    if isinstance(code, int) and code:
        sys.exit(code)


@contextmanager
def _loading() -> Iterator[None]:
    """Load what a command needs without the collector, which would find that nothing of it is garbage.

    What is there by the end is not looked through later either, nor taken apart when the process ends: both took a
    seventh of what ``transcode`` of a short call takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _command() -> Callable[[], Any]:
    """What the command line asks for, loaded, to be called for an exit status."""
    from callreplay.cli.plain import plainly

    return plainly(sys.argv[1:]) or _of_typer()


def _of_typer() -> Callable[[], Any]:
    """Typer's reading of the command line, with the command that it names."""
    import typer
    from typer.main import get_command

    from callreplay.cli.app import build

    # Typer has its own copy of click, or click itself, by its version.
    usage_error: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    command = get_command(build())

    def run() -> Any:
        try:
            return command.main(prog_name="callreplay", standalone_mode=False)
        except usage_error as error:
            sys.exit(_say_usage(error))

    return run


def _say_usage(error: Any) -> int:
    """What is wrong with the arguments, in one line as everything that is wrong."""
    if type(error).__name__ != "NoArgsIsHelpError":  # whose help is shown already
        path = error.ctx.command_path if getattr(error, "ctx", None) else "callreplay"
        text = " ".join(error.format_message().split()).rstrip(".")
        stop = "" if text.endswith("?") else "."
        print(f"callreplay: {text}{stop} {path} --help tells more.", file=sys.stderr)
    return int(error.exit_code)
