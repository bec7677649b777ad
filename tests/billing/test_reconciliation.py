"""Reconciliation: every row adds up, every day is frozen, and what is open is aged by both clocks."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.reconciliation import FIGURES, Reconciliation, reconcile, totals_by
from billing.reference.tables import load
from billing.settlement import SETTLING_ACCOUNTS
from tests.billing.made_books import AS_OF, OCTOBER, PAID_ON, SENT, Maker


def _reconciled(made: Maker, month: date | None = None) -> Reconciliation:
    return reconcile(made.books(), load(), month)


def _paid(made: Maker, **claim: Any) -> int:
    number = made.claim(**claim)
    made.line(number)
    made.answer(number, allowed="60.00")
    made.post("payment", "47.04", number)
    made.post("patient_responsibility", "12.00", number, group_code="PR", reason_code="2")
    made.post("sequestration", "0.96", number, group_code="CO", reason_code="253")
    made.post("contractual", "35.00", number, group_code="CO", reason_code="45")
    return number


def test_a_paid_line_is_settled_to_the_cent() -> None:
    made = Maker()
    _paid(made)
    total = totals_by(_reconciled(made).lines).row(0, named=True)
    assert {name: str(total[name]) for name in FIGURES} == {
        "billed": "95.00",
        "expected": "47.04",
        "allowed": "60.00",
        "paid": "47.04",
        "patient": "12.00",
        "sequestration": "0.96",
        "contractual": "35.00",
        "denied": "0.00",
        "taken_back": "0.00",
        "open": "0.00",
        "variance": "0.00",
        "unsent": "0.00",
    }


def test_the_summary_parts_by_month_contractor_code_and_payer() -> None:
    made = Maker()
    _paid(made)
    _paid(made, mac_contract="05102")
    _paid(made, payer_id="PLAN", payer_kind="commercial")
    _paid(made, service_month=date(2026, 9, 1))
    made.line(1, 2, code="99458")
    summary = _reconciled(made).summary
    assert summary.height == 5
    assert summary["billed"].sum() == Decimal("95.00") * 5
    assert set(summary["mac_name"]) == {
        "Noridian Healthcare Solutions",
        "WPS (Wisconsin Physicians Service)",
    }


def test_a_month_shows_its_own_claims_alone() -> None:
    made = Maker()
    _paid(made)
    _paid(made, service_month=date(2026, 9, 1))
    report = _reconciled(made, OCTOBER)
    assert report.lines["month"].unique().to_list() == [OCTOBER]
    assert report.summary["claims"].sum() == 1


def test_a_claim_that_has_not_left_is_neither_billed_nor_open() -> None:
    made = Maker()
    made.line(made.claim("built"))
    total = totals_by(_reconciled(made).lines).row(0, named=True)
    assert (total["billed"], total["open"], total["unsent"]) == (0, 0, Decimal("95.00"))


def test_a_replaced_claim_asks_for_nothing_and_keeps_what_was_paid() -> None:
    made = Maker()
    old = _paid(made)
    made.add(
        "events", claim_id=old, at=datetime(2026, 12, 1, tzinfo=UTC), actor="correct", to_state="replaced"
    )
    made.line(made.claim("sent", version=2))
    report = _reconciled(made)
    total = totals_by(report.lines).row(0, named=True)
    assert (total["billed"], total["paid"]) == (Decimal("95.00"), Decimal("47.04"))
    assert report.lines["answer"].to_list() == ["replaced", "waiting"]
    assert report.lines.filter(answer="replaced")["variance"].to_list() == [Decimal("-47.04")]


def test_a_later_takeback_changes_later_reports_and_never_this_one() -> None:
    def made(as_of: date) -> Maker:
        # What a SELECT as of that day would give: nothing that was dated or known later.
        maker = Maker(as_of=as_of)
        _paid(maker)
        if as_of >= date(2027, 1, 15):
            day = date(2027, 1, 15)
            reversal = maker.remit(1, "22", on=day)
            maker.post("payment", "-47.04", 1, posted_on=day, remittance_claim_id=reversal)
        return maker

    then, later = _reconciled(made(AS_OF)), _reconciled(made(date(2027, 1, 31)))
    assert (then.lines["paid"][0], then.lines["taken_back"][0]) == (Decimal("47.04"), 0)
    assert (later.lines["paid"][0], later.lines["taken_back"][0]) == (0, Decimal("47.04"))


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, "0-30"),
        (30, "0-30"),
        (31, "31-60"),
        (60, "31-60"),
        (61, "61-90"),
        (90, "61-90"),
        (91, "91-120"),
        (120, "91-120"),
        (121, "121-180"),
        (180, "121-180"),
        (181, "181-365"),
        (365, "181-365"),
        (366, "over 365"),
    ],
)
def test_an_open_balance_stands_in_the_bucket_of_its_age(days: int, bucket: str) -> None:
    made = Maker()
    made.line(made.claim("sent", date_of_service=AS_OF - timedelta(days=days)))
    aging = _reconciled(made).aging.filter(clock="date of service", party="payer")
    assert aging.filter(pl.col("amount") != 0).select("bucket", "claims", "amount").rows() == [
        (bucket, 1, Decimal("95.00"))
    ]
    assert aging.height == 7


def test_both_clocks_run_and_patients_are_kept_apart() -> None:
    made = Maker()
    claim = made.claim(date_of_service=date(2026, 8, 1))
    made.line(claim)
    made.post("patient_responsibility", "12.00", claim, group_code="PR", reason_code="2")
    owed = _reconciled(made).aging.filter(pl.col("amount") != 0)
    assert owed.select("clock", "party", "bucket", "amount").rows() == [
        ("date of service", "payer", "121-180", Decimal("83.00")),
        ("date of service", "patient", "121-180", Decimal("12.00")),
        ("last payer action", "payer", "31-60", Decimal("83.00")),
        ("last payer action", "patient", "31-60", Decimal("12.00")),
    ]
    assert (AS_OF - PAID_ON).days == 41


def test_money_outside_any_claim_is_shown_beside_and_not_in_the_sums() -> None:
    made = Maker()
    _paid(made)
    made.post("takeback", "20.00", None, None, remittance_claim_id=None)
    made.post("interest", "-1.50", None, None, remittance_claim_id=None)
    report = _reconciled(made)
    assert report.provider_level.rows() == [
        ("interest", 1, Decimal("-1.50")),
        ("takeback", 1, Decimal("20.00")),
    ]
    assert report.lines["open"].sum() == 0
    assert _reconciled(made, OCTOBER).provider_level.is_empty()


def test_an_adjustment_that_found_its_claim_late_is_one_entry_and_of_its_month() -> None:
    made = Maker()
    claim = _paid(made)
    for amount, whose in (("20.00", None), ("-20.00", None), ("20.00", claim)):
        made.post("takeback", amount, whose, None, remittance_claim_id=None, reference="2226300000017")
    for month in (None, OCTOBER):
        assert _reconciled(made, month).provider_level.rows() == [("takeback", 1, Decimal("20.00"))]


@pytest.mark.parametrize("arrived", [(1, 2), (2, 1)], ids=["in order", "the correction first"])
def test_the_latest_payment_says_what_is_allowed_whichever_file_arrived_first(
    arrived: tuple[int, int],
) -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim)
    made.post("payment", "47.04", claim)
    allowed = {1: "30.00", 2: "60.00"}  # the first payment was too low; the second, a week later, corrects it
    for day in (1, 2):
        made.add("remittances", payment_date=PAID_ON + timedelta(weeks=day), received_at=SENT, state="posted")
    for payment in arrived:
        number = made.add("remittance_claims", remittance_id=payment, claim_id=claim, status_code="1",
                          is_reversal=False, is_forwarded=False)  # fmt: skip
        made.add("remittance_lines", remittance_claim_id=number, claim_line_number=1, units="1",
                 allowed=Decimal(allowed[payment]), is_denied=False)  # fmt: skip
    assert _reconciled(made).lines["allowed"].to_list() == [Decimal("60.00")]


AMOUNTS = st.decimals(Decimal("-99.99"), Decimal("99.99"), places=2, allow_nan=False)


@given(
    posted=st.lists(
        st.tuples(st.sampled_from(SETTLING_ACCOUNTS), AMOUNTS, st.sampled_from([1, 2, None])), max_size=12
    ),
    stated=st.one_of(st.none(), st.decimals(0, 99, places=2)),
    units=st.sampled_from(["0", "1", "2", "2.5"]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_posted_every_row_adds_up_and_the_parts_are_the_variance(
    posted: list[tuple[str, Decimal, int | None]], stated: Decimal | None, units: str
) -> None:
    made = Maker()
    claim = made.claim()
    made.line(claim, 1)
    made.line(claim, 2, code="99458", units=3)
    made.answer(claim, 2, allowed=None if stated is None else str(stated), units=units)
    for account, amount, line in posted:
        made.post(account, str(amount), claim, line, group_code="CO", reason_code="1")
    report = _reconciled(made)
    lines = report.lines
    settled = lines.select(pl.sum_horizontal(SETTLING_ACCOUNTS).sum()).item()
    assert lines["billed"].sum() == settled + lines.select(pl.col("open").sum()).item()
    assert settled == sum((amount for _, amount, _ in posted), Decimal(0))
    by_line = report.bridge.group_by("line_number").agg(pl.col("amount").sum())
    joined = lines.join(by_line, on="line_number", how="left", nulls_equal=True)
    assert (joined["variance"].fill_null(0) == joined["amount"].fill_null(0)).all()
