"""Counted time: what counts, what is left out, and whose hole a lost second falls into."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.counted_time import CountedTime, count_time
from billing.month import MonthSources, describe_people
from tests.billing.made_month import (
    OCTOBER,
    at,
    bill,
    cases,
    coverage,
    entries,
    entry,
    parse_entries,
    patients,
    payers,
    providers,
    sources,
)

SECOND = 1_000_000


def count(bucket: MonthSources) -> CountedTime:
    people = describe_people(bucket, OCTOBER)
    return count_time(bucket.entries, bucket.clashes, bucket.coverage, people, OCTOBER)


def windows(text: str) -> pl.DataFrame:
    parsed = [(*one.split(), "")[:3] for one in text.split("|") if one]
    return coverage(*((kind, first, last) for kind, first, last in parsed))


@pytest.mark.parametrize("case", cases("counting"), ids=lambda case: case["case"])
def test_each_second_counts_or_is_lost_for_one_reason(case: dict[str, str]) -> None:
    totals = count(sources(case["entries"], coverage=windows(case["coverage"]))).totals

    found = totals.filter(pl.col("patient_id") == "P1").row(0, named=True)
    assert found["counted_seconds"] == int(case["counted"])
    assert found["logged_seconds"] == int(case["logged"])
    for loss in ("overlapping", "double_booked", "inpatient", "undocumented"):
        assert found[f"{loss}_us"] == int(case[loss]) * SECOND, loss


def test_only_patients_with_rpm_time_in_the_month_have_totals() -> None:
    written = "05 09:00-09:20 program=CCM + 2026-09-05 09:00-09:20 + 05 09:00-09:20 patient_id=STRANGER"
    assert count(sources(written)).totals.is_empty()


def test_an_unknown_provider_leaves_the_month_in_utc() -> None:
    people = patients({"billing_npi": "1003000126"})
    # 19:00 to 19:20 in Chicago on the last day is the first of November in UTC.
    found = count(sources("31 18:50-19:20", patients=people)).totals
    assert found["counted_seconds"].to_list() == [600]


@pytest.mark.parametrize(
    "zone", ["America/New_York", "America/Los_Angeles", "Pacific/Honolulu", "Asia/Kathmandu"]
)
def test_the_month_runs_by_the_providers_clock(zone: str) -> None:
    night = parse_entries("31 23:50-24:15 + 2026-09-30 23:50-24:05 entry_id=E9", zone=zone)
    found = count(sources(night, providers=providers({"timezone": zone}))).totals
    assert found["counted_seconds"].to_list() == [600 + 300]


def test_an_entry_is_clipped_into_both_of_its_months() -> None:
    night = parse_entries("31 23:50-24:15")
    november = bill(sources(night), month=OCTOBER.replace(month=11))
    assert count(sources(night)).totals["counted_seconds"].item() == 600
    assert november.patients["counted_seconds"].item() == 900


def test_a_payer_may_refuse_messages() -> None:
    written = "05 09:00-09:20 method=message + 06 09:00-09:05 method=portal + 07 09:00-09:01 method=none"
    strict = payers({"count_messages": False})
    assert count(sources(written)).totals["counted_seconds"].item() == 26 * 60
    assert count(sources(written, payers=strict)).totals["counted_seconds"].item() == 60


def test_the_stretches_name_the_entry_that_started_first() -> None:
    first, tied = "05 09:00-09:20 entry_id=C staff_id=S2", "05 09:00-09:05 entry_id=A staff_id=S3"
    stretches = count(sources(f"05 09:10-09:30 entry_id=B + {first} + {tied}")).stretches
    named = stretches.select("entry_id", pl.col("clock_starts_us", "clock_ends_us") // (60 * SECOND)).rows()
    assert named == [("A", 0, 5), ("C", 5, 20), ("B", 20, 30)]


def test_the_order_of_arrival_changes_nothing() -> None:
    written = parse_entries("05 09:00-09:20 + 05 09:00-09:30 staff_id=S2 + 05 09:10-09:40 staff_id=S3")
    assert count(sources(written)).stretches.equals(count(sources(written.reverse())).stretches)


PROGRAMS = ("RPM", "RPM", "RPM", "CCM")
Logged = tuple[str, str, str, bool, int, int]

log = st.lists(
    st.tuples(
        st.sampled_from(PROGRAMS),
        st.sampled_from(["S1", "S2"]),
        st.sampled_from(["P1", "P2"]),
        st.booleans(),
        st.integers(0, 40),
        st.integers(1, 15),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(log)
def test_counting_agrees_with_a_count_second_by_second(worked: list[Logged]) -> None:
    opening = at(OCTOBER, "09:00")
    rows = [
        entry(
            opening + timedelta(seconds=start),
            opening + timedelta(seconds=start + length),
            program=program,
            staff_id=staff,
            patient_id=patient,
            note_ref="N" if noted else None,
            entry_id=f"E{number}",
        )
        for number, (program, staff, patient, noted, start, length) in enumerate(worked)
    ]
    found = count(sources(entries(rows), patients=patients({}, {"patient_id": "P2"}))).totals

    def has(second: int, start: int, length: int) -> bool:
        return start <= second < start + length

    for patient in ("P1", "P2"):
        other = {s for p, _, who, _, b, n in worked for s in range(b, b + n) if p != "RPM" and who == patient}
        busy = {(staff, s) for _, staff, who, _, b, n in worked for s in range(b, b + n) if who != patient}
        mine = [
            (staff, noted, b, n) for p, staff, who, noted, b, n in worked if p == "RPM" and who == patient
        ]
        counted = {
            s
            for staff, noted, b, n in mine
            for s in range(60)
            if noted and has(s, b, n) and s not in other and (staff, s) not in busy
        }
        unheard = {
            s
            for staff, noted, b, n in mine
            for s in range(60)
            if not noted and has(s, b, n) and s not in other | counted and (staff, s) not in busy
        }
        row = found.filter(pl.col("patient_id") == patient)
        assert row["counted_seconds"].sum() == len(counted)
        assert row["undocumented_us"].sum() == len(unheard) * SECOND
        assert row["logged_seconds"].sum() == len({s for _, _, b, n in mine for s in range(b, b + n)})
