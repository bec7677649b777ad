"""Metrics: each worked out by hand on a few claims, and none divides by nothing."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from billing.deposits import reassociate
from billing.metrics import definitions, metrics
from billing.reconciliation import reconcile
from billing.reference.tables import load
from tests.billing.made_books import OCTOBER, SENT, Maker


def _metrics(made: Maker) -> dict[str, Any]:
    books = made.books()
    found = metrics(books, reconcile(books, load()), reassociate(books))
    return dict(found.select("metric", "value").rows())


def _four_claims() -> Maker:
    """One paid, one denied, one rejected and sent again by a person, one that waits."""
    made = Maker()
    paid = made.claim()
    made.line(paid)
    made.answer(paid)
    made.post("payment", "47.04", paid)
    made.post("patient_responsibility", "12.00", paid, group_code="PR", reason_code="2")
    made.post("sequestration", "0.96", paid, group_code="CO", reason_code="253")
    made.post("contractual", "35.00", paid, group_code="CO", reason_code="45")
    denied = made.claim()
    made.line(denied, charge=Decimal("105.00"))
    made.answer(denied)
    made.post("denial", "105.00", denied, group_code="CO", reason_code="50")
    made.line(made.claim("rejected"))
    made.add("events", claim_id=3, at=SENT, actor="dana", to_state="replaced")
    made.line(made.claim("accepted", version=2))
    return made


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("clean_claim_rate", 2 / 4),
        ("touchless_claim_rate", 2 / 4),
        ("front_end_acceptance", 3 / 4),
        ("first_pass_resolution", 1 / 2),
        ("denial_rate_lines", 1 / 2),
        ("denial_rate_dollars", 105 / 200),
        ("days_in_ar", 95 / (295 / 90)),
        ("ar_over_90_days", 0.0),
        ("net_collection_rate", 47.04 / (200 - 35)),
        ("remit_lag", 17.0),
        ("days_to_bill", 14.0),
        ("variance", 47.04),
        ("unmatched_remits", 0.0),
        ("units_per_claim", 1.0),
        ("cost_to_collect", None),
    ],
)
def test_a_metric_is_what_its_formula_says(metric: str, value: float | None) -> None:
    found = _metrics(_four_claims())[metric]
    assert found == (None if value is None else pytest.approx(value, abs=1e-4))


def test_an_empty_ledger_has_no_rates_and_divides_by_nothing() -> None:
    found = _metrics(Maker())
    assert list(found) == [metric.name for metric in definitions()]
    assert found["clean_claim_rate"] is None
    assert found["days_in_ar"] is None
    assert found["unmatched_remits"] == 0


def test_unmatched_remittances_are_counted_with_their_money_and_age() -> None:
    made = Maker(as_of=date(2026, 11, 10))
    made.add("remittances", amount=Decimal("9.00"), method="NON", state="posted", received_at=SENT)
    made.add("remittance_claims", remittance_id=1, claim_number="X", charge=Decimal("95.00"),
             paid=Decimal("9.00"), is_reversal=False, is_forwarded=False)  # fmt: skip
    found = _metrics(made)
    assert (
        found["unmatched_remits"],
        found["unmatched_remits_dollars"],
        found["unmatched_remits_oldest"],
    ) == (1, 9, 7)


def test_the_funnel_is_that_of_the_last_run_of_each_month() -> None:
    made = Maker()
    for day, enrolled in ((1, 50), (2, 40)):
        funnel = {
            "patients_enrolled": enrolled,
            "patients_eligible": 30,
            "patients_billed": 20,
            "minutes_logged": 1000.0,
            "minutes_billed": 600.0,
            "minutes_stranded": 70.0,
            "holds": [{"reason": "NO_LIVE_INTERACTION", "patients": 3}],
        }
        made.add("runs", run_id=f"r{day}", month=OCTOBER, source="s",
                 finished_at=datetime(2026, 11, day, tzinfo=UTC),
                 summary=json.dumps({"funnel": funnel}))  # fmt: skip
    found = _metrics(made)
    assert found["enrolled_patients"] == 40
    assert found["billed_share"] == 0.5
    assert found["minutes_billed_share"] == 0.6
    assert found["no_interaction_patients"] == 3


def test_the_balance_over_ninety_days_is_that_of_the_aging() -> None:
    made = Maker()  # as of 31 December
    claim = made.claim("sent", date_of_service=date(2026, 10, 2))
    made.line(claim, 1, date_of_service=date(2026, 10, 1))
    made.line(claim, 2, date_of_service=date(2026, 10, 2))
    assert _metrics(made)["ar_over_90_days"] == 0
    aging = reconcile(made.books(), load()).aging.filter(clock="date of service", party="payer")
    assert aging.filter(bucket="61-90")["amount"].to_list() == [Decimal("190.00")]
