"""Holds: each reason on both sides of its line, and the words people read."""

import re
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest

from billing.holds import hold_reasons, hold_rows
from billing.month import BilledMonth, MonthSources
from schemas.outputs import HOLDS
from tests.billing.made_month import (
    AMOUNTS,
    OCTOBER,
    TODAY,
    bill,
    carried,
    cases,
    charges,
    coverage,
    days,
    parse_entries,
    patients,
    payers,
    providers,
    readings,
    reasons,
    sources,
)

# The contract's codes, word for word; ALREADY_BILLED needs two patients and has tests of its own.
CONTRACT = """
NO_CONSENT NO_ORDER NO_PRIOR_VISIT NO_CARE_PLAN NOT_ENROLLED NO_LIVE_INTERACTION BELOW_THRESHOLD NO_DIAGNOSIS
BAD_MEMBER_ID BAD_NPI NO_COVERAGE MEDICARE_ADVANTAGE HOSPICE INPATIENT ACCESS_ALIGNED RTM_SAME_PERIOD
OTHER_PRACTITIONER DECEASED NO_CHARGE NO_RATE UNDOCUMENTED_TIME OVERLAPPING_PROGRAMS STAFF_DOUBLE_BOOKED
ALREADY_BILLED UNITS_OVER_CAP TIMELY_FILING NO_DEVICE_DATA
"""
NOTES = {
    "UNITS_OVER_CAP",
    "UNDOCUMENTED_TIME",
    "OVERLAPPING_PROGRAMS",
    "STAFF_DOUBLE_BOOKED",
    "NO_DEVICE_DATA",
}
TWENTY_MINUTES = "05 09:00:00-09:20:00"
DATES = ("_on", "_date")


