"""The command line. Each command is a module of this package; a command's imports are paid for when it runs."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``callreplay``: exit code 0 for success, 1 for failure, 2 for bad arguments or bad input."""
    from callreplay.cli.app import app

    sys.exit(app())
