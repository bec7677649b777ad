"""An earned device period is on a claim, or it is said why not: by its patient's hold, or by name."""

from datetime import date
from typing import Any

import pytest

from billing.month import BilledMonth
from tests.billing.made_month import (
    bill,
    carried,
    charges,
    coverage,
    days,
    patients,
    payers,
    readings,
    reasons,
    sources,
)

TIME, NO_TIME = "25 09:00-09:20", "05 09:00-09:20 program=CCM"
# P1 is enrolled on 20 September, so that the period is dated 19 October.
PERSON = {"patient_id": "P1", "enrolled_on": date(2026, 9, 20)}
DATED = date(2026, 10, 19)


def month(written: str, *people: dict[str, Any], **changes: Any) -> BilledMonth:
    """Bill P1, with sixteen days of data in the period, and whoever else is given."""
    bucket: dict[str, Any] = {
        "payers": payers({"bill_device_supply": True}),
        "readings": readings(days(date(2026, 9, 20), 16)),
        "patients": patients(*(people or (PERSON,))),
        **changes,
    }
    return bill(sources(written, **bucket))


def left_out(billed: BilledMonth) -> list[tuple[Any, ...]]:
    return billed.supply_left_out.drop("next_step").rows()


def test_a_period_on_a_claim_is_not_left_out() -> None:
    billed = month(TIME)
    assert carried(billed) == "99457 + 99454"
    assert left_out(billed) == []


@pytest.mark.parametrize("written", [TIME, NO_TIME])
def test_a_period_that_something_stands_against_is_named_while_the_time_is_billed(written: str) -> None:
    billed = month(written, coverage=coverage(("hospice", "2026-10-19", "2026-10-19")))
    assert carried(billed) == ("99457" if written == TIME else "")
    assert reasons(billed) == []
    assert left_out(billed) == [("P1", "99454", DATED, "HOSPICE")]
    assert "unrelated" in billed.supply_left_out["next_step"].item()


def test_every_reason_against_a_period_is_named() -> None:
    billed = month(TIME, {**PERSON, "consent_date": date(2026, 10, 20), "order_date": date(2026, 10, 21)})
    assert carried(billed) == "99457"
    assert left_out(billed) == [("P1", "99454", DATED, reason) for reason in ("NO_CONSENT", "NO_ORDER")]


def test_of_a_patient_who_is_held_the_hold_says_it() -> None:
    billed = month(TIME, {**PERSON, "consent_date": None})
    assert reasons(billed) == ["NO_CONSENT"]
    assert left_out(billed) == []


def test_a_period_without_a_charge_is_named_where_no_time_is_held_for_it() -> None:
    uncharged = charges({"99457": "80.00"})
    assert left_out(month(NO_TIME, charges=uncharged)) == [("P1", "99454", DATED, "NO_CHARGE")]
    assert left_out(month(TIME, charges=uncharged)) == []


def test_a_period_whose_member_is_billed_from_another_record_is_named() -> None:
    twin = {**PERSON, "patient_id": "P0"}
    billed = month("05 09:00-09:20 patient_id=P0", PERSON, twin)
    assert carried(billed, "P0") == "99457"
    assert left_out(billed) == [("P1", "99454", DATED, "ALREADY_BILLED")]
