"""Settlement: a claim is settled once, however many payers answer it, and by what decides something."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import permutations
from typing import Any

import polars as pl
import pytest

from billing.deposits import reassociate
from billing.metrics import metrics
from billing.reconciliation import Reconciliation, reconcile, totals_by
from billing.reference.tables import load
from billing.worklist import work_items
from tests.billing.made_books import Maker

ACCOUNTS = {
    "CO-45": "contractual",
    "CO-253": "sequestration",
    "OA-23": "prior_payer",
    "paid": "payment",
    **dict.fromkeys(("PR-1", "PR-2", "PR-31", "PR-96"), "patient_responsibility"),
    **dict.fromkeys(("CO-16", "CO-50", "CO-109"), "denial"),
}
FIRST = "CO-45 43.36, CO-253 0.83, PR-2 10.33, paid 40.48"
NEXT = "OA-23 84.67, paid 10.33"


def _claim(**claim: Any) -> Maker:
    made = Maker()
    number = made.claim(**claim)
    made.line(number, allowed_estimate=Decimal("51.64"), medicare_estimate=Decimal("40.48"))
    return made


def _say(
    made: Maker, status: str, said: str, *, line: int | None = 1, payer: str = "PARTB", **answer: Any
) -> int:
    """Add a payer's answer, written as `code amount` with commas between, and its postings."""
    number = made.remit(1, status, payer=payer)
    _add(made, number, said, line, **answer)
    return number


def _add(made: Maker, number: int, said: str, line: int | None = 1, **answer: Any) -> None:
    place = None
    if line is not None:
        given = {"units": "1", "is_denied": False, **answer}
        place = made.add("remittance_lines", remittance_claim_id=number, claim_line_number=line, **given)
    for code, amount in (part.split(" ") for part in said.split(", ")):
        group, _, reason = code.partition("-")
        codes = {} if code == "paid" else {"group_code": group, "reason_code": reason}
        made.post(ACCOUNTS[code], amount, 1, line, remittance_claim_id=number, **codes)
        if codes:
            made.add("adjustments", remittance_claim_id=number, remittance_line_id=place,
                     amount=Decimal(amount), **codes)  # fmt: skip


def _report(made: Maker) -> Reconciliation:
    return reconcile(made.books(), load())


def _kinds(made: Maker) -> list[str]:
    books = made.books()
    items = work_items(books, reconcile(books, load()), reassociate(books), load())
    return items["kind"].to_list()


def _totals(made: Maker, names: str = "paid patient denied open") -> str:
    total = totals_by(_report(made).lines).row(0, named=True)
    return " ".join(str(total[name]) for name in names.split())


def _with(answers: Iterable[tuple[str, str, str]]) -> Maker:
    made = _claim()
    for status, said, payer in answers:
        _say(made, status, said, payer=payer)
    return made


@pytest.mark.parametrize("order", list(permutations(range(2))), ids=["first payer first", "next payer first"])
def test_a_later_payer_pays_the_patients_share_and_settles_nothing_twice(order: tuple[int, ...]) -> None:
    answers = [("19", FIRST, "PARTB"), ("2", NEXT, "PLAN")]
    made = _with(answers[place] for place in order)
    assert _totals(made) == "50.81 0.00 0.00 0.00"
    assert _totals(made, "contractual allowed") == "43.36 51.64"
    report = _report(made)
    assert report.lines.select("answer", "flag").rows() == [("paid", None)]
    assert report.bridge.select("reason", "amount").rows() == [("later_payer", Decimal("-10.33"))]
    assert _kinds(made) == []


def test_a_claim_that_only_a_later_payer_answered_stands_as_that_payer_says() -> None:
    made = _claim()
    _say(made, "2", "OA-23 90.00, paid 5.00", payer="PLAN")
    assert _totals(made) == "5.00 0.00 0.00 0.00"
    line = _report(made).lines.row(0, named=True)
    assert (line["answer"], line["allowed"], line["flag"]) == ("later_payer", None, None)
    assert _kinds(made) == []


