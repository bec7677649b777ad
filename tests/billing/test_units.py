"""Units: the ladder on both sides of every step, the date of service, and what funds each unit."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.counted_time import count_time
from billing.month import MonthSources, describe_people
from billing.reference.tables import MissingReference, Reference
from billing.units import Earned, count_units
from tests.billing.made_month import (
    OCTOBER,
    at,
    bill,
    carried,
    cases,
    entries,
    entry,
    parse_entries,
    patients,
    payers,
    providers,
    reference,
    sources,
)

MINUTE_US = 60_000_000
LONG_AGO = dict.fromkeys(("consent_date", "order_date", "prior_visit_date", "enrolled_on"), date(2024, 1, 1))


def earn(bucket: MonthSources, month: date = OCTOBER, tables: Reference | None = None) -> Earned:
    people = describe_people(bucket, month)
    time = count_time(bucket.entries, bucket.clashes, bucket.coverage, people, month)
    return count_units(time, people, tables or reference(), month)


def worked(seconds: int, month: date = OCTOBER) -> pl.DataFrame:
    """Spread seconds over calls of at most an hour, on the days of the month."""
    calls = [min(3600, seconds - done) for done in range(0, seconds, 3600)]
    start = at(month, "09:00")
    return entries(
        entry(start + timedelta(days=n), start + timedelta(days=n, seconds=length))
        for n, length in enumerate(calls)
    )


@pytest.mark.parametrize("case", cases("ladder"), ids=lambda case: case["case"])
def test_the_ladder_of_the_month_turns_seconds_into_lines(case: dict[str, str]) -> None:
    month = date.fromisoformat(f"{case['month']}-01")
    minutes, seconds = case["counted"].split(":")
    counted = int(minutes) * 60 + int(seconds)
    bucket = sources(
        worked(counted, month), payers=payers({"kind": case["kind"]}), patients=patients(LONG_AGO)
    )
    billed = bill(bucket, month, today=date(2026, 11, 23))

    assert carried(billed) == case["lines"]
    totals = billed.patients.row(0, named=True)
    assert totals["counted_seconds"] == counted
    assert totals["over_cap_seconds"] == int(case["over_cap_seconds"])
    assert totals["stranded_seconds"] == int(case["stranded_seconds"])
    assert totals["billed_seconds"] == counted - totals["over_cap_seconds"] - totals["stranded_seconds"]


@pytest.mark.parametrize("case", cases("dates_of_service"), ids=lambda case: case["case"])
def test_the_date_of_service_is_the_local_date_of_the_last_funded_instant(case: dict[str, str]) -> None:
    month = date.fromisoformat(f"{case['month']}-01")
    bucket = sources(
        parse_entries(case["entries"], month, case["zone"]),
        providers=providers({"timezone": case["zone"]}),
        payers=payers({"date_of_service": case["rule"]}),
    )
    units = earn(bucket, month).units

    assert units["date_of_service"].to_list() == [date.fromisoformat(case["date_of_service"])]
    assert bill(bucket, month).patients["counted_seconds"].to_list() == [int(case["counted"])]


def test_units_are_funded_in_time_order_and_say_by_which_entry() -> None:
    funding = earn(sources("07 09:00-09:30 entry_id=B + 05 09:00-09:15 entry_id=A")).funding
    funded = funding.select("code", "unit_number", "entry_id", pl.col("funded_us") // MINUTE_US).rows()
    assert funded == [("99457", 1, "A", 15), ("99457", 1, "B", 5), ("99458", 1, "B", 20)]


def test_the_short_code_is_funded_by_its_first_ten_minutes() -> None:
    funding = earn(sources("05 09:00-09:15")).funding
    assert funding.select("code", pl.col("funded_us") // MINUTE_US).rows() == [("99470", 10)]
    assert funding["ended_at"].item() == at(date(2026, 10, 5), "09:10")


def test_holes_do_not_move_the_instants_of_the_funding() -> None:
    funding = earn(sources("05 09:00-09:25 + 05 09:05-09:10 program=CCM staff_id=S2")).funding
    assert funding.select("started_at", "ended_at").rows() == [
        (at(date(2026, 10, 5), "09:00"), at(date(2026, 10, 5), "09:05")),
        (at(date(2026, 10, 5), "09:10"), at(date(2026, 10, 5), "09:25")),
    ]


def test_a_claim_never_outgrows_its_fifty_lines() -> None:
    # 20 + 60 x 20 minutes at a payer without a known cap, who is billed for the device as well.
    long_calls = [
        entry(at(OCTOBER.replace(day=day), "08:00"), at(OCTOBER.replace(day=day), "12:00"))
        for day in range(1, 8)
    ]
    rich = payers({"kind": "commercial", "bill_device_supply": True})
    units = earn(sources(entries(long_calls), payers=rich)).units.row(0, named=True)
    assert (units["add_on_units"], units["over_cap_units"]) == (47, 83 - 47)


def test_a_ladder_that_changes_inside_a_month_is_refused() -> None:
    tables = reference()
    midway = tables.ladder.with_columns(
        effective_from=pl.when(pl.col("code") == "99470").then(date(2026, 10, 15)).otherwise("effective_from")
    )
    with pytest.raises(MissingReference, match="ladder changes inside 2026-10"):
        earn(sources(), tables=replace(tables, ladder=midway))


seconds = st.integers(0, 10_000)


@settings(deadline=None, max_examples=30)
@given(seconds, seconds)
def test_more_counted_seconds_never_mean_fewer_units(one: int, other: int) -> None:
    few, many = sorted((one, other))
    worth = {"99470": 1, "99457": 2}

    def units(counted: int) -> tuple[int, int]:
        rows = earn(sources(worked(counted))).units.to_dicts()
        return (worth.get(rows[0]["base_code"], 0), rows[0]["add_on_units"]) if rows else (0, 0)

    assert units(few) <= units(many)


calls = st.lists(st.tuples(st.integers(0, 6000), st.integers(1, 3000)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(calls)
def test_funding_is_disjoint_and_fills_every_unit(spans: list[tuple[int, int]]) -> None:
    start = at(OCTOBER, "09:00")
    rows = [
        entry(
            start + timedelta(seconds=begin),
            start + timedelta(seconds=begin + length),
            entry_id=f"E{number}",
            staff_id=f"S{number}",
        )
        for number, (begin, length) in enumerate(spans)
    ]
    earned = earn(sources(entries(rows)))
    units, funding = earned.units.row(0, named=True), earned.funding.sort("started_at")

    assert (funding["started_at"].shift(-1) >= funding["ended_at"]).all()
    assert funding["funded_us"].sum() == units["funded_seconds"] * 1_000_000
    assert (funding["ended_at"] - funding["started_at"]).dt.total_microseconds().equals(funding["funded_us"])
    per_unit = funding.group_by("code", "unit_number").agg(pl.col("funded_us").sum() // MINUTE_US)
    assert per_unit.height == (units["base_code"] is not None) + units["add_on_units"]
    assert set(per_unit.select("code", "funded_us").rows()) <= {("99470", 10), ("99457", 20), ("99458", 20)}
