"""Which month a run is for: the one that is named, or the one before the day on which it was to start."""

from datetime import UTC, date, datetime

import pytest
from prefect.runtime import flow_run

from schemas.errors import Refused
from tasks.months import service_month


@pytest.mark.parametrize(
    ("now", "zone", "first"),
    [
        ("2026-11-02T09:00:00+00:00", "America/New_York", date(2026, 10, 1)),
        ("2027-01-01T12:00:00+00:00", "UTC", date(2026, 12, 1)),
        # Three in the morning in London is still October in Honolulu.
        ("2026-11-01T03:00:00+00:00", "Europe/London", date(2026, 10, 1)),
        ("2026-11-01T03:00:00+00:00", "Pacific/Honolulu", date(2026, 9, 1)),
    ],
)
def test_without_a_name_it_is_the_previous_month_of_the_zone(
    monkeypatch: pytest.MonkeyPatch, now: str, zone: str, first: date
) -> None:
    monkeypatch.setenv("RPMCLAIMS_NOW", now)
    assert service_month(None, zone) == first
    assert service_month("", zone) == first


def test_a_run_that_starts_weeks_late_stays_with_its_own_month(monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 11, 2, 9, tzinfo=UTC)
    monkeypatch.setitem(flow_run.FIELDS, "scheduled_start_time", lambda: start)
    assert service_month(None, "America/New_York") == date(2026, 10, 1)


def test_a_named_month_is_taken_whatever_the_day_is() -> None:
    assert service_month("2026-03", "nowhere at all") == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("month", "zone"), [("2026-3", "UTC"), ("October", "UTC"), (None, "Mars/Base"), (None, "")]
)
def test_a_month_or_zone_that_is_none_is_refused(month: str | None, zone: str) -> None:
    with pytest.raises(Refused, match="is not one"):
        service_month(month, zone)
