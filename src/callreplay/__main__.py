"""``python -m callreplay``: the command line."""

from __future__ import annotations

from callreplay.cli import main

if __name__ == "__main__":
    main()