@pytest.mark.parametrize(
    ("first", "later", "left"),
    [
        # Of 10.33 the next payer writes off 3.00 beyond the first one's 84.67.
        (FIRST, "OA-23 84.67, CO-45 3.00, paid 7.33", "0.00 46.36 0.00 0.00"),
        # The next payer repeats the first one's write-off and leaves 2.00 to the patient.
        (FIRST, "CO-45 43.36, OA-23 41.31, PR-2 2.00, paid 8.33", "2.00 43.36 0.00 0.00"),
        (FIRST, "CO-16 95.00", "10.33 43.36 0.00 0.00"),
        (FIRST, "PR-96 95.00", "10.33 43.36 0.00 0.00"),
        # What it pays beyond the patient's share is a credit.
        (FIRST, "OA-23 84.67, paid 12.33", "0.00 43.36 0.00 -2.00"),
        # What the first payer denied the next one pays for a part.
        ("CO-50 95.00", "CO-45 45.00, paid 50.00", "0.00 0.00 45.00 0.00"),
        ("PR-96 95.00", "CO-45 45.00, paid 50.00", "0.00 45.00 0.00 0.00"),
    ],
    ids=["writes off", "repeats", "denies", "leaves all", "too much", "pays a denial", "pays a refusal"],
)
def test_what_a_later_payer_says_changes_only_what_was_left(first: str, later: str, left: str) -> None:
    for answers in permutations([("1", first, "PARTB"), ("2", later, "PLAN")]):
        assert _totals(_with(answers), "patient contractual denied open") == left


def test_a_later_payers_takeback_opens_the_patients_share_again_and_not_the_claim() -> None:
    taken = "OA-23 -84.67, paid -10.33"
    made = _with([("19", FIRST, "PARTB"), ("2", NEXT, "PLAN"), ("22", taken, "PLAN")])
    assert _totals(made, "paid patient open taken_back") == "40.48 10.33 0.00 10.33"
    assert _report(made).lines["answer"].to_list() == ["paid"]


def test_a_first_payers_takeback_leaves_the_next_ones_payment_and_opens_the_rest() -> None:
    taken = "CO-45 -43.36, CO-253 -0.83, PR-2 -10.33, paid -40.48"
    made = _with([("19", FIRST, "PARTB"), ("2", NEXT, "PLAN"), ("22", taken, "PARTB")])
    assert _totals(made) == "10.33 0.00 0.00 84.67"
    assert _report(made).lines["answer"].to_list() == ["taken_back"]


def test_a_later_payer_that_answers_the_claim_as_a_whole_relieves_the_patient_too() -> None:
    made = _claim()
    _say(made, "19", FIRST)
    _say(made, "2", NEXT, line=None, payer="PLAN")
    assert _totals(made) == "50.81 0.00 0.00 0.00"


@pytest.mark.parametrize("status", ["23", "25"])
def test_what_decides_nothing_settles_nothing_and_is_no_denial(status: str) -> None:
    made = _claim(state="sent")
    _say(made, status, "CO-109 95.00", is_denied=True)
    assert _totals(made) == "0.00 0.00 0.00 95.00"
    assert _report(made).lines["answer"].to_list() == ["waiting"]
    assert "denial" not in _kinds(made)


@pytest.mark.parametrize(("status", "code"), [("1", "CO-16"), ("4", "PR-31")])
def test_a_denial_of_the_claim_as_a_whole_denies_its_lines(status: str, code: str) -> None:
    made = _claim()
    number = _say(made, status, f"{code} 95.00", line=None)
    made.add("remarks", remittance_claim_id=number, code="MA130")
    report = _report(made)
    line = report.lines.filter(pl.col("line_number") == 1).row(0, named=True)
    assert (line["answer"], line["codes"], line["variance"]) == ("denied", [code], Decimal("40.48"))
    assert report.bridge.select("line_number", "reason").rows() == [(1, "denial")]
    books = made.books()
    banked = reassociate(books)
    items = work_items(books, report, banked, load())
    assert items.select("kind", "reference", "money").rows() == [("denial", "line 1 99457", Decimal("40.48"))]
    assert items["retry_class"].item().startswith("F")
    assert f"{code} MA130" in items["reason"].item()
    found = dict(metrics(books, report, banked).select("metric", "value").rows())
    assert (found["denial_rate_lines"], found["denial_rate_dollars"]) == (1, 1)
    assert found["first_pass_resolution"] == 0


