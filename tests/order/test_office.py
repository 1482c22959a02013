"""Many calls at once: no packet is in another call, whatever the phones do with their ports."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callreplay import signalling
from callreplay.model import CallDescription
from callreplay.order.aside import Aside
from callreplay.order.grouping import signalled_groups
from callreplay.order.legs import assemble
from callreplay.order.taps import gather_facts
from callreplay.signalling.related import Hint, relate
from tests.laws import grows_no_faster, nothing_goes_unsaid
from tests.scenario.office import Office, foreign


def placed(office: Office) -> int:
    """Foreign packets; every announced call must be there with both legs, and every packet be accounted for."""
    scan = office.scan()
    unplaced: list[Aside] = []
    calls = assemble(scan, signalling.calls_of(office.messages), unplaced=unplaced)
    nothing_goes_unsaid(scan, calls, unplaced)
    named = {media.description.call_id: media for media in calls if media.description is not None}
    assert named.keys() == office.truth.keys()
    assert not any(media.one_way for media in named.values())
    assert not any(media.aside for media in calls)
    return foreign(calls, office.truth)


KINDS: dict[str, dict[str, float]] = {
    "one port": {},
    "no bye": {"byes": 0.0},
    "nat": {"byes": 0.5, "nat": 0.5},
    "ports": {"one_port": False},
    "server": {"server": True},
    "one ssrc": {"keep_ssrc": True},
}


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_no_packet_is_in_another_call(count: int, kind: str) -> None:
    assert placed(Office(count, **KINDS[kind]).make()) == 0  # type: ignore[arg-type]


def test_no_packet_is_in_another_call_of_two_thousand() -> None:
    assert placed(Office(2000, byes=0.5, nat=0.5, seconds=0.1).make()) == 0


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(2, 24), st.integers(0, 1 << 20), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]), st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_no_packet_is_in_another_call_whatever_the_office_does(
    count: int,
    seed: int,
    one_port: bool,
    byes: float,
    mid_call: bool,
    nat: float,
    keep_ssrc: bool,
    server: bool,
) -> None:
    assert placed(Office(count, seed, one_port, byes, mid_call, nat, keep_ssrc, server).make()) == 0


def test_matching_grows_with_the_calls_not_with_their_square() -> None:
    def matching(count: int) -> Callable[[], object]:
        office = Office(count, seconds=0.1).make()
        facts = gather_facts(office.scan())
        descriptions = signalling.calls_of(office.messages)
        return lambda: signalled_groups(facts, descriptions)

    grows_no_faster(matching, 150, 1800)


def test_relating_dialogs_grows_with_the_dialogs_not_with_their_square() -> None:
    """Calls of a load generator through one B2BUA: every dialog has the numbers and the socket of all others."""

    def relating(count: int) -> Callable[[], object]:
        calls, hints = [], []
        for number in range(count):
            call = CallDescription(
                f"{number}-load@a", "sip", "sipp", "", "service", start_ns=number * 1_000_000
            )
            near = number % 2 == 0
            hint = Hint(offered={("caller", "10.0.0.1" if near else "10.0.0.9", 6000)})
            hint.senders, hint.receivers = {("10.0.0.1", 5060)}, {("10.0.0.9", 5060)}
            if not near:
                hint.senders, hint.receivers = {("10.0.0.9", 5060)}, {("10.0.0.2", 5060)}
            calls.append(call)
            hints.append(hint)

        def run() -> None:
            relate(calls, hints)
            # The first far hop has one near hop to belong to; of all others nothing tells which.
            assert sum(bool(call.related) for call in calls) == 2

        return run

    grows_no_faster(relating, 100, 1200)
