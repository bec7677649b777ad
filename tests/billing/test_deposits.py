"""Payments and deposits: who belongs to whom, as written in cases/deposits.csv."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from billing.books import Books
from billing.deposits import STATUSES, reassociate
from tests.billing.made_books import Maker

CASES = pl.read_csv(Path(__file__).parent / "cases" / "deposits.csv", infer_schema=False)


def _books(case: dict[str, str | None]) -> Books:
    made = Maker()
    for payment in (case["payments"] or "").split(";"):
        if payment:
            number, amount, trace, company, day = payment.split()
            made.add(
                "remittances",
                remittance_id=int(number[1:]),
                amount=Decimal(amount),
                trace_number=trace,
                originator_id=company,
                payment_date=date.fromisoformat(day),
                method="ACH",
                state="posted",
            )
    for deposit in (case["deposits"] or "").split(";"):
        if deposit:
            number, amount, trace, company, day = deposit.split()
            made.add(
                "deposits",
                deposit_id=int(number[1:]),
                amount=Decimal(amount),
                trace_number=None if trace == "-" else trace,
                company_id=None if company == "-" else company,
                deposited_on=date.fromisoformat(day),
            )
    return made.books()


@pytest.mark.parametrize("case", CASES.to_dicts(), ids=CASES["story"].to_list())
def test_payments_and_deposits_find_each_other_as_written(case: dict[str, str | None]) -> None:
    found = []
    for row in reassociate(_books(case)).groups.to_dicts():
        payments = "+".join(f"E{number}" for number in row["remittance_ids"] or [])
        deposits = "+".join(f"D{number}" for number in row["deposit_ids"] or [])
        found.append(
            f"{row['status']} {row['how'] or '-'} {payments or '-'} {deposits or '-'} {row['difference']}"
        )
        assert row["status"] in STATUSES
    assert sorted(found) == sorted((case["expected"] or "").split(";"))


def test_a_payment_of_nothing_waits_for_no_deposit() -> None:
    made = Maker()
    made.add("remittances", amount=Decimal("0.00"), method="NON", state="posted", trace_number="T9")
    assert reassociate(made.books()).groups.is_empty()


def test_a_repeated_remittance_is_paid_once() -> None:
    made = Maker()
    for state in ("posted", "repeat"):
        made.add("remittances", amount=Decimal("5.00"), method="ACH", state=state, trace_number="T9")
    made.add("deposits", amount=Decimal("5.00"), trace_number="T9", deposited_on=date(2026, 11, 20))
    assert reassociate(made.books()).groups["status"].to_list() == ["matched"]


def test_unapplied_cash_is_what_nobody_accounts_for() -> None:
    made = Maker()
    made.add("deposits", amount=Decimal("5.00"), trace_number="T9", deposited_on=date(2026, 11, 20))
    made.add("remittances", amount=Decimal("7.00"), method="ACH", state="posted", trace_number="T1")
    made.add("deposits", amount=Decimal("8.00"), trace_number="T1", deposited_on=date(2026, 11, 20))
    assert reassociate(made.books()).unapplied == Decimal("6.00")


def test_a_payment_in_quarantine_is_matched_and_its_cash_unapplied() -> None:
    made = Maker()
    for number, state in (("T1", "posted"), ("T2", "quarantined")):
        made.add("remittances", amount=Decimal("7.00"), method="ACH", state=state, trace_number=number)
        made.add("deposits", amount=Decimal("7.00"), trace_number=number, deposited_on=date(2026, 11, 20))
    found = reassociate(made.books())
    assert found.groups["status"].to_list() == ["matched", "matched"]
    assert found.unapplied == Decimal("7.00")


def test_a_company_of_blanks_is_no_company() -> None:
    made = Maker()
    made.add(
        "remittances",
        amount=Decimal("7.00"),
        method="ACH",
        state="posted",
        trace_number="T1",
        originator_id="1512345678",
    )
    made.add(
        "deposits",
        amount=Decimal("7.00"),
        trace_number="T1",
        company_id="  ",
        deposited_on=date(2026, 11, 20),
    )
    assert reassociate(made.books()).groups["status"].to_list() == ["matched"]


def test_every_deposit_is_named_with_every_payment_of_its_set() -> None:
    made = Maker()
    made.add("remittances", amount=Decimal("7.00"), method="ACH", state="posted", trace_number="T1")
    for amount in ("3.00", "4.00"):
        made.add("deposits", amount=Decimal(amount), trace_number="T1", deposited_on=date(2026, 11, 20))
    assert reassociate(made.books()).matches.sort("deposit_id").rows() == [
        (1, 1, "split_payment"),
        (2, 1, "split_payment"),
    ]
