"""RFC 2198: redundant rows fill losses and nothing else.

A redundant row stands beside its primary's: same sequence number and arrival, the block's own timestamp and payload
type, and the flag REDUNDANT.
"""

import dataclasses

import pytest

from callreplay.model import PacketFlag
from callreplay.order.legs import LegMedia, assemble
from tests.scenario.call import Call, Network, Packet, SyntheticScan
from tests.scenario.truth import numbers, placement_errors_ms


def with_redundancy(packets: list[Packet], generations: int = 1) -> list[list[Packet]]:
    """Each packet with copies of the ones before it, redundant blocks first, as they stand in the payload."""
    groups = []
    for index, packet in enumerate(packets):
        group = [packet]
        for back in range(1, min(generations, index) + 1):
            older = packets[index - back]
            group.insert(
                0,
                dataclasses.replace(
                    older,
                    sequence=packet.sequence,
                    arrival_ns=packet.arrival_ns,
                    flags=int(PacketFlag.REDUNDANT),
                ),
            )
        groups.append(group)
    return groups


def leg(generations: int, lost: set[int]) -> tuple[Call, LegMedia]:
    call = Call.between()
    call.caller.talk(4).advance(1.5).talk(4)
    packets = Network().carry(call.caller.packets, call.caller.start_ns)
    groups = with_redundancy(packets, generations)
    kept = [packet for index, group in enumerate(groups) if index not in lost for packet in group]
    return call, assemble(SyntheticScan(kept))[0].caller


def test_without_loss_redundancy_changes_nothing() -> None:
    call, media = leg(1, set())
    assert numbers(media).tolist() == list(range(400))
    assert media.statistics.lost == media.statistics.recovered == media.statistics.duplicates == 0
    assert abs(placement_errors_ms(media, call.caller.packets)).max() < 0.1


@pytest.mark.parametrize(("generations", "recovered"), [(1, 3), (2, 4)])
def test_losses_are_filled_as_far_as_the_generations_reach(generations: int, recovered: int) -> None:
    lost = {50, 100, 101, 300}
    call, media = leg(generations, lost)
    assert media.statistics.lost == 4
    assert media.statistics.recovered == recovered
    assert int(media.columns.gaps["packets"].sum()) == 4 - recovered
    assert len(numbers(media)) == 396 + recovered
    assert abs(placement_errors_ms(media, call.caller.packets)).max() < 0.1
    flagged = media.columns.flags & PacketFlag.REDUNDANT
    assert int((flagged != 0).sum()) == recovered


def test_a_block_that_repeats_across_a_pause_is_not_played_twice() -> None:
    # Packet 200 follows a pause; its redundant block repeats 199, whose timestamp lies 1.5 s back.
    call, media = leg(1, {100})
    assert numbers(media).tolist() == list(range(400))
    assert abs(placement_errors_ms(media, call.caller.packets)).max() < 0.1


def test_redundancy_alone_gives_no_audio() -> None:
    call = Call.between()
    call.caller.talk(1)
    packets = Network().carry(call.caller.packets, call.caller.start_ns)
    orphans = [dataclasses.replace(p, flags=int(PacketFlag.REDUNDANT)) for p in packets]
    assert len(assemble(SyntheticScan(orphans))[0].caller.columns.offset) == 0
