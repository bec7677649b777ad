"""Late matching: what came before we knew whose it was finds it with a later file, and adds up the same."""

from decimal import Decimal

import polars as pl
import pytest

from tasks.late_matching import match_again
from tasks.ledger import Ledger
from tests.tasks.made_answers import (
    LATER,
    NUMBERS,
    Svc,
    balances,
    clp,
    era,
    paid_claim,
    post,
    rows,
    send,
    status,
)

ICN = "2226300000017"
TAKEBACK = [f"WO:{ICN} 20261020*60"]
NAMED = clp(NUMBERS[0], Svc("55.25", "55.25"), Svc("55.25", "55.25", code="99458"), icn=ICN)


@pytest.fixture
def sent(ledger: Ledger) -> Ledger:
    """A ledger with four claims sent."""
    send(ledger)
    return ledger


def provider_level(ledger: Ledger) -> pl.DataFrame:
    """Return what stands at the level of whole payments."""
    return rows(ledger, "posting").filter(
        pl.col("remittance_claim_id").is_null(), pl.col("remittance_id").is_not_null()
    )


def test_a_takeback_finds_its_claim_when_a_later_file_tells_the_payers_number(sent: Ledger) -> None:
    post(sent, era(paid_claim(1), plb=TAKEBACK))
    assert match_again(sent.engine, LATER) == 0
    assert balances(sent, None) == {"takeback": Decimal("60.00")}
    post(sent, era(NAMED, trace="EFT2", number=2))
    assert match_again(sent.engine, LATER) == 1
    assert balances(sent, None) == {}
    assert balances(sent, NUMBERS[0])["takeback"] == Decimal("60.00")
    moved = provider_level(sent)
    assert moved["amount"].sort().to_list() == [Decimal("-60.00"), Decimal("60.00"), Decimal("60.00")]
    assert moved["segment"].n_unique() == moved["remittance_id"].n_unique() == 1
    assert match_again(sent.engine, LATER) == 0
    assert provider_level(sent).equals(moved)


def test_a_277ca_tells_the_number_as_well(sent: Ledger) -> None:
    post(sent, era(paid_claim(1), plb=TAKEBACK))
    post(sent, status((NUMBERS[0], "A2:20", ICN)))
    assert match_again(sent.engine, LATER) == 1
    assert balances(sent, NUMBERS[0])["takeback"] == Decimal("60.00")


def test_equal_adjustments_of_one_payment_are_all_placed(sent: Ledger) -> None:
    post(sent, era(paid_claim(1), paid_claim(2), plb=TAKEBACK * 2))
    post(sent, era(NAMED, trace="EFT2", number=2))
    assert match_again(sent.engine, LATER) == 2
    assert balances(sent, NUMBERS[0])["takeback"] == Decimal("120.00")
    assert balances(sent, None) == {}


def test_a_number_that_the_same_file_tells_is_known_at_once(sent: Ledger) -> None:
    post(sent, era(NAMED, plb=[f"WO:{ICN}*10"]))
    assert provider_level(sent)["claim_id"].null_count() == 0
    assert balances(sent, NUMBERS[0])["takeback"] == Decimal("10.00")


def test_a_number_that_names_two_claims_names_none(sent: Ledger) -> None:
    same = clp(NUMBERS[1], Svc("55.25", "55.25"), Svc("55.25", "55.25", code="99458"), icn=ICN)
    post(sent, era(NAMED, same, plb=TAKEBACK))
    assert match_again(sent.engine, LATER) == 0
    assert balances(sent, None) == {"takeback": Decimal("60.00")}
