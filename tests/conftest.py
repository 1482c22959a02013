"""What holds for every test."""

import signal

# A job that a shell runs in the background ignores SIGINT, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
