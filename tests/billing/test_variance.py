"""Why a payment differs from its estimate: worked by hand in cases/variance.csv, and the parts add up."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from billing.reconciliation import Reconciliation, reconcile
from billing.reference.tables import load
from tests.billing.made_books import Maker

CASES = pl.read_csv(Path(__file__).parent / "cases" / "variance.csv", infer_schema=False)


def _reconciled(case: dict[str, str | None]) -> Reconciliation:
    made = Maker()
    claim = made.claim(payer_kind=case["payer_kind"])
    money: dict[str, Any] = {
        name: Decimal(case[name] or "0") for name in ("charge", "allowed_estimate", "medicare_estimate")
    }
    made.line(claim, code=case["code"], units=int(case["units"] or 1), **money)
    made.answer(claim, allowed=case["stated_allowed"], units=case["paid_units"] or "1")
    settled = Decimal("0.00")
    for column, account, group, reason in (
        ("paid", "payment", None, None),
        ("deductible", "patient_responsibility", "PR", "1"),
        ("coinsurance", "patient_responsibility", "PR", "2"),
        ("sequestration", "sequestration", "CO", "253"),
        ("denial", "denial", "CO", "50"),
        ("prior_payer", "prior_payer", "OA", "23"),
        ("incentive", "other_adjustment", "CO", "237"),
    ):
        if amount := case[column]:
            made.post(account, amount, claim, group_code=group, reason_code=reason)
            settled += Decimal(amount)
    left = Decimal(case["charge"] or "0") - settled
    made.post("contractual", str(left), claim, group_code="CO", reason_code="45")
    return reconcile(made.books(), load())


@pytest.mark.parametrize("case", CASES.to_dicts(), ids=CASES["story"].to_list())
def test_a_variance_is_explained_as_worked_by_hand(case: dict[str, str | None]) -> None:
    found = _reconciled(case)
    line = found.lines.row(0, named=True)
    parts = {row["reason"]: str(row["amount"]) for row in found.bridge.to_dicts()}
    wanted = dict(part.rsplit(" ", 1) for part in (case["parts"] or "").split("; ") if part)
    assert parts == wanted
    assert str(line["variance"]) == case["variance"]
    assert str(line["underpaid"]) == case["underpaid"]
    assert sum((row["amount"] for row in found.bridge.to_dicts()), Decimal(0)) == line["variance"]
    assert line["open"] == 0


def test_the_flag_says_in_whose_favour_the_payer_erred() -> None:
    flags = {case["story"]: _reconciled(case).lines["flag"][0] for case in CASES.to_dicts()}
    assert flags["priced as in a facility"] == "underpaid"
    assert flags["sequestration was not taken"] == "overpaid"
    assert flags["forty dollars of the deductible"] is None


def test_the_detail_names_what_the_payer_seems_to_have_used() -> None:
    cases = {case["story"]: case for case in CASES.to_dicts()}
    details = {
        story: _reconciled(cases[story]).bridge["detail"][0]
        for story in (
            "priced for another locality of the contract",
            "priced in a facility and by another locality",
            "two of three units paid",
            "denied",
        )
    }
    assert details["priced for another locality of the contract"] == "locality 51"
    assert details["priced in a facility and by another locality"] == "facility side, locality 51"
    assert details["two of three units paid"] == "2 of 3 units paid"
    assert details["denied"] == "CO-45 CO-50"


def test_last_years_schedule_is_recognised() -> None:
    made = Maker()
    claim = made.claim()
    made.line(
        claim,
        date_of_service=date(2026, 10, 20),
        allowed_estimate=Decimal("65.26"),
        medicare_estimate=Decimal("51.17"),
    )
    # San Francisco, non-facility, 2025: a published CMS amount of the year before.
    fee = _fee_of_2025()
    made.answer(claim, allowed=str(fee))
    coinsurance = (fee * Decimal("0.2")).quantize(Decimal("0.01"))
    made.post("patient_responsibility", str(coinsurance), claim, group_code="PR", reason_code="2")
    made.post("payment", str(fee - coinsurance), claim)
    found = reconcile(made.books(), load())
    price = found.bridge.filter(reason="fee")
    assert price["detail"].to_list() == ["schedule of 2025"]
    assert found.bridge["amount"].sum() == found.lines["variance"][0]


def _fee_of_2025() -> Decimal:
    from billing.pricing import fees

    book = fees(load(), date(2025, 10, 20), ["99457"])
    fee = book.filter(mac_contract="01112", locality="05", setting="nonfacility", factor="standard")["fee"][0]
    assert isinstance(fee, Decimal)
    return fee


def test_a_line_of_which_nothing_came_back_is_not_a_denial() -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim, 1)
    made.line(claim, 2, code="99458")
    made.answer(claim, 1, allowed="60.00")
    made.post("payment", "47.04", claim, 1)
    made.post("patient_responsibility", "12.00", claim, 1, group_code="PR", reason_code="2")
    made.post("sequestration", "0.96", claim, 1, group_code="CO", reason_code="253")
    found = reconcile(made.books(), load())
    assert found.lines["answer"].to_list() == ["paid", "not_answered"]
    assert found.bridge.select("line_number", "reason").rows() == [(2, "not_answered")]


def test_what_a_payer_answers_for_a_claim_as_a_whole_stands_on_a_row_of_its_own() -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim, 1)
    made.post("payment", "47.04", claim, None)
    made.post("patient_responsibility", "12.00", claim, None, group_code="PR", reason_code="2")
    found = reconcile(made.books(), load())
    assert found.lines["line_number"].to_list() == [1, None]
    assert found.lines["variance"].sum() == 0
    assert found.lines["open"].sum() == Decimal("95.00") - Decimal("59.04")


def test_a_reversal_without_its_correction_is_a_takeback() -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim)
    for status, sign in (("1", ""), ("22", "-")):
        answer = made.remit(claim, status)
        made.post("payment", f"{sign}47.04", claim, remittance_claim_id=answer)
        made.post(
            "contractual", f"{sign}35.00", claim,
            group_code="CO", reason_code="45", remittance_claim_id=answer,
        )  # fmt: skip
    found = reconcile(made.books(), load())
    line = found.lines.row(0, named=True)
    assert (line["answer"], line["taken_back"], line["open"]) == (
        "taken_back",
        Decimal("47.04"),
        Decimal("95.00"),
    )
    assert found.bridge.select("reason", "amount").rows() == [("takeback", Decimal("47.04"))]
