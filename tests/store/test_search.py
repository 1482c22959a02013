"""Times in searches are readings of a clock that is put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from callreplay.store.search import CallQuery, ParameterError, format_time

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("zone", "reading", "lower", "upper"),
    [
        # Put back at 01:00 UTC: 02:00 to 03:00 is shown twice.
        ("Europe/Berlin", "2026.10.25-02.30.00", "2026-10-25T00:30:00", "2026-10-25T01:30:00"),
        ("Europe/Berlin", "2026.10.25-01.59.59", "2026-10-24T23:59:59", "2026-10-24T23:59:59"),
        ("Europe/Berlin", "2026.10.25-03.00.00", "2026-10-25T02:00:00", "2026-10-25T02:00:00"),
        # Put forward at 01:00 UTC: 02:00 to 03:00 is never shown.
        ("Europe/Berlin", "2026.03.29-02.30.00", "2026-03-29T01:00:00", "2026-03-29T00:59:59"),
        ("Europe/Berlin", "2026.03.29-02.00.00", "2026-03-29T01:00:00", "2026-03-29T00:59:59"),
        ("Europe/Berlin", "2026.03.29-01.59.59", "2026-03-29T00:59:59", "2026-03-29T00:59:59"),
        ("Europe/Berlin", "2026.03.29-03.00.00", "2026-03-29T01:00:00", "2026-03-29T01:00:00"),
        # Half an hour, and a whole day.
        ("Australia/Lord_Howe", "2026.10.04-02.15.00", "2026-10-03T15:30:00", "2026-10-03T15:29:59"),
        ("Pacific/Apia", "2011.12.30-12.00.00", "2011-12-30T10:00:00", "2011-12-30T09:59:59"),
    ],
)
def test_bounds_where_the_clock_is_changed(zone: str, reading: str, lower: str, upper: str) -> None:
    query = CallQuery.parse({"beginTime": reading, "endTime": reading}, ZoneInfo(zone))
    assert query.begin == datetime.fromisoformat(lower).replace(tzinfo=UTC)
    assert query.end == datetime.fromisoformat(upper).replace(tzinfo=UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(
    "zone", ["UTC", "America/New_York", "Europe/Bucharest", "Pacific/Kiritimati", "Etc/GMT+12"]
)
def test_the_ends_of_the_calendar_bound_nothing(zone: str) -> None:
    """C#'s DateTime.MinValue and MaxValue stand for "no bound"; some are no times of UTC."""
    least, most = "0001.01.01-00.00.00", "9999.12.31-23.59.59"
    query = CallQuery.parse({"beginTime": least, "endTime": most}, ZoneInfo(zone))
    assert query.begin is not None
    assert query.end is not None
    assert query.begin < datetime(2, 1, 1, tzinfo=UTC)
    assert query.end > datetime(9999, 12, 30, tzinfo=UTC)
    assert query.begin.utcoffset() == query.end.utcoffset() == timedelta()
    swapped = CallQuery.parse({"beginTime": most, "endTime": least}, ZoneInfo(zone))
    assert swapped.begin is not None
    assert swapped.end is not None
    assert swapped.begin > datetime(9999, 12, 30, tzinfo=UTC)
    assert swapped.end < datetime(2, 1, 1, tzinfo=UTC)
    for wrong in ("0000.01.01-00.00.00", "9999.12.32-00.00.00", "10000.01.01-00.00.00"):
        with pytest.raises(ParameterError, match="beginTime"):
            CallQuery.parse({"beginTime": wrong}, ZoneInfo(zone))


def test_a_search_finds_what_reads_between_its_bounds() -> None:
    """On the day of a gap readings never go back, so their order is the truth, for bounds in the gap too."""
    night = [datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=7 * n, seconds=n) for n in range(30)]
    bounds = [f"2026.03.29-{hour:02}.{minute:02}.00" for hour in range(1, 5) for minute in (0, 20, 50)]
    for low in bounds:
        for high in bounds:
            query = CallQuery.parse({"beginTime": low, "endTime": high}, BERLIN)
            assert query.begin is not None
            assert query.end is not None
            found = [moment for moment in night if query.begin <= moment < query.end]
            assert found == [moment for moment in night if low <= format_time(moment, BERLIN) <= high]


def test_what_a_call_shows_finds_it_again() -> None:
    for day in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        for moment in (day + timedelta(minutes=9 * n, microseconds=n) for n in range(40)):
            shown = format_time(moment, BERLIN)
            query = CallQuery.parse({"beginTime": shown, "endTime": shown}, BERLIN)
            assert query.begin is not None
            assert query.end is not None
            assert query.begin <= moment < query.end, shown
