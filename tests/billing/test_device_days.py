"""Device days: distinct local days, thirty-day periods, and the clocks of every zone."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.device_days import device_days, has_data_in_month, supply_periods
from billing.month import describe_people
from tests.billing.made_month import (
    OCTOBER,
    READINGS,
    at,
    cases,
    days,
    patients,
    payers,
    providers,
    readings,
    reference,
    sources,
)


def marked(instants: Sequence[datetime], month: date, zone: str) -> list[set[date]]:
    """Read each instant, by a patient of its own, and read its days off the bits again."""
    names = [f"P{n:04d}" for n in range(len(instants))]
    bucket = sources(
        providers=providers({"timezone": zone}), patients=patients(*({"patient_id": name} for name in names))
    )
    read = pl.DataFrame(
        {"patient_id": names, "measured_at": instants, "capture": "automatic"}, schema=READINGS
    )
    words = device_days(read, describe_people(bucket, month), month).rows()
    first, found = month - timedelta(days=29), dict(words)
    return [{first + timedelta(days=n) for n in range(60) if found.get(name, 0) >> n & 1} for name in names]


@pytest.mark.parametrize("case", cases("supply"), ids=lambda case: case["case"])
def test_a_period_is_billed_in_the_month_of_its_thirtieth_day(case: dict[str, str]) -> None:
    month = date.fromisoformat(f"{case['month']}-01")
    first, last = (date.fromisoformat(day) for day in case["data_days"].split(" to "))
    bucket = sources(
        payers=payers({"bill_device_supply": True}),
        patients=patients({"enrolled_on": date.fromisoformat(case["enrolled_on"])}),
    )
    people = describe_people(bucket, month)
    bits = device_days(readings(days(first, (last - first).days + 1)), people, month)
    found = supply_periods(bits, people, reference(), month)

    assert ";".join(found["code"]) == case["code"]
    assert ";".join(str(day) for day in found["date_of_service"]) == case["date_of_service"]


def test_a_payer_who_is_not_billed_for_the_device_has_no_periods() -> None:
    people = describe_people(sources(patients=patients({"enrolled_on": OCTOBER})), OCTOBER)
    bits = device_days(readings(days(OCTOBER, 31)), people, OCTOBER)
    assert supply_periods(bits, people, reference(), OCTOBER).is_empty()


def test_many_readings_of_a_day_are_one_day_and_manual_ones_none() -> None:
    twice = pl.concat([readings([OCTOBER]), readings([OCTOBER])])
    typed = readings([OCTOBER + timedelta(days=1)], capture="manual")
    bits = device_days(pl.concat([twice, typed]), describe_people(sources(), OCTOBER), OCTOBER)
    assert bits.rows() == [("P1", 1 << 29)]


def test_data_in_the_month_is_told_from_data_before_it() -> None:
    people = describe_people(sources(), OCTOBER)

    def has_data(day: date) -> bool:
        bits = device_days(readings([day]), people, OCTOBER)
        return bool(bits.select(has_data_in_month()).item())

    assert not has_data(date(2026, 9, 30))
    assert has_data(date(2026, 10, 1))
    assert has_data(date(2026, 10, 31))


@pytest.mark.parametrize(
    ("zone", "month"),
    [
        ("America/New_York", date(2026, 11, 1)),
        ("America/New_York", date(2026, 3, 1)),
        ("America/Chicago", date(2026, 10, 1)),
        ("America/Phoenix", date(2026, 11, 1)),
        ("Pacific/Honolulu", date(2026, 3, 1)),
        ("America/Los_Angeles", date(2026, 12, 1)),
        ("America/Havana", date(2026, 11, 1)),
        ("Africa/Cairo", date(2026, 4, 1)),
        ("Asia/Beirut", date(2026, 3, 1)),
        ("Asia/Kathmandu", date(2026, 10, 1)),
        ("Africa/Casablanca", date(2026, 3, 1)),
    ],
)
def test_a_reading_at_either_end_of_a_day_belongs_to_that_day(zone: str, month: date) -> None:
    last = (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    edges = [
        instant
        for day in days(month - timedelta(days=29), (last - month).days + 30)
        for start, end in [(at(day, "00:00", zone), at(day + timedelta(days=1), "00:00", zone))]
        for instant in (start, end - timedelta(microseconds=1))
    ]
    assert marked(edges, month, zone) == [{edge.astimezone(ZoneInfo(zone)).date()} for edge in edges]


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["America/New_York", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from([date(2026, 3, 1), date(2026, 4, 1), date(2026, 10, 1), date(2026, 11, 1)]),
    st.lists(st.integers(-40 * 86_400, 40 * 86_400), min_size=1, max_size=50),
)
def test_the_local_day_is_the_one_the_calendar_says(zone: str, month: date, shifts: list[int]) -> None:
    instants = [at(month, "12:00", zone) + timedelta(seconds=shift) for shift in shifts]
    first = month - timedelta(days=29)
    last = (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    expected = [instant.astimezone(ZoneInfo(zone)).date() for instant in instants]
    assert marked(instants, month, zone) == [{day} if first <= day <= last else set() for day in expected]
