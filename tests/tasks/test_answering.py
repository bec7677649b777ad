"""Answering: the finer MUSTs of 999, 277CA and 835 in the ledger: whose word counts, and for whom."""

from decimal import Decimal

import polars as pl
import pytest

from tasks.ledger import Ledger
from tests.tasks.made_answers import (
    NUMBERS,
    Svc,
    balances,
    clp,
    era,
    interchange,
    paid_claim,
    post,
    rows,
    send,
    sent_sets,
    states,
    status,
)

OTHER_NPI = "1245319599"


@pytest.fixture
def sent(ledger: Ledger) -> Ledger:
    """A ledger with four claims sent."""
    send(ledger)
    return ledger


def statuses(*above: str, claims: tuple[str, ...] = (), npi: str = "1234567893") -> bytes:
    """Write a 277CA of one provider: what is said of the provider, then segments of claims."""
    body = ["BHT*0085*08*X1*20261104*1200*TH", "HL*1**20*1", "NM1*PR*2*SOMEBODY*****46*MAC"]
    body += ["HL*2*1*21*1", "NM1*41*2*CLINIC*****46*CLINIC", "TRN*2*RPM202610-0000000010001"]
    body += ["HL*3*2*19*1", f"NM1*85*2*CLINIC*****XX*{npi}", "TRN*1*0", *above]
    return interchange([*body, *claims], kind="277", number=400)


def test_a_provider_that_is_refused_takes_its_own_claims_along_and_no_others(sent: Ledger) -> None:
    whose = {1: OTHER_NPI, 3: OTHER_NPI}
    places = sent_sets({"0001": NUMBERS[:4]}).with_row_index("n")
    npi = pl.col("n").replace_strict(whose, default="1234567893")
    refused = statuses("STC*A7:562:85*20261104*U*221", "QTY*QC*2", "AMT*YY*221", npi=OTHER_NPI)
    post(sent, refused, places.with_columns(billing_npi=npi).drop("n"))
    assert states(sent) == ["sent", "rejected", "sent", "rejected"]


def test_the_totals_of_a_provider_are_held_against_the_claims_listed(sent: Ledger) -> None:
    claim = ("HL*4*3*PT", "NM1*QC*1*X", f"TRN*2*{NUMBERS[0]}", "STC*A2:20*20261104*WQ*110.5")
    fair = statuses("STC*A1:19*20261104*WQ*110.5", "QTY*QA*1", "AMT*YU*110.5", claims=claim)
    assert not post(sent, fair, sent_sets({"0001": NUMBERS[:1]})).is_unreconciled
    short = statuses("STC*A1:19*20261104*WQ*110.5", "QTY*QA*2", "AMT*YU*110.5", claims=claim)
    assert post(sent, short, sent_sets({"0001": NUMBERS[:1]})).is_unreconciled


def test_of_several_statuses_of_a_claim_the_worst_counts_whatever_stands_first(sent: Ledger) -> None:
    claims = []
    for place, stc in enumerate(
        (
            "A2:20*20261104*WQ*110.5******A7:507",  # within one STC
            "A7:507*20261104*U*110.5~STC*A2:20*20261104*WQ*110.5",
            "A2:20*20261104*WQ*110.5~STC*A1:19*20261104*WQ*110.5",
        )
    ):
        claims += [f"HL*{place + 4}*3*PT", "NM1*QC*1*X", f"TRN*2*{NUMBERS[place]}", f"STC*{stc}"]
    post(sent, statuses(claims=tuple(claims)))
    assert states(sent) == ["rejected", "rejected", "accepted", "sent"]


def test_a_line_that_is_refused_refuses_its_claim(sent: Ledger) -> None:
    line = ("SVC*HC:99457*55.25", "STC*A7:507*20261104*U", f"REF*FJ*{NUMBERS[0]}-01")
    claim = ("HL*4*3*PT", "NM1*QC*1*X", f"TRN*2*{NUMBERS[0]}", "STC*A3:247*20261104*U*110.5", *line)
    post(sent, statuses(claims=claim))
    assert states(sent)[0] == "rejected"
    said = rows(sent, "answer").filter(level="line").row(0, named=True)
    assert (said["claim_number"], said["outcome"]) == (NUMBERS[0], "rejected")


@pytest.mark.parametrize("kind", ["999", "997"])
def test_the_older_words_of_an_acknowledgement_count_alike(sent: Ledger, kind: str) -> None:
    body = ["AK1*HC*1", "AK2*837*0001", "AK5*R*5", "AK2*837*0002", "AK5*E", "AK9*P*2*2*1"]
    data = interchange(body, kind="999").replace(b"ST*999", f"ST*{kind}".encode())
    post(sent, data, sent_sets({"0001": NUMBERS[:2], "0002": NUMBERS[2:4]}))
    assert states(sent) == ["rejected", "rejected", "received", "received"]


def test_a_weaker_word_that_comes_later_takes_nothing_back(sent: Ledger) -> None:
    for number, code in enumerate(("A2:20", "A1:19", "A0:16"), 1):
        post(sent, status((NUMBERS[0], code, ""), number=number))
    assert states(sent)[0] == "accepted"
    post(sent, era(paid_claim(0)))
    post(sent, status((NUMBERS[0], "A7:164:IL", ""), number=9))
    assert states(sent)[0] == "adjudicated"


def test_a_sender_who_uses_his_numbers_twice_for_different_things_is_heard(sent: Ledger) -> None:
    post(sent, era(paid_claim(0), number=1))
    assert post(sent, era(paid_claim(1), number=1, trace="EFT2")).state == "posted"
    assert balances(sent, NUMBERS[1])["payment"] == Decimal("62.72")


@pytest.mark.parametrize(("status_code", "paid", "is_denied"), [("4", "55.25", False), ("1", "0", True)])
def test_a_denial_is_what_was_not_paid_and_not_a_status(
    sent: Ledger, status_code: str, paid: str, *, is_denied: bool
) -> None:
    cas = () if paid != "0" else ("CO*50*55.25",)
    lines = [Svc("55.25", paid, cas, code) for code in ("99457", "99458")]
    post(sent, era(clp(NUMBERS[0], *lines, status=status_code)))
    assert rows(sent, "remittance_line")["is_denied"].to_list() == [is_denied] * 2
