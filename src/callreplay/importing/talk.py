"""Who talks how long in a call that is filed: its legs are decoded for that, so it is done where it is asked for."""

from __future__ import annotations

import logging
from typing import Any

from callreplay import packets
from callreplay.audio.speech import Conversation
from callreplay.call import Call
from callreplay.importing.filing import CaptureRows
from callreplay.order.legs import CallMedia

__all__ = ["columns_of", "heard", "measure"]

_log = logging.getLogger(__name__)


def columns_of(figures: Conversation) -> dict[str, int]:
    """The figures as columns of ``calls``."""
    found = {name: _ms(getattr(figures, f"{name}_s")) for name in ("talk", "silence", "overlap")}
    columns = {f"{name}_ms": value for name, value in found.items()}
    for side, party in (("caller", figures.caller), ("called", figures.called)):
        columns[f"{side}_talk_ms"] = _ms(party.talk_s)
        columns[f"{side}_monologue_ms"] = _ms(party.longest_monologue_s)
        columns[f"{side}_interruptions"] = party.interruptions
    return columns


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def heard(call: Call) -> dict[str, int]:
    """The columns of a call; none where it is encrypted, or a part of it cannot be decoded here."""
    if call.encrypted or call.undecoded or all(leg.empty for leg in call.legs):
        return {}
    columns = columns_of(call.speech())
    return {} if call.undecoded else columns  # some of it shows only when it is decoded


def measure(media: CallMedia, rows: CaptureRows, scan: Any) -> dict[str, int]:
    """As `heard`, of a call as it lies in a capture; never raises, for a figure must not cost its call."""
    try:
        return heard(Call(1, media, rows.name, packets.why_encrypted(media, [scan])))
    except Exception as error:
        _log.warning("%s: who talks how long was not measured", rows.name, exc_info=error)
        return {}
