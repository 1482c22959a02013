"""Many calls at once: no packet is in another call, whatever the phones do with their ports."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callreplay import signalling
from callreplay.order.aside import Aside
from callreplay.order.grouping import signalled_groups
from callreplay.order.legs import assemble
from callreplay.order.taps import gather_facts
from tests.laws import nothing_goes_unsaid
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


@pytest.mark.parametrize("count", [20, 200, 2000])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"byes": 0.0},
        {"byes": 0.5, "nat": 0.5},
        {"one_port": False},
        {"server": True},
        {"keep_ssrc": True},
    ],
    ids=["one port", "no bye", "nat", "ports", "server", "one ssrc"],
)
def test_no_packet_is_in_another_call(count: int, kind: dict[str, float]) -> None:
    office = Office(count, seconds=0.2 if count > 200 else 0.6, **kind)  # type: ignore[arg-type]
    assert placed(office.make()) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(2, 40), st.integers(0, 1 << 20), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]), st.booleans(),
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
    seconds = []
    for count in (500, 2000):
        office = Office(count, seconds=0.1).make()
        facts = gather_facts(office.scan())
        descriptions = signalling.calls_of(office.messages)
        start = time.process_time()
        signalled_groups(facts, descriptions)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 16 * max(seconds[0], 0.02)
