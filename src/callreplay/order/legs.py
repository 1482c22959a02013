"""Captures and signalling in, calls with two ordered legs out: the front door of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.evidence import Verdict
from callreplay.model import (
    CallDescription,
    Event,
    LegColumns,
    MediaDescription,
    Side,
    Stream,
    check_intact,
)
from callreplay.order.alignment import SenderReport, align_by_reports
from callreplay.order.arrange import arrange, ns_of
from callreplay.order.aside import Aside
from callreplay.order.callgaps import mark_call_gaps
from callreplay.order.copies import without_copies
from callreplay.order.events import collect_events, event_span, signalled_events
from callreplay.order.grouping import (
    Group,
    signalled_groups,
    unsignalled_groups,
)
from callreplay.order.matching import endpoint
from callreplay.order.short import order_plainly
from callreplay.order.statistics import LegStatistics, measure
from callreplay.order.streams import BLOCK, OrderedStream, Packets, order_stream
from callreplay.order.taps import StreamFacts, gather_facts
from callreplay.packets.arena import Arena, release

__all__ = ["CallMedia", "LegMedia", "assemble"]


_COLUMN_BYTES: Final = 4 << 20  # half a million rows: an hour's call stays in memory


@dataclass(slots=True)
class LegMedia:
    """One direction of a call, in order.

    ``start_ns`` and ``end_ns`` are absolute times of the first and the end of the last media; equal when ``empty``.
    """

    side: Side
    columns: LegColumns
    events: list[Event] = field(default_factory=list)
    statistics: LegStatistics = field(default_factory=LegStatistics)
    streams: list[Stream] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether the leg has no packet of media; one of nothing but events has a span of their time."""
        return not len(self.columns.offset)

    @property
    def start_ns(self) -> int:
        """Absolute time of the first media, 0 for an empty leg."""
        return self.columns.spans[0].anchor_ns if self.columns.spans else 0

    @property
    def end_ns(self) -> int:
        """Absolute end of the last media, 0 for an empty leg."""
        return max((ns_of(span, span.end_tick) for span in self.columns.spans), default=0)

    @property
    def codec(self) -> Codec | None:
        """The codec of most of the leg's packets."""
        spans = self.columns.spans
        if len(spans) == 1:
            return spans[0].codec
        return max(spans, key=lambda span: span.stop - span.first).codec if spans else None


@dataclass(slots=True)
class CallMedia:
    """A call: two legs (one may be empty) on one timeline from ``start_ns`` to ``end_ns``.

    ``sides_inferred``: nothing but a guess says who called whom. ``guesses`` and ``warnings`` go into the report.
    """

    caller: LegMedia
    called: LegMedia
    description: CallDescription | None = None
    sides_inferred: bool = False
    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)  # what its legs do not play, and why
    verdicts: list[Verdict] = field(default_factory=list)  # what was weighed on the way

    @property
    def copies(self) -> int:
        """Streams set aside because they carry what another one carries."""
        return sum(one.kind == "copy" for one in self.aside)

    @property
    def legs(self) -> tuple[LegMedia, LegMedia]:
        """Caller, called."""
        return self.caller, self.called

    @property
    def start_ns(self) -> int:
        """Start of the timeline: the first media of either leg."""
        return min((leg.start_ns for leg in self.legs if not leg.empty), default=0)

    @property
    def end_ns(self) -> int:
        """End of the timeline."""
        return max((leg.end_ns for leg in self.legs), default=0)

    @property
    def one_way(self) -> bool:
        """Whether one side has no media."""
        return self.caller.empty != self.called.empty


def assemble(
    scans: Packets | Sequence[Packets],
    descriptions: Sequence[CallDescription] = (),
    hints: Mapping[int, Codec] | None = None,
    reports: Sequence[SenderReport] = (),
    arena: Arena | None = None,
    unplaced: list[Aside] | None = None,
) -> list[CallMedia]:
    """Every call of one capture, or the one call of two captures (first the caller's leg, then the called's).

    ``descriptions`` are what signalling says, ``hints`` payload types the user names, ``reports`` the RTCP sender
    reports of the captures. What is no audio of any call is added to ``unplaced``. Columns of 4 MiB and more live in
    temporary files (see ``Arena``). Damage is data: nothing in a capture raises; ValueError for more than two captures,
    OutputError where a file shrank or the temporary directory is full.
    """
    several = [scans] if not isinstance(scans, Sequence) else list(scans)
    if len(several) > 2:
        raise ValueError(f"one capture, or one for each leg; got {len(several)}")
    builder = _Builder(several, dict(hints or {}), reports, arena or Arena(_COLUMN_BYTES))
    if len(several) == 2:
        groups = [
            _group_of_files([gather_facts(scan, index) for index, scan in enumerate(several)], descriptions)
        ]
        calls = [builder.call(group) for group in groups if group.packets]
        builder.check()
        return calls
    facts = gather_facts(several[0]) if several else []
    groups, left, aside = signalled_groups(facts, descriptions)
    groups += unsignalled_groups(left)
    if several:
        without_copies(several[0], groups)
    calls = [builder.call(group) for group in groups if group.packets]
    builder.check()
    if len(calls) > 1:
        calls.sort(key=lambda call: call.start_ns)
    if unplaced is not None:
        unplaced += aside
    return calls


