"""Reports: everything known of a call as plain JSON data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from callreplay.audio.levels import LevelMeter, Levels
from callreplay.audio.mix import Renderer
from callreplay.audio.speech import SpeechMeter, Talk, conversation
from callreplay.clock import utc
from callreplay.model import GapReason

if TYPE_CHECKING:
    from callreplay.capture import Call, Leg

__all__ = ["call_report", "leg_report", "schema"]

_NS: Final = 1_000_000_000


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what ``Capture.report`` returns and ``callreplay info --json`` prints.

    >>> schema()["$defs"]["statistics"]["properties"]["lost"]["type"]
    'integer'
    """
    path = Path(__file__).with_name("report.schema.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def call_report(call: Call, *, audio: bool) -> dict[str, Any]:
    """The report of one call. ``audio`` decodes the legs to measure level, clipping, silence and who talks when."""
    said = call.description
    legs = [leg_report(leg, call.start_ns, audio=audio) for leg in call.legs]
    clipped = _clipped(call, legs) if audio else 0
    warnings = call.all_warnings()  # with what decoding the legs has brought to light
    if clipped:
        warnings.append(
            f"the legs' sum clips at {clipped} samples: keep them apart (stereo), or use the limiter or loudness"
        )
    report: dict[str, Any] = {
        "number": call.number,
        "start": utc(call.start_ns),
        "duration_s": round(call.duration_s, 6),
        "call_id": said.call_id,
        "protocol": said.protocol,
        "status": said.status,
        "begun_before": said.begun_before,
        "caller": {"number": said.caller_number, "name": said.caller_name, "address": said.caller_address},
        "called": {
            "number": said.called_number,
            "name": said.called_name,
            "address": said.called_address,
            "numbers": list(said.called_numbers),
        },
        "sides_inferred": call.sides_inferred,
        "related": list(said.related),
        "diversions": [diversion._asdict() for diversion in said.diversions],
        "one_way": any(leg.empty for leg in call.legs),
        "encrypted": call.encrypted,
        "warnings": warnings,
        "undecoded": call.undecoded,
        "set_aside": [one.report() for one in call.aside],
        "why": [verdict.report() for verdict in call.verdicts],
        "legs": legs,
    }
    if audio:
        report["mix"] = {"clipped_samples": clipped}
        caller, called = ([Talk(**talk) for talk in leg.get("talk", ())] for leg in legs)
        report["speech"] = asdict(conversation(caller, called, call.duration_s))
    return report


def _clipped(call: Call, legs: list[dict[str, Any]]) -> int:
    """How many samples of the mono mix leave int16. Only legs that are loud enough for it are mixed for that."""
    peaks = [leg.get("levels", {}).get("peak_dbfs") for leg in legs]
    if None in peaks or sum(10 ** (peak / 20) for peak in peaks) < 0.9:  # resampling may overshoot
        return 0
    renderer = Renderer(
        [leg.columns for leg in call.legs],
        call.sample_rate_hz,
        "stereo",
        events=[leg.events for leg in call.legs],
        external=[leg.external() for leg in call.legs],
    )
    sums = (block.sum(axis=1, dtype=np.int32) for block in renderer)
    return sum(int(np.count_nonzero((mix > 32767) | (mix < -32768))) for mix in sums)


def leg_report(leg: Leg, start_ns: int, *, audio: bool) -> dict[str, Any]:
    """The report of one leg; times in seconds from ``start_ns``."""
    report: dict[str, Any] = {
        "side": leg.side,
        "codecs": [str(codec) for codec in leg.codecs],
        "flows": [f"{f.source}:{f.source_port} > {f.destination}:{f.destination_port}" for f in leg.flows],
        "statistics": asdict(leg.statistics),
        "spans": [
            {
                "codec": str(span.codec),
                "payload_type": span.payload_type,
                "ssrc": f"{span.ssrc:#010x}",
                "start_s": round((span.anchor_ns - start_ns) / _NS, 6),
                "duration_s": round(span.end_tick / span.codec.clock_rate_hz, 6),
                "packets": span.stop - span.first,
                "drift_ppm": round(span.drift_ppm, 1),
                "inferred": span.inferred,
            }
            for span in leg.columns.spans
        ],
        "gaps": _gaps(leg),
        "events": [
            {
                "digit": event.digit,
                "start_s": round((event.start_ns - start_ns) / _NS, 6),
                "duration_ms": round(event.duration_ms, 3),
            }
            for event in leg.events
        ],
    }
    if audio and not leg.empty:
        levels, talk = _heard(leg)
        report["levels"] = asdict(levels)
        report["talk"] = [asdict(each) for each in talk]
    return report


def _gaps(leg: Leg) -> list[dict[str, Any]]:
    found = []
    for span, start, ticks, packets, reason in leg.columns.gaps.tolist():
        clock = leg.columns.spans[span].codec.clock_rate_hz
        found.append(
            {
                "span": span,
                "start_s": round(start / clock, 6),
                "duration_s": round(ticks / clock, 6),
                "packets": packets,
                "reason": GapReason(reason).name.lower(),
            }
        )
    return found


def _heard(leg: Leg) -> tuple[Levels, list[Talk]]:
    """Levels and talk of the leg's own audio, in one pass of bounded memory, whatever the length."""
    renderer = Renderer([leg.columns], leg.sample_rate_hz, "mono", dtmf="keep", external=[leg.external()])
    meter, speech = LevelMeter(renderer.rate_hz), SpeechMeter(renderer.rate_hz, leg.offset_s)
    for block in renderer:
        meter.write(block)
        speech.write(block)
    return meter.result(), speech.result()
