"""The month: stages that chain, totals that add up, and the same answer every time."""

from dataclasses import fields, replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.month import BilledMonth, MonthSources
from billing.reference.tables import MissingReference
from schemas.outputs import SupplyLeftOutFile, columns_of
from schemas.stages import Claims, Evidence, Holds, Lines, PatientTotals
from tests.billing.made_month import (
    OCTOBER,
    at,
    bill,
    days,
    entries,
    entry,
    parse_entries,
    patients,
    payers,
    readings,
    sources,
)

SHAPES = {
    "claims": Claims,
    "lines": Lines,
    "holds": Holds,
    "evidence": Evidence,
    "patients": PatientTotals,
    "supply_left_out": SupplyLeftOutFile,
}
MIXED = (
    "05 09:00-09:45 + 05 09:20-09:30 program=CCM staff_id=S3 + 06 09:00-11:00 patient_id=P2 staff_id=S2 "
    "+ 07 09:00-09:05 patient_id=P3 staff_id=S4 + 08 10:00-10:20 patient_id=P4 staff_id=S5 note_ref=none"
)
FOUR_PEOPLE: tuple[dict[str, str], ...] = (
    {},
    {"patient_id": "P2", "member_id": "1EG4TE5MK72"},
    {"patient_id": "P3", "member_id": "1EG4TE5MK71"},
    {"patient_id": "P4", "member_id": "1EG4TE5MK70"},
)


def mixed() -> MonthSources:
    return sources(parse_entries(MIXED), patients=patients(*FOUR_PEOPLE))


def same(one: BilledMonth, other: BilledMonth) -> bool:
    return all(getattr(one, name).equals(getattr(other, name)) for name in SHAPES)


def test_every_frame_has_its_promised_shape_even_when_nothing_arrived() -> None:
    whole = mixed()
    empty = MonthSources(**{field.name: getattr(whole, field.name).clear() for field in fields(MonthSources)})
    for billed in (bill(whole), bill(empty), bill(replace(whole, entries=whole.entries.clear()))):
        for name, model in SHAPES.items():
            frame = getattr(billed, name)
            assert frame.columns == list(columns_of(model)), name
    for name in SHAPES:
        assert getattr(bill(whole), name).schema == getattr(bill(empty), name).schema, name


def test_every_counted_second_is_billed_stranded_or_over_the_cap() -> None:
    totals = bill(mixed()).patients
    assert totals.drop("mac_contract").rows() == [
        ("P1", 2700, 2100, 1200, 900, 0, True, True),
        ("P2", 7200, 7200, 4800, 0, 2400, True, True),
        ("P3", 300, 300, 0, 300, 0, True, False),
        ("P4", 1200, 0, 0, 0, 0, True, False),
    ]


def test_a_held_patients_time_is_not_called_billed() -> None:
    held = patients({"consent_date": None})
    totals = bill(sources("05 09:00-10:45", patients=held)).patients.row(0, named=True)
    assert (totals["billed_seconds"], totals["over_cap_seconds"], totals["stranded_seconds"]) == (
        0,
        1200,
        5100,
    )
    assert not totals["is_eligible"]


@pytest.mark.parametrize(
    ("written", "is_eligible"),
    [("05 09:00-09:05", True), ("05 09:00-09:20 live_interaction=false", True), ("05 09:00-09:20", True)],
)
def test_too_little_work_does_not_make_a_patient_ineligible(written: str, is_eligible: bool) -> None:
    assert bill(sources(written)).patients["is_eligible"].to_list() == [is_eligible]


def test_a_patient_whose_row_was_refused_is_left_alone() -> None:
    billed = bill(sources("05 09:00-09:20 patient_id=REFUSED"))
    assert billed.patients.is_empty()
    assert billed.holds.is_empty()


def test_the_order_of_rows_changes_nothing() -> None:
    whole = mixed()
    upside_down = MonthSources(
        **{field.name: getattr(whole, field.name).reverse() for field in fields(whole)}
    )
    assert same(bill(whole), bill(upside_down))


def test_a_bucket_cut_in_two_gives_the_same_month() -> None:
    whole = mixed()
    halves = [
        bill(replace(whole, patients=whole.patients.filter(pl.col("patient_id").is_in(ids))))
        for ids in (["P1", "P3"], ["P2", "P4"])
    ]
    together = bill(whole)
    for name in SHAPES:
        frame = getattr(together, name)
        joined = pl.concat([getattr(half, name) for half in halves])
        assert joined.sort(frame.columns[:2]).equals(frame.sort(frame.columns[:2])), name


def test_any_day_names_the_month() -> None:
    assert same(bill(mixed(), OCTOBER), bill(mixed(), date(2026, 10, 31)))


def test_a_year_without_a_fee_schedule_is_refused() -> None:
    worked = entries([entry(at(date(2031, 5, 5), "09:00"), at(date(2031, 5, 5), "09:20"))])
    with pytest.raises(MissingReference, match="2031"):
        bill(sources(worked), date(2031, 5, 1), today=date(2031, 6, 1))


spent = st.lists(
    st.tuples(st.sampled_from(["P1", "P2"]), st.integers(1, 28), st.integers(1, 14_400)), max_size=6
)


@settings(deadline=None, max_examples=25)
@given(spent, st.booleans(), st.booleans())
def test_seconds_and_cents_chain_through_every_stage(
    calls: list[tuple[str, int, int]], together: bool, with_supply: bool
) -> None:
    rows = [
        entry(
            at(OCTOBER.replace(day=day), "08:00"),
            at(OCTOBER.replace(day=day), f"08:00:{seconds}"),
            patient_id=who,
            entry_id=f"E{n}",
            staff_id=f"S{n}",
        )
        for n, (who, day, seconds) in enumerate(calls)
    ]
    wishes = payers({"add_on_lines": "units" if together else "per_unit", "bill_device_supply": with_supply})
    people = patients({"enrolled_on": date(2026, 9, 20)}, {"patient_id": "P2", "member_id": "1EG4TE5MK72"})
    billed = bill(
        sources(entries(rows), payers=wishes, patients=people, readings=readings(days(OCTOBER, 19)))
    )

    totals = billed.patients.select(pl.col(pl.Int64).sum()).row(0, named=True)
    assert totals["counted_seconds"] == (
        totals["billed_seconds"] + totals["stranded_seconds"] + totals["over_cap_seconds"]
    )
    assert billed.lines["counted_seconds"].sum() == totals["billed_seconds"]
    assert billed.evidence["funded_us"].sum() == totals["billed_seconds"] * 1_000_000
    assert billed.lines["charge"].sum() == billed.claims["total_charge"].sum()
    # Nobody is both billed and held, and everybody with counted time is one of the two.
    held = set(billed.holds.filter(~pl.col("is_note"))["patient_id"])
    claimed = set(billed.claims["patient_id"])
    assert not held & claimed
    assert set(billed.patients.filter(pl.col("counted_seconds") > 0)["patient_id"]) <= held | claimed