def test_a_denial_of_the_claim_beside_lines_without_reasons_is_a_denial_and_no_takeback() -> None:
    made = _claim()
    number = _say(made, "1", "paid 95.00")
    _add(made, number, "CO-16 95.00, paid -95.00", None)
    assert _totals(made) == "0.00 0.00 95.00 0.00"
    assert _totals(made, "taken_back allowed") == "0.00 0.00"
    assert _report(made).lines["codes"].to_list() == [["CO-16"], ["CO-16"]]
    assert _kinds(made) == ["denial"]


def test_a_deductible_of_the_claim_as_a_whole_is_no_denial() -> None:
    made = _claim()
    _say(made, "1", "CO-45 43.36, PR-1 51.64", line=None)
    assert _report(made).lines["answer"].to_list() == ["claim_level", "claim_level"]
    assert _kinds(made) == []


def test_a_deductible_beside_lines_is_taken_from_the_payment_and_not_taken_back() -> None:
    made = _claim()
    number = _say(made, "1", FIRST, allowed=Decimal("51.64"))
    _add(made, number, "PR-1 10.00, paid -10.00", None)
    assert _totals(made) == "30.48 20.33 0.00 0.00"
    assert _totals(made, "taken_back allowed") == "0.00 51.64"
    assert _kinds(made) == []


@pytest.mark.parametrize(
    ("on_the_claim", "underpaid", "kinds"),
    [
        ("CO-45 43.36, CO-253 0.83, PR-2 10.33, paid -54.52", "0.00", []),
        ("CO-45 63.36, CO-253 0.51, PR-2 6.33, paid -70.20", "20.00", ["underpayment"]),
    ],
    ids=["as expected", "twenty too little"],
)
def test_a_line_is_judged_with_what_was_taken_from_the_claim_as_a_whole(
    on_the_claim: str, underpaid: str, kinds: list[str]
) -> None:
    made = _claim()
    number = _say(made, "1", "paid 95.00")
    _add(made, number, on_the_claim, None)
    assert _report(made).lines["underpaid"].sum() == Decimal(underpaid)
    assert _kinds(made) == kinds


def test_a_line_that_is_as_expected_is_flagged_for_what_the_claim_lost() -> None:
    made = _claim()
    number = _say(made, "1", FIRST)
    _add(made, number, "CO-45 20.00, paid -20.00", None)
    line = _report(made).lines.row(0, named=True)
    assert (line["flag"], line["explanation"]) == ("underpaid", "claim_level 20.00")
    assert _kinds(made) == ["underpayment"]


def test_the_parts_of_a_split_line_do_not_multiply_its_units() -> None:
    made = _claim()
    number = _say(made, "1", "CO-45 21.68, CO-253 0.42, PR-2 5.16, paid 20.24", allowed=Decimal("25.82"))
    _add(made, number, "CO-45 21.68, CO-253 0.41, PR-2 5.17, paid 20.24", allowed=Decimal("25.82"))
    report = _report(made)
    assert report.lines.select("paid_units", "variance").rows() == [(1, 0)]
    assert report.bridge.is_empty()


def test_what_an_earlier_payer_took_over_says_nothing_of_the_price() -> None:
    made = _claim()
    _say(made, "1", "OA-23 95.00")
    report = _report(made)
    assert _totals(made) == "0.00 0.00 0.00 0.00"
    assert report.lines["flag"].to_list() == [None]
    assert report.bridge.select("reason", "amount").rows() == [("prior_payer", Decimal("40.48"))]
    assert _kinds(made) == []
