"""Claims: which lines a claim carries, what is charged, and the numbers it goes by."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from billing.claims import evidence_seals
from schemas.outputs import LINES
from tests.billing.made_month import (
    OCTOBER,
    bill,
    carried,
    charges,
    coverage,
    days,
    parse_entries,
    patients,
    payers,
    readings,
    sources,
)

EIGHTY_MINUTES = "05 09:00-10:20"
NO_TIME = "05 09:00-09:20 program=CCM"
FROM_SEPTEMBER: dict[str, Any] = {"enrolled_on": date(2026, 9, 20)}
SUPPLIED = payers({"bill_device_supply": True})
SIXTEEN_DAYS = readings(days(date(2026, 9, 20), 16))


def numbers(written: str = EIGHTY_MINUTES, **changes: Any) -> str:
    return str(bill(sources(written, patients=patients(changes))).claims["claim_number"].item())


def test_each_add_on_unit_is_a_line_of_its_own() -> None:
    lines = bill(sources(EIGHTY_MINUTES)).lines
    assert lines.select("line_number", "code", "units", "modifiers", "counted_seconds").rows() == [
        (1, "99457", 1, "", 1200),
        (2, "99458", 1, "", 1200),
        (3, "99458", 1, "", 1200),
        (4, "99458", 1, "", 1200),
    ]


def test_a_payer_may_want_the_add_on_units_on_one_line() -> None:
    together = payers({"add_on_lines": "units", "repeat_modifier": "76"})
    lines = bill(sources(EIGHTY_MINUTES, payers=together)).lines
    assert lines.select("code", "units", "modifiers", "counted_seconds", "charge").rows() == [
        ("99457", 1, "", 1200, Decimal("80.00")),
        ("99458", 3, "", 3600, Decimal("180.00")),
    ]


def test_the_repeat_modifier_goes_on_the_second_and_later_add_on_lines() -> None:
    lines = bill(sources(EIGHTY_MINUTES, payers=payers({"repeat_modifier": "76"}))).lines
    assert lines["modifiers"].to_list() == ["", "", "76", "76"]


def test_lines_carry_the_contracts_columns_and_their_own_number() -> None:
    lines = bill(sources(EIGHTY_MINUTES)).lines
    assert lines.columns == [*LINES, "line_control_number"]
    claim = lines["claim_number"][0]
    assert lines["line_control_number"].to_list() == [f"{claim}-0{n}" for n in (1, 2, 3, 4)]


def test_a_claim_is_the_sum_of_its_lines() -> None:
    billed = bill(sources(EIGHTY_MINUTES))
    claim = billed.claims.row(0, named=True)
    assert claim["total_charge"] == Decimal("260.00")
    assert claim["line_count"] == 4
    for money in ("allowed_estimate", "medicare_estimate", "patient_estimate"):
        assert claim[money] == billed.lines[money].sum()
    assert claim["date_of_service"] == billed.lines["date_of_service"][0] == date(2026, 10, 5)


@pytest.mark.parametrize(
    ("book", "amount"),
    [
        ([("*", "2025-01-01", "80.00")], "80.00"),
        ([("*", "2025-01-01", "80.00"), ("*", "2026-10-05", "90.00")], "90.00"),
        ([("*", "2025-01-01", "80.00"), ("*", "2026-10-06", "90.00")], "80.00"),
        ([("1234567893", "2025-01-01", "70.00"), ("*", "2026-10-01", "90.00")], "70.00"),
        ([("1234567893", "2026-10-06", "70.00"), ("*", "2025-01-01", "80.00")], "80.00"),
        ([("1003000126", "2025-01-01", "70.00"), ("*", "2025-01-01", "80.00")], "80.00"),
    ],
)
def test_the_providers_own_charge_in_effect_wins(book: list[tuple[str, str, str]], amount: str) -> None:
    rows = [
        charges({"99457": price}, billing_npi=npi, effective_from=date.fromisoformat(since))
        for npi, since, price in book
    ]
    lines = bill(sources(charges=pl.concat(rows))).lines
    assert lines["charge"].to_list() == [Decimal(amount)]


def test_a_claim_number_is_seventeen_plain_characters_with_month_and_version() -> None:
    number = numbers()
    assert len(number) == 17
    assert number.isalnum()
    assert number.upper() == number
    assert (number[:5], number[-1]) == ("R2610", "1")


def test_a_claim_number_follows_from_the_natural_key_alone() -> None:
    assert numbers("06 09:00-09:20", place_of_service="22", diagnosis_codes="I10") == numbers()
    assert numbers(member_id="1EG4TE5MK72") != numbers()


def test_claim_numbers_never_change_between_releases() -> None:
    assert numbers() == "R2610AETLS34CHTJ1"


def test_diagnoses_keep_their_order_lose_their_dots_and_stop_at_twelve() -> None:
    assert diagnoses("I10; e11.9 ;I10;E11.9;Z79.4") == ["I10", "E119", "Z794"]
    many = "I10;E119;Z794;J449;I480;I509;N183;E785;I2510;G4733;F329;M545;K219;R7303"
    valid = [code for code in many.split(";") if code not in {"N183", "M545", "F329"}]
    assert diagnoses(";".join([*valid, "I110", "I119"])) == [*valid, "I110"]


def diagnoses(text: str) -> list[str]:
    claims = bill(sources(patients=patients({"diagnosis_codes": text}))).claims
    return list(claims["diagnosis_codes"].item())


def test_evidence_follows_every_unit_to_its_line() -> None:
    written = "05 09:00-09:50 entry_id=A + 06 09:00-09:30 entry_id=B"
    evidence = bill(sources(written)).evidence
    minutes = pl.col("funded_us") // 60_000_000
    assert evidence.select("line_number", "unit_number", "code", "entry_id", minutes).rows() == [
        (1, 1, "99457", "A", 20),
        (2, 1, "99458", "A", 20),
        (3, 2, "99458", "A", 10),
        (3, 2, "99458", "B", 10),
        (4, 3, "99458", "B", 20),
    ]
    together = bill(sources(written, payers=payers({"add_on_lines": "units"}))).evidence
    assert together["line_number"].to_list() == [1, 2, 2, 2, 2]


def seal(entries: pl.DataFrame) -> str:
    return str(bill(sources(entries)).claims["evidence_sha256"].item())


def test_the_seal_changes_with_the_time_and_not_with_the_file_it_came_in() -> None:
    written = parse_entries(EIGHTY_MINUTES)
    moved = written.with_columns(object=pl.lit("time-entries/2026-11/late.csv"))
    other = parse_entries("05 09:00:01-10:20:01")
    surplus = parse_entries("05 09:00-10:25")

    assert seal(written) == seal(moved) == seal(surplus)
    assert seal(written) != seal(other)


def test_a_seal_can_be_checked_from_the_evidence_alone() -> None:
    billed = bill(sources(EIGHTY_MINUTES))
    again = evidence_seals(billed.evidence.sample(fraction=1, shuffle=True, seed=1))
    assert again.rows() == billed.claims.select("claim_number", "evidence_sha256").rows()


def supply_month(written: str, *, read: pl.DataFrame = SIXTEEN_DAYS, **changes: Any) -> Any:
    person = {**FROM_SEPTEMBER, **changes}
    return bill(sources(written, payers=SUPPLIED, readings=read, patients=patients(person)))


def test_the_device_follows_the_time_in_the_same_claim_on_its_own_date() -> None:
    lines = supply_month("25 09:00-09:40").lines
    assert lines.select("code", "date_of_service", "counted_seconds").rows() == [
        ("99457", date(2026, 10, 25), 1200),
        ("99458", date(2026, 10, 25), 1200),
        ("99454", date(2026, 10, 19), 0),
    ]


def test_a_patient_without_time_is_billed_for_the_device_alone() -> None:
    billed = supply_month(NO_TIME)
    assert carried(billed) == "99454"
    assert billed.claims["date_of_service"].to_list() == [date(2026, 10, 19)]
    totals = billed.patients.row(0, named=True)
    assert (totals["is_billed"], totals["is_eligible"], totals["billed_seconds"]) == (True, False, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"consent_date": None},
        {"consent_date": date(2026, 10, 20)},
        {"disenrolled_on": date(2026, 10, 18)},
        {"died_on": date(2026, 10, 18)},
        {"rendering_npi": None},
    ],
)
def test_the_gates_look_at_the_periods_own_date_and_hold_nobody_without_time(changes: dict[str, Any]) -> None:
    billed = supply_month(NO_TIME, **changes)
    assert billed.claims.is_empty()
    assert billed.holds.is_empty()


def test_a_period_under_a_stay_on_its_date_is_not_billed() -> None:
    bucket = sources(
        NO_TIME,
        payers=SUPPLIED,
        readings=SIXTEEN_DAYS,
        patients=patients(FROM_SEPTEMBER),
        coverage=coverage(("inpatient", "2026-10-19", "2026-10-19")),
    )
    assert bill(bucket).claims.is_empty()


def test_a_hold_stops_the_device_line_too() -> None:
    assert supply_month("05 09:00-09:05").claims.is_empty()


def without(codes: Sequence[str], written: str) -> Any:
    amounts = {"99457": "80.00", "99458": "60.00", "99470": "40.00", "99454": "70.00"}
    left = {code: amount for code, amount in amounts.items() if code not in codes}
    people = patients(FROM_SEPTEMBER)
    return bill(
        sources(written, payers=SUPPLIED, readings=SIXTEEN_DAYS, patients=people, charges=charges(left))
    )


def test_a_device_without_a_charge_holds_the_time_and_is_left_out_alone() -> None:
    assert without(["99454"], "05 09:00-09:20").holds["reason"].to_list() == ["NO_CHARGE"]
    assert without(["99454"], NO_TIME).claims.is_empty()
    assert without(["99454"], NO_TIME).holds.is_empty()


def test_two_periods_of_a_month_are_two_lines_by_date() -> None:
    read = readings(days(date(2026, 9, 2), 60))
    lines = supply_month("05 09:00-09:20", read=read, enrolled_on=date(2026, 9, 2)).lines
    assert lines.select("code", "date_of_service").rows() == [
        ("99457", date(2026, 10, 5)),
        ("99454", date(2026, 10, 1)),
        ("99454", OCTOBER.replace(day=31)),
    ]