def _group_of_files(files: Sequence[Sequence[StreamFacts]], descriptions: Sequence[CallDescription]) -> Group:
    group = Group(descriptions[0] if len(descriptions) == 1 else None)
    group.legs = {"caller": list(files[0]), "called": list(files[1])}
    for side, leg in group.legs.items():
        hosts = {(fact.stream.flow.source, fact.stream.flow.source_port) for fact in leg}
        if len(hosts) > 1:
            group.guesses.append(f"the {side}'s file holds {len(hosts)} senders; all taken for one leg")
    return group


@dataclass(slots=True)
class _Builder:
    scans: Sequence[Packets]
    hints: Mapping[int, Codec]
    reports: Sequence[SenderReport]
    arena: Arena

    def check(self) -> None:
        """Raise OutputError where a file failed that columns or packets lie in."""
        for scan in self.scans:
            check_intact(scan.data, scan.spill)
        self.arena.check()

    def call(self, group: Group) -> CallMedia:
        """Order both legs of a group and set them on one timeline."""
        legs: dict[Side, LegMedia] = {}
        ordered: dict[Side, list[OrderedStream]] = {}
        parallel: dict[Side, list[Aside]] = {}
        sides: tuple[Side, Side] = ("caller", "called")
        for side in sides:
            legs[side], ordered[side], parallel[side] = self._leg(group, side)
        if legs["caller"].empty and legs["called"].empty:
            for side, leg in legs.items():
                if leg.events and ordered[side]:
                    leg.columns.spans = [event_span(ordered[side][0], leg.events)]
        call = CallMedia(
            legs["caller"],
            legs["called"],
            group.description,
            group.sides_inferred,
            list(dict.fromkeys(group.guesses)),
            aside=[*group.aside, *(one for side in sides for one in parallel[side])],
            verdicts=[
                *group.verdicts,
                *(said for side in sides for one in ordered[side] for said in one.evidence),
            ],
        )
        if self.reports:
            columns = {side: leg.columns for side, leg in legs.items()}
            call.warnings += align_by_reports(columns, ordered, self.reports)
        if call.one_way:
            call.warnings.append(f"one-way: the {'called' if call.called.empty else 'caller'} sent no media")
        mark_call_gaps(call.caller.columns, call.called.columns)
        for side in sides:
            leg = legs[side]
            leg.statistics = measure(ordered[side], leg.columns.gaps, leg.codec)
            if parallel[side]:
                leg.statistics.parallel = sum([one.packets for one in parallel[side]])
        return call

    def _ordered(
        self, scan: Packets, stream: Stream, signalled: Sequence[Mapping[int, Codec]]
    ) -> OrderedStream:
        plain = order_plainly(scan, stream, signalled, self.hints, self.arena)
        return plain if plain is not None else order_stream(scan, stream, signalled, self.hints, self.arena)

    def _leg(self, group: Group, side: Side) -> tuple[LegMedia, list[OrderedStream], list[Aside]]:
        facts = group.legs[side]
        if len(facts) > 1:
            facts = sorted(facts, key=lambda fact: fact.first_ns)
        scan = self.scans[facts[0].scan] if facts else self.scans[0]
        streams = [
            self._ordered(scan, fact.stream, _payload_types(group.description, side, fact)) for fact in facts
        ]
        events = [
            event for ordered in streams if ordered.events.payloads for event in collect_events(ordered)
        ]
        if events or group.description is not None:
            events.sort(key=lambda event: event.start_ns)
            events += signalled_events(group.description, side, events)
            events.sort(key=lambda event: event.start_ns)
        columns, aside = arrange(scan, streams, self.arena)
        if len(columns.offset) >= BLOCK:
            release(columns.offset, columns.size, columns.timestamp, columns.arrival_ns, columns.sequence)
        leg = LegMedia(side, columns, events, streams=[fact.stream for fact in facts])
        if aside:
            leg.warnings += [str(one) for one in aside]
        for ordered in streams:
            if said := [*ordered.tables.resolution.warnings, *ordered.warnings]:
                name = f"SSRC {ordered.stream.ssrc:#010x}: "
                leg.warnings += [name + text for text in said]
        return leg, streams, aside


def _payload_types(
    description: CallDescription | None, side: Side, fact: StreamFacts
) -> list[Mapping[int, Codec]]:
    """Payload type maps for a stream that ``side`` sends, the likeliest first.

    RFC 3264 section 5.1: the numbers are those of the receiver's description; the sender's own stand second. Of the
    receivers (a forked call has several) the one that the stream goes to is meant, and of its descriptions the one that
    held when the stream began, then what came after.
    """
    if description is None:
        return []

    def rank(media: MediaDescription) -> tuple[bool, bool, bool, int]:
        end = endpoint(fact.stream.flow, source=media.side == side)
        later = media.valid_from_ns > fact.first_ns
        nearest = media.valid_from_ns if later else -media.valid_from_ns
        return media.side == side, (media.address, media.port) != end, later, nearest

    return [media.payload_types for media in sorted(description.media, key=rank)]
