"""Remittances as they arrive, posted into a real ledger and reconciled."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from itertools import permutations

import pytest

from billing.reconciliation import reconcile, totals_by
from billing.reference.tables import load
from tasks.database import reading
from tasks.ledger import Ledger
from tasks.worklist import read_books, refresh
from tests.tasks.made_answers import LATER, NUMBERS, Svc, clp, era, paid_claim, post, rows, send, states

EVENING = datetime.combine(date(2026, 12, 31), datetime.max.time(), LATER.tzinfo)
# Of each line the first payer settled 47.25 and left 8.00 to the patient.
NEXT = clp(
    NUMBERS[0],
    *(
        Svc("55.25", "8", ("OA*23*47.25",), code, f"{NUMBERS[0]}-0{n}")
        for n, code in ((1, "99457"), (2, "99458"))
    ),
    status="2",
)
CROSSED_OVER = paid_claim(0, status="19", more=("MOA***MA18",))


def _reconciled(ledger: Ledger, *remittances: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Post each claim as a file of its own; returns the answers to the lines and the totals of the claim."""
    send(ledger)
    for number, claim in enumerate(remittances, 1):
        file = era(list(claim), number=number, trace=f"EFT{number}")
        assert post(ledger, file).state == "posted"
    with reading(ledger.engine) as connection:
        books = read_books(connection, EVENING)
    lines = reconcile(books, load()).lines.filter(claim_number=NUMBERS[0])
    total = totals_by(lines).row(0, named=True)
    return lines["answer"].to_list(), {
        name: str(total[name]) for name in ("paid", "patient", "denied", "open")
    }


@pytest.mark.parametrize("order", list(permutations([CROSSED_OVER, NEXT])), ids=["in order", "next first"])
def test_a_crossed_over_claim_is_settled_once(ledger: Ledger, order: tuple[list[str], ...]) -> None:
    answers, total = _reconciled(ledger, *order)
    assert answers == ["paid", "paid"]
    assert total == {"paid": "78.72", "patient": "0.00", "denied": "0.00", "open": "0.00"}


def test_a_denial_without_lines_denies_every_line(ledger: Ledger) -> None:
    denial = [f"CLP*{NUMBERS[0]}*1*110.50*0**MB*ICN1", "CAS*CO*16*110.50", "MOA***MA130"]
    answers, total = _reconciled(ledger, denial)
    assert answers == ["denied", "denied", "claim_level"]
    assert total == {"paid": "0.00", "patient": "0.00", "denied": "110.50", "open": "0.00"}


def test_a_predetermination_leaves_the_claim_open(ledger: Ledger) -> None:
    answer = clp(NUMBERS[0], Svc("110.50", "0", ("OA*101*110.50",)), status="25")
    answers, total = _reconciled(ledger, answer)
    assert states(ledger)[0] == "sent"
    assert answers == ["waiting", "waiting"]
    assert total == {"paid": "0.00", "patient": "0.00", "denied": "0.00", "open": "110.50"}


def test_sums_beyond_any_single_amount_are_reported_and_listed(ledger: Ledger) -> None:
    much = [clp(number, Svc("6000000000", "0", ("CO*50*6000000000",))) for number in [NUMBERS[0]] * 2]
    _, total = _reconciled(ledger, *much)
    assert (total["denied"], total["open"]) == ("12000000000.00", "-11999999889.50")
    withheld = ["WO:A*6000000000", "WO:B*6000000000", "WO:C*-6000000000", "WO:D*-6000000000"]
    assert post(ledger, era(plb=withheld, number=3, trace="EFT3")).state == "posted"
    assert refresh(ledger, load(), EVENING).open > 0
    assert max(rows(ledger, "work_item")["money"].drop_nulls()) <= Decimal("9999999999.99")
