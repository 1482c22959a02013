"""What holds for every test."""

import os
import signal

from hypothesis import settings

# A job that a shell runs in the background ignores SIGINT, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, so that a failure is the doing of the change under test; CALLREPLAY_EXPLORE=1 draws
# new ones, and what it finds becomes an @example.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile("explore" if os.environ.get("CALLREPLAY_EXPLORE") else "repeatable")
