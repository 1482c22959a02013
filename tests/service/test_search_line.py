"""What people type into the search line."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.service.search_line import read
from callreplay.store.query import PARAMETERS, CallQuery
from callreplay.store.readings import ParameterError

SUNDAY = date(2026, 3, 1)


def days(first: str, last: str) -> dict[str, str]:
    return {"beginTime": f"{first}-00.00.00", "endTime": f"{last}-23.59.59"}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", {}),
        ("0721", {"party": "0721"}),
        ("ana pop", {"party": "ana pop"}),
        ('"ana pop" 07', {"party": '"ana pop" 07'}),
        (
            "from:0721 to:support loss>3 mos<3.5 longer:5m tag:disputes yesterday",
            {
                "callerNumber": "0721",
                "calledName": "support",
                "lossAbove": "3",
                "mosBelow": "3.5",
                "longerThan": "5m",
                "tag": "disputes",
                **days("2026.02.28", "2026.02.28"),
            },
        ),
        ("loss > 3% length<90", {"lossAbove": "3", "shorterThan": "90"}),
        ("von:192.0.2.7 nach:00:1b:54:00:00:07", {"callerIP": "192.0.2.7", "calledMAC": "00:1b:54:00:00:07"}),
        ('de:"Ana Pop" para:+40-21', {"callerName": "Ana Pop", "calledNumber": "+40-21"}),
        ("today", days("2026.03.01", "2026.03.01")),
        ("GESTERN", days("2026.02.28", "2026.02.28")),
        ("7d", days("2026.02.23", "2026.03.01")),
        ("săptămână", days("2026.02.23", "2026.03.01")),
        ("2024-02", days("2024.02.01", "2024.02.29")),
        ("2026-02-27..2026-03-01", days("2026.02.27", "2026.03.01")),
        ("5.3.2026", days("2026.03.05", "2026.03.05")),
        ("since:2026-01", {"beginTime": "2026.01.01-00.00.00"}),
        ("bis:gestern", {"endTime": "2026.02.28-23.59.59"}),
        ("one-way status:failed codec:g729", {"oneWay": "true", "status": "failed", "codec": "g729"}),
        ("id:a84b@192.0.2.1", {"wireCallId": "a84b@192.0.2.1"}),
        ("0b8f0f3c-6d0e-4f5e-9c3d-2a1b0c9d8e7f", {"callId": "0b8f0f3c-6d0e-4f5e-9c3d-2a1b0c9d8e7f"}),
        ('"today"', {"party": "today"}),
        ("2026-13-01", {"party": "2026-13-01"}),
    ],
)
def test_what_is_typed_is_what_is_asked(line: str, fields: dict[str, str]) -> None:
    said = read(line, SUNDAY)
    assert said.fields == fields
    assert said.unknown == []
    CallQuery.parse(said.fields, ZoneInfo("UTC"))


@pytest.mark.parametrize("line", ["colour:red", "from>3", "tag<5", "since:soon", "status>2"])
def test_what_is_not_understood_is_told(line: str) -> None:
    assert read(line, SUNDAY).unknown == [line]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from('from:to<>= "0123.-..mlossd7\u2028é'), max_size=40))
def test_any_line_is_read(line: str) -> None:
    said = read(line, SUNDAY)
    assert set(said.fields) <= set(PARAMETERS)
    try:
        CallQuery.parse(said.fields, ZoneInfo("UTC"))
    except ParameterError:
        assert said.fields