def value(name: str, text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if name.endswith(DATES) and text:
        return date.fromisoformat(text)
    return text or None


def bucket_of(case: dict[str, str]) -> tuple[MonthSources, date, date]:
    """Turn the changes of a case into a bucket, its month and the day of the run."""
    rows: dict[str, dict[str, Any]] = {"patient": {}, "payer": {}, "provider": {}}
    month, today, amounts = OCTOBER, TODAY, dict(AMOUNTS)
    windows: list[tuple[str, str, str]] = []
    frames: dict[str, pl.DataFrame] = {}
    for change in filter(None, case["changes"].split(" | ")):
        name, text = change.split("=", 1)
        room, _, field = name.partition(".")
        if room == "coverage":
            kind, first, last = (*text.split(), "")[:3]
            windows.append((kind, first, last))
        elif room == "month":
            month = date.fromisoformat(f"{text}-01")
        elif room == "today":
            today = date.fromisoformat(text)
        elif room == "practitioner":
            frames["practitioners"] = pl.DataFrame({"npi": [text]})
        elif room == "readings":
            one = [] if text == "none" else days(OCTOBER, 31) if text == "manual" else [value("_on", text)]
            frames["readings"] = readings(one, capture="manual" if text == "manual" else "automatic")
        elif field == "effective_from":
            frames["charges"] = charges(effective_from=date.fromisoformat(text))
        elif room == "charge":
            amounts = {code: amount for code, amount in amounts.items() if code != field}
            amounts |= {field: text} if text else {}
            frames["charges"] = charges(amounts)
        else:
            rows[room][field] = text if field == "date_of_service" else value(field, text)
    bucket = sources(
        parse_entries(case["entries"] or TWENTY_MINUTES, month),
        patients=patients(rows["patient"]),
        payers=payers(rows["payer"]),
        providers=providers(rows["provider"]),
        coverage=coverage(*windows),
        **frames,
    )
    return bucket, month, today


@cache
def billed_case(name: str) -> BilledMonth:
    """Bill a case once, whatever is asked of it."""
    return bill(*bucket_of(next(case for case in cases("holds") if case["case"] == name)))


@pytest.mark.parametrize("case", cases("holds"), ids=lambda case: case["case"])
def test_a_patient_is_held_for_every_reason_that_applies_and_no_other(case: dict[str, str]) -> None:
    billed = billed_case(case["case"])

    assert reasons(billed) == case["reasons"].split(";") if case["reasons"] else not reasons(billed)
    assert bool(carried(billed)) == (case["is_billed"] == "yes")
    assert billed.patients["is_billed"].any() == (case["is_billed"] == "yes")


def test_every_reason_of_the_contract_has_words_and_is_tried_on_both_sides() -> None:
    table = hold_reasons()
    tried = {reason for case in cases("holds") for reason in case["reasons"].split(";") if reason}

    assert set(table["reason"]) == set(CONTRACT.split())
    assert set(table.filter("is_note")["reason"]) == NOTES
    assert tried == set(CONTRACT.split()) - {"ALREADY_BILLED"}
    assert table.select(pl.col("message", "next_step").str.ends_with(".").all()).row(0) == (True, True)


@pytest.mark.parametrize("case", cases("holds"), ids=lambda case: case["case"])
def test_messages_are_filled_in_and_name_no_one(case: dict[str, str]) -> None:
    billed = billed_case(case["case"])

    words = " ".join(billed.holds["message"])
    assert not re.search(r"[{}]|null|None", words)
    assert "1EG4TE5MK73" not in words


def test_messages_carry_their_facts() -> None:
    spent = parse_entries("05 09:00:00-10:45:30 + 06 09:00:00-09:05:10 note_ref=none")
    rows = bill(sources(spent, patients=patients({"consent_date": None}), charges=charges({}))).holds
    words = dict(zip(rows["reason"], rows["message"], strict=True))

    assert "2026-10-05" in words["NO_CONSENT"]
    assert "99457, 99458" in words["NO_CHARGE"]
    assert "5 min 10 s" in words["UNDOCUMENTED_TIME"]
    assert "105 min 30 s count; 1 whole add-on units" in words["UNITS_OVER_CAP"]
    assert rows["counted_seconds"].unique().to_list() == [105 * 60 + 30]


def test_less_than_a_second_lost_is_said_as_such() -> None:
    rows = bill(sources("05 09:00:00-09:20:00 + 06 09:00:00-09:00:00.5 note_ref=none")).holds
    assert "less than 1 s" in rows["message"].item()


def test_holds_are_sorted_and_shaped_as_the_contract_says() -> None:
    worked = parse_entries("05 09:00:00-09:05:00 patient_id=P2 staff_id=S2 + 06 09:00:00-09:05:00")
    changes = {"consent_date": None, "care_plan_id": None}
    rows = bill(sources(worked, patients=patients(changes, {**changes, "patient_id": "P2"}))).holds

    assert rows.columns == [*HOLDS, "is_note"]
    assert rows.select("patient_id", "reason").rows() == [
        (patient, reason)
        for patient in ("P1", "P2")
        for reason in ("BELOW_THRESHOLD", "NO_CARE_PLAN", "NO_CONSENT")
    ]


SECOND_PROVIDER = {"npi": "1003000126"}


def two_patients(first: str, second: str, **change: Any) -> MonthSources:
    """P1 and P2 with the same member id, each with their own staff."""
    worked = parse_entries(f"{first} staff_id=S1 + {second} staff_id=S2 patient_id=P2")
    seen = pl.concat([readings([OCTOBER]), readings([OCTOBER], patient_id="P2")])
    return sources(
        worked,
        patients=patients({"patient_id": "P2", **change}, {}),
        providers=providers({}, SECOND_PROVIDER),
        readings=seen,
    )


def test_one_member_with_two_records_is_billed_once_under_the_first_record() -> None:
    billed = bill(two_patients("20 09:00:00-09:20:00", "05 09:00:00-09:20:00"))

    assert billed.claims["patient_id"].to_list() == ["P1"]
    assert reasons(billed, "P2") == ["ALREADY_BILLED"]


def test_a_held_record_does_not_take_the_members_place() -> None:
    billed = bill(two_patients("20 09:00:00-09:05:00", "05 09:00:00-09:20:00"))

    assert billed.claims["patient_id"].to_list() == ["P2"]
    assert reasons(billed, "P1") == ["BELOW_THRESHOLD"]


def test_two_of_our_providers_do_not_both_bill_a_member() -> None:
    billed = bill(two_patients("20 09:00:00-09:20:00", "05 09:00:00-09:20:00", billing_npi="1003000126"))

    # P2's month was reached first, so P1's claim is the one a payer would deny.
    assert billed.claims["patient_id"].to_list() == ["P2"]
    assert reasons(billed, "P1") == ["OTHER_PRACTITIONER"]


def test_the_same_day_is_settled_by_patient_id() -> None:
    billed = bill(two_patients("05 09:00:00-09:20:00", "05 09:00:00-09:20:00", billing_npi="1003000126"))
    assert billed.claims["patient_id"].to_list() == ["P1"]


def test_the_same_id_at_two_plans_is_two_people() -> None:
    bucket = two_patients("20 09:00:00-09:20:00", "05 09:00:00-09:20:00", billing_npi="1003000126")
    plans = payers({"kind": "commercial"}, {"kind": "commercial", "payer_id": "PLAN"})
    people = patients({"payer_id": "PLAN"}, {"patient_id": "P2", "billing_npi": "1003000126"})
    billed = bill(sources(bucket.entries, patients=people, payers=plans, providers=bucket.providers))

    assert billed.claims["patient_id"].sort().to_list() == ["P1", "P2"]


def test_hold_rows_hold_patients_for_a_reason_found_elsewhere() -> None:
    patients_found = pl.DataFrame({"patient_id": ["P2", "P1"], "counted_seconds": [1200, 600]})
    rows = hold_rows(patients_found, "ALREADY_BILLED")

    assert rows.select("patient_id", "reason", "counted_seconds", "is_note").rows() == [
        ("P1", "ALREADY_BILLED", 600, False),
        ("P2", "ALREADY_BILLED", 1200, False),
    ]
