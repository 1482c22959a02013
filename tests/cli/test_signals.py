"""Handlers of signals come in the middle of anything."""

import io
import sys
import threading

import pytest

from callreplay.cli import signals


class _Interrupted(io.RawIOBase):
    """A stream in whose first write a signal comes."""

    def __init__(self) -> None:
        self.octets = b""
        self.once = True

    def writable(self) -> bool:
        return True

    def write(self, octets: object, /) -> int:
        if self.once:
            self.once = False
            signals.say("to be stopped")
        self.octets += bytes(octets)  # type: ignore[call-overload]
        return len(octets)  # type: ignore[arg-type]


def test_a_line_may_come_in_the_middle_of_another(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = _Interrupted()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True))
    print("a warning", file=sys.stderr)
    signals.say("and again")
    assert raw.octets == b"a warning\nand again\n"
    assert capfd.readouterr().err == "to be stopped\n"


def test_an_event_is_set_though_its_lock_is_held() -> None:
    event = threading.Event()
    handler = signals.setter(event)
    with event._cond:  # type: ignore[attr-defined]
        handler(15, None)
        assert not event.is_set()
    assert event.wait(30)
