"""RTCP sender reports: believed only where clocks can be believed."""

from dataclasses import dataclass

from callreplay.order.legs import CallMedia, assemble
from tests.scenario.call import Call, Direction, Network


@dataclass(frozen=True)
class Report:
    arrival_ns: int
    ssrc: int
    ntp_ns: int
    rtp_timestamp: int


def reports(
    direction: Direction, delay_ms: float, clock_error_ns: int = 0, wobble_ns: int = 0
) -> list[Report]:
    found = []
    for index, packet in enumerate(direction.packets[50::100]):
        ntp = packet.sent_ns + clock_error_ns + (wobble_ns if index % 2 else 0)
        found.append(Report(packet.sent_ns + round(delay_ms * 1e6), packet.ssrc, ntp, packet.timestamp))
    return found


def called(error_ns: int = 0, other_error_ns: int = 0, wobble_ns: int = 0) -> tuple[Call, CallMedia]:
    call = Call.between()
    call.networks = (Network(5), Network(85))
    call.caller.talk(20)
    call.called.talk(20)
    listed = [
        *reports(call.caller, 5, error_ns, wobble_ns),
        *reports(call.called, 85, other_error_ns, wobble_ns),
    ]
    return call, assemble(call.scan(), reports=listed)[0]


def offset_ms(call: Call, media: CallMedia) -> float:
    """How far the called's leg stands from where it was sent, against the caller's."""
    sent = call.called.packets[0].sent_ns - call.caller.packets[0].sent_ns
    return (media.called.start_ns - media.caller.start_ns - sent) * 1e-6


def test_synchronised_clocks_take_the_network_out() -> None:
    call, media = called()
    assert abs(offset_ms(call, media)) < 0.1
    assert any("sender reports moved the called's leg 80.0 ms" in text for text in media.warnings)


def test_unsynchronised_clocks_move_nothing() -> None:
    for errors in ((3_600_000_000_000, 0), (0, -500_000_000), (400_000_000, 400_000_000)):
        call, media = called(*errors)
        assert abs(offset_ms(call, media) - 80) < 0.1
        assert any("unsynchronised" in text for text in media.warnings)


def test_reports_that_disagree_among_themselves_move_nothing() -> None:
    call, media = called(wobble_ns=50_000_000)
    assert abs(offset_ms(call, media) - 80) < 0.1


def test_a_leg_without_reports_moves_nothing() -> None:
    call = Call.between()
    call.networks = (Network(5), Network(85))
    call.caller.talk(20)
    call.called.talk(20)
    media = assemble(call.scan(), reports=reports(call.caller, 5))[0]
    assert abs(offset_ms(call, media) - 80) < 0.1


def test_a_sender_whose_clock_is_wrong_by_more_than_paths_differ_is_told_and_not_followed() -> None:
    """Its reports put the called's media 80 + 120 ms before it arrived: lawful for one path, not against the other."""
    call, media = called(0, -120_000_000)
    assert abs(offset_ms(call, media) - 80) < 0.1
    assert any("more than paths differ by" in text for text in media.warnings)
