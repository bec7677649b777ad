"""Answers into the ledger: every MUST of the return path, on both databases."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import Refused
from tasks.accounts import POSTING
from tasks.database import insert, writing
from tasks.late_matching import confirm_match, match_again
from tasks.ledger import Ledger, LedgerError
from tests.tasks.made_answers import (
    LATER,
    NUMBERS,
    Svc,
    ack,
    balances,
    clp,
    era,
    interchange,
    paid_claim,
    payment,
    post,
    rows,
    send,
    sent_sets,
    states,
    status,
    ta1,
)
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

SAMPLES = Path(__file__).parents[3] / "shared/samples"
PAID = {
    "charge": Decimal("110.50"),
    "contractual": Decimal("30.50"),
    "patient_responsibility": Decimal("16.00"),
    "payment": Decimal("62.72"),
    "sequestration": Decimal("1.28"),
}


# A claim whose number says nothing, for a member of ours.
UNKNOWN = paid_claim(0, number="SOMETHING", more=("NM1*QC*1*X*Y****MI*1EG4TE000000",))


@pytest.fixture
def sent(ledger: Ledger) -> Ledger:
    """A ledger with four claims sent."""
    send(ledger)
    return ledger


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite ledger with four claims sent, to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as made:
        made.upgrade()
        send(made)
    return path


# Money


def test_each_cent_of_a_payment_stands_on_its_account_and_points_to_its_segment(sent: Ledger) -> None:
    posted = post(sent, era(paid_claim(0), paid_claim(1)))
    assert (posted.state, posted.paid, posted.claims_matched) == ("posted", "125.44", 2)
    assert balances(sent, NUMBERS[0]) == PAID
    assert PAID["charge"] == sum(amount for account, amount in PAID.items() if account != "charge")
    postings = rows(sent, "posting").filter(pl.col("account") != "charge")
    assert postings["segment"].null_count() == postings["number"].null_count() == 0
    assert rows(sent, "remittance")["inbound_file_id"].to_list() == [1]
    assert postings["remittance_id"].unique().to_list() == rows(sent, "remittance")["id"].to_list()
    assert postings.filter(account="sequestration").row(0, named=True)["reason_code"] == "253"
    assert postings["line_number"].null_count() == 0
    assert postings["posted_on"].unique().to_list() == [LATER.date().replace(day=17)]
    assert states(sent)[:3] == ["adjudicated", "adjudicated", "sent"]


def test_the_payments_of_a_file_add_up_to_what_the_bank_will_see(sent: Ledger) -> None:
    post(sent, era(paid_claim(0), plb=["WO:123*10", "L6*-1.27", "FB:1*-5", "72*4", "CS*2"]))
    remittance = rows(sent, "remittance").row(0, named=True)
    assert remittance["amount"] == Decimal("52.99")
    assert balances(sent, None) == {
        "forwarding_balance": Decimal("-5.00"),
        "interest": Decimal("-1.27"),
        "other_adjustment": Decimal("2.00"),
        "refund": Decimal("4.00"),
        "takeback": Decimal("10.00"),
    }
    assert balances(sent, NUMBERS[0]) == PAID


def test_a_takeback_names_its_claim_and_leaves_what_it_is_owed(sent: Ledger) -> None:
    post(sent, era(paid_claim(0), paid_claim(1), plb=[f"WO:{NUMBERS[0]}*10"]))
    takeback = rows(sent, "posting").filter(account="takeback").row(0, named=True)
    assert takeback["reference"] == NUMBERS[0]
    assert balances(sent, NUMBERS[0]) == {**PAID, "takeback": Decimal("10.00")}
    assert takeback["remittance_claim_id"] is None


def test_a_reversal_opens_the_claim_again_and_its_correction_settles_it(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    back = clp(
        NUMBERS[0],
        Svc("-55.25", "-31.36", ("CO*45*-15.25**253*-.64", "PR*2*-8"), control=f"{NUMBERS[0]}-01"),
        Svc("-55.25", "-31.36", ("CO*45*-15.25**253*-.64", "PR*2*-8"), "99458", f"{NUMBERS[0]}-02"),
        status="22",
    )
    alone = post(sent, era(back, trace="EFT2", number=2, plb=["FB:1*-62.72"]))
    assert alone.state == "posted"
    assert balances(sent, NUMBERS[0]) == {"charge": PAID["charge"]}
    assert rows(sent, "remittance_claim")["is_reversal"].to_list() == [False, True]
    post(sent, era(paid_claim(0), trace="EFT3", number=3))
    assert balances(sent, NUMBERS[0]) == PAID
    assert states(sent)[0] == "adjudicated"


def test_a_remittance_without_a_payment_carries_its_denials(sent: Ledger) -> None:
    denied = clp(
        NUMBERS[0],
        Svc("55.25", "0", ("CO*109*55.25",), control=f"{NUMBERS[0]}-01", more=("LQ*HE*N418",)),
        Svc("55.25", "0", ("PR*1*40", "CO*45*15.25"), "99458", f"{NUMBERS[0]}-02"),
    )
    posted = post(sent, era(denied))
    assert (posted.state, posted.paid, posted.lines_denied, posted.needs_people) == (
        "posted",
        "0.00",
        1,
        True,
    )
    found = balances(sent, NUMBERS[0])
    assert (found["denial"], found["patient_responsibility"]) == (Decimal("55.25"), Decimal("40.00"))
    assert rows(sent, "remittance_remark")["code"].to_list() == ["N418"]
    assert rows(sent, "remittance_line").sort("line_index")["is_denied"].to_list() == [True, False]


def test_a_payment_that_does_not_balance_is_kept_back_whole_and_the_others_are_posted(sent: Ledger) -> None:
    bad = payment(paid_claim(0), amount="60", trace="EFT1")
    posted = post(sent, interchange(bad, payment(paid_claim(1), trace="EFT2")))
    assert (posted.state, posted.payments_posted, posted.payments_quarantined) == ("partly", 1, 1)
    kept = rows(sent, "remittance").filter(state="quarantined").row(0, named=True)
    assert (kept["difference"], kept["transaction_index"]) == (Decimal("2.72"), 1)
    assert balances(sent, NUMBERS[0]) == {}
    assert balances(sent, NUMBERS[1]) == PAID
    fixed = post(sent, interchange(payment(paid_claim(0), trace="EFT1"), number=2))
    assert fixed.state == "posted"


@pytest.mark.parametrize(
    ("element", "segment", "bad"),
    [
        ("CLP03", 9, clp(NUMBERS[0], Svc("10000000000", "10", ("CO*45*9999999990",)))),
        ("CLP04", 9, clp(NUMBERS[0], Svc("10000000000", "10000000000"))),
        ("SVC03", 10, clp(NUMBERS[0], Svc("10000000000", "10000000000"))),
        ("CAS", 12, clp(NUMBERS[0], Svc("50", "50", ("CO*45*10000000000**253*-10000000000",)))),
    ],
)
def test_an_amount_that_the_ledger_cannot_hold_keeps_its_payment_back_and_is_named(
    sent: Ledger, element: str, segment: int, bad: list[str]
) -> None:
    posted = post(sent, interchange(payment(bad), payment(paid_claim(1), trace="EFT2")))
    assert (posted.state, posted.payments_posted, posted.payments_quarantined) == ("partly", 1, 1)
    findings = json.loads(rows(sent, "inbound_file")["findings"][0])
    found = next(f for f in findings if f["rule"] == "amount_too_large" and f["element"] == element)
    assert (found["transaction"], found["segment"]) == (1, segment)
    assert found["expected"] == "less than 10,000,000,000 dollars"
    assert found["found"].endswith("0000000.00")
    assert "Ask the payer" in found["message"]
    assert balances(sent, NUMBERS[0]) == {}


def test_a_payment_of_before_there_were_lists_of_codes_is_posted(sent: Ledger) -> None:
    assert post(sent, era(paid_claim(0), on="19941231")).state == "posted"
    assert balances(sent, NUMBERS[0])["contractual"] == Decimal("30.50")
    assert post(sent, era(paid_claim(1), plb=["WO:1*5"], on="00010101", number=2)).state == "posted"


@pytest.mark.parametrize(("on", "named"), [("20271119", []), ("20271120", ["20271120"])])
def test_a_payment_dated_more_than_a_year_ahead_is_posted_and_named(
    sent: Ledger, on: str, named: list[str]
) -> None:
    assert post(sent, era(paid_claim(0), on=on)).state == "posted"
    findings = json.loads(rows(sent, "inbound_file")["findings"][0])
    found = [finding for finding in findings if finding["rule"] == "payment_date_too_late"]
    assert [finding["found"] for finding in found] == named
    for finding in found:
        assert (finding["severity"], finding["element"], finding["segment"]) == ("warning", "BPR16", 4)
        assert finding["expected"] == "20271119 or earlier"


def test_amounts_whose_difference_the_ledger_cannot_hold_keep_their_payment_back(sent: Ledger) -> None:
    lines = [Svc("6000000000", "6000000000"), Svc("6000000000", "6000000000", (), "99458")]
    much = clp(NUMBERS[0], *lines)
    rest = ["CLP*" + NUMBERS[0] + "*1*9000000000*0**MB*1", "CAS*CO*45*4500000000**50*4500000000", *much[1:]]
    assert post(sent, era(rest)).state == "quarantined"
    findings = json.loads(rows(sent, "inbound_file")["findings"][0])
    found = [(f["element"], f["found"]) for f in findings if f["rule"] == "amount_too_large"]
    assert found == [("CLP04", "-12000000000.00")]


def test_a_payment_whose_end_is_missing_is_kept_back_until_the_whole_of_it_comes(sent: Ledger) -> None:
    denied = [
        clp(number, Svc("55.25", "0", ("CO*50*55.25",), control=f"{number}-01")) for number in NUMBERS[:2]
    ]
    whole = era(*denied)
    stump = whole[: whole.index(b"CLP*" + NUMBERS[1].encode())]
    kept_back = post(sent, stump)
    assert (kept_back.state, kept_back.payments_quarantined) == ("quarantined", 1)
    assert "missing_se" in rows(sent, "inbound_file")["findings"][0]
    assert post(sent, whole).state == "posted"
    assert [balances(sent, number)["denial"] for number in NUMBERS[:2]] == [Decimal("55.25")] * 2


def test_a_payment_that_comes_altered_in_the_same_file_waits_for_a_person(sent: Ledger) -> None:
    one, other = payment(paid_claim(0), paid_claim(1)), payment(paid_claim(0), paid_claim(2))
    posted = post(sent, interchange(one, other))
    assert (posted.state, posted.payments_posted, posted.payments_quarantined) == ("partly", 1, 1)
    assert "payment_altered" in rows(sent, "inbound_file")["findings"][0]
    assert balances(sent, NUMBERS[0]) == PAID
    assert balances(sent, NUMBERS[2]) == {}


def test_a_withheld_amount_or_payment_that_the_ledger_cannot_hold_is_named_too(sent: Ledger) -> None:
    withheld = ["WO:1*10000000000", "WO:1*-10000000000"]
    assert post(sent, era(paid_claim(0), plb=withheld)).state == "quarantined"
    assert post(sent, era(plb=["CS*-20000000000"], number=2, trace="EFT2")).state == "quarantined"
    kept = [json.loads(findings) for findings in rows(sent, "inbound_file")["findings"]]
    named = [[f["element"] for f in file if f["rule"] == "amount_too_large"] for file in kept]
    assert named == [["PLB", "PLB"], ["BPR02", "PLB"]]


def test_lines_that_are_paid_something_else_than_their_claim_keep_the_payment_back(sent: Ledger) -> None:
    lines = (
        Svc("55.25", "31.36", ("CO*45*23.89",), control=f"{NUMBERS[0]}-01"),
        Svc("55.25", "31.36", ("CO*45*23.89",), "99458", f"{NUMBERS[0]}-02"),
    )
    whole = clp(NUMBERS[0], *lines)
    # The claim balances by itself, and so does each line; but the lines are paid a cent more than the claim.
    unlike = [whole[0].replace("*62.72*", "*62.71*"), "CAS*CO*45*47.79", *whole[1:]]
    assert post(sent, era(unlike)).state == "quarantined"
    assert balances(sent, NUMBERS[0]) == {}
    assert post(sent, era(whole, number=2)).state == "posted"


def test_a_posting_of_a_file_can_be_written_only_once_at_its_place(sent: Ledger) -> None:
    post(sent, era(paid_claim(0), plb=["CS*1"]))
    for account, refused in (
        ("payment", "uq_posting_place|segment"),
        ("charge", "uq_posting_dedupe_key|dedupe"),
    ):
        again = rows(sent, "posting").filter(account=account).drop("id")
        with pytest.raises(LedgerError, match=refused), writing(sent.engine) as connection:
            insert(connection, POSTING, again)
    unknown = rows(sent, "posting").filter(account="payment").head(1).with_columns(segment=None).drop("id")
    with pytest.raises(LedgerError, match="is_known"), writing(sent.engine) as connection:
        insert(connection, POSTING, unknown)


def test_claims_without_lines_and_reasons_at_claim_level_are_posted_too(sent: Ledger) -> None:
    bare = [f"CLP*{NUMBERS[0]}*1*110.5*80*10*MB*I1", "CAS*CO*45*20.5", "CAS*PR*2*10"]
    post(sent, era(bare))
    assert balances(sent, NUMBERS[0]) == {
        "charge": Decimal("110.50"),
        "contractual": Decimal("20.50"),
        "patient_responsibility": Decimal("10.00"),
        "payment": Decimal("80.00"),
    }


# Once only


def test_the_same_bytes_again_are_no_error_and_change_nothing(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    before = [rows(sent, name) for name in ("posting", "remittance", "inbound_file", "claim_event")]
    assert post(sent, era(paid_claim(0))).state == "repeat"
    for one, other in zip(before, ("posting", "remittance", "inbound_file", "claim_event"), strict=True):
        assert one.equals(rows(sent, other))


def test_the_same_file_with_other_line_breaks_is_a_repeat(sent: Ledger) -> None:
    post(sent, interchange(payment(paid_claim(0))))
    assert post(sent, interchange(payment(paid_claim(0)), line_break="\r\n")).state == "repeat"
    assert rows(sent, "inbound_file")["state"].to_list() == ["posted", "repeat"]
    assert balances(sent, NUMBERS[0]) == PAID


def test_the_same_payment_in_another_file_is_posted_once(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    again = post(sent, era(paid_claim(0), number=2))
    assert (again.state, again.payments_posted) == ("repeat", 0)
    assert balances(sent, NUMBERS[0]) == PAID


def test_two_remittances_under_one_trace_number_are_both_posted(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    assert post(sent, era(paid_claim(1), number=2)).state == "posted"
    assert balances(sent, NUMBERS[1]) == PAID


def test_a_posted_payment_that_comes_back_altered_waits_for_a_person(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    altered = post(sent, era(paid_claim(0, patient="16"), plb=["CS*1", "CS*-1"], number=2))
    assert altered.state == "quarantined"
    found = rows(sent, "inbound_file").filter(state="quarantined").row(0, named=True)["findings"]
    assert "payment_altered" in found
    assert balances(sent, NUMBERS[0]) == PAID


def test_postings_cannot_be_changed_or_removed(sent: Ledger) -> None:
    post(sent, era(paid_claim(0)))
    for statement in ("UPDATE posting SET amount = 0", "DELETE FROM posting"):
        with pytest.raises(LedgerError), writing(sent.engine) as connection:
            connection.execute(sa.text(statement))


def test_a_file_that_fails_half_way_leaves_nothing(sent: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the power went out")

    monkeypatch.setattr("tasks.posting.record_answers", fail)
    with pytest.raises(RuntimeError):
        post(sent, era(paid_claim(0)))
    for table in ("inbound_file", "remittance", "remittance_claim", "posting"):
        assert rows(sent, table).is_empty()
    assert states(sent)[0] == "sent"


# Whose claim, which line


def test_a_claim_is_found_by_the_payers_number_where_ours_is_missing(sent: Ledger) -> None:
    post(sent, status((NUMBERS[0], "A2:20", "ICN0000")))
    post(sent, era(paid_claim(0, number="")))
    assert rows(sent, "remittance_claim")["matched_by"].to_list() == ["payer_number"]
    assert balances(sent, NUMBERS[0]) == PAID


def test_a_cut_number_is_only_a_suggestion_until_a_person_confirms_it(sent: Ledger) -> None:
    posted = post(sent, era(paid_claim(0, number=NUMBERS[0][:16])))
    assert (posted.claims, posted.claims_matched, posted.needs_people) == (1, 0, True)
    waiting = rows(sent, "remittance_claim").row(0, named=True)
    ids = dict(rows(sent, "claim").select("claim_number", "id").rows())
    assert (waiting["claim_id"], waiting["suggested_claim_id"]) == (None, ids[NUMBERS[0]])
    assert balances(sent, None) == {name: value for name, value in PAID.items() if name != "charge"}
    confirm_match(sent.engine, waiting["id"], NUMBERS[0], by="Pat", at=LATER)
    assert balances(sent, NUMBERS[0]) == PAID
    assert balances(sent, None) == {}
    assert rows(sent, "remittance_claim")["matched_by"].to_list() == ["person"]
    assert states(sent)[0] == "adjudicated"
    with pytest.raises(Refused, match="does not wait"):
        confirm_match(sent.engine, waiting["id"], NUMBERS[0], by="Pat", at=LATER)


def test_member_date_code_and_charge_suggest_a_claim_too(sent: Ledger) -> None:
    post(sent, era(UNKNOWN))
    assert rows(sent, "remittance_claim")["suggested_claim_id"].null_count() == 0


def test_what_came_before_its_claim_is_pointed_to_it_later(ledger: Ledger) -> None:
    post(ledger, era(UNKNOWN, paid_claim(1, number=NUMBERS[1][:16])))
    match_again(ledger.engine, LATER)
    assert rows(ledger, "remittance_claim")["suggested_claim_id"].null_count() == 2
    send(ledger)
    assert match_again(ledger.engine, LATER) == 0
    ids = dict(rows(ledger, "claim").select("claim_number", "id").rows())
    waiting = rows(ledger, "remittance_claim").sort("id")
    assert waiting["suggested_claim_id"].to_list() == [ids[number] for number in NUMBERS[:2]]
    assert match_again(ledger.engine, LATER) == 0
    assert rows(ledger, "remittance_claim").sort("id").equals(waiting)


def test_answers_before_their_claim_find_it_when_it_appears(ledger: Ledger) -> None:
    post(ledger, era(paid_claim(0)))
    post(ledger, status((NUMBERS[0], "A2:20", "ICN0000")))
    assert match_again(ledger.engine, LATER) == 0
    send(ledger, 1)
    assert match_again(ledger.engine, LATER) == 2
    assert balances(ledger, NUMBERS[0]) == PAID
    assert balances(ledger, None) == {}
    assert states(ledger) == ["adjudicated"]
    assert rows(ledger, "remittance_line")["claim_line_number"].to_list() == [1, 2]
    assert rows(ledger, "answer").filter(level="claim")["is_matched"].to_list() == [True]
    before = rows(ledger, "posting")
    assert match_again(ledger.engine, LATER) == 0
    assert rows(ledger, "posting").equals(before)


def test_lines_are_found_by_control_number_however_the_payer_changed_them(sent: Ledger) -> None:
    first, second = f"{NUMBERS[0]}-01", f"{NUMBERS[0]}-02"
    changed = clp(
        NUMBERS[0],
        Svc("55.25", "30", ("CO*45*25.25",), "99458", second),
        Svc("30", "20", ("CO*45*10",), "G0511", first),
        Svc("25.25", "0", ("CO*151*25.25",), "99457", first),
    )
    post(sent, era(changed))
    assert rows(sent, "remittance_line").sort("line_index")["claim_line_number"].to_list() == [2, 1, 1]
    assert rows(sent, "remittance_line").sort("line_index")["is_denied"].to_list() == [False, False, True]


def test_lines_without_control_numbers_are_found_by_what_was_submitted(sent: Ledger) -> None:
    bare = clp(NUMBERS[0], Svc("55.25", "55.25", code="99458"), Svc("55.25", "55.25", code="G0511*"))
    submitted = [
        s.replace("SVC*HC:G0511**55.25*55.25**1", "SVC*HC:G0511*55.25*55.25**1*HC:99457") for s in bare
    ]
    post(sent, era(submitted))
    assert rows(sent, "remittance_line").sort("line_index")["claim_line_number"].to_list() == [2, 1]


def test_money_for_a_claim_that_was_never_marked_as_sent_proves_that_it_was(ledger: Ledger) -> None:
    ledger.register_claims(*month(1), month=OCTOBER, source=SOURCE, at=AT)
    number = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)["interchange_id"][0]
    ledger.record_written(number, uri="claims/one.837", sha256="f" * 64, size=1)
    post(ledger, era(paid_claim(0)))
    assert states(ledger) == ["adjudicated"]
    assert rows(ledger, "interchange")["state"].to_list() == ["sent"]
    assert balances(ledger, NUMBERS[0]) == PAID


# TA1, 999, 277CA

BOTH = {"0001": NUMBERS[:2], "0002": NUMBERS[2:4]}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (ta1("A"), ["received"] * 4),
        (ta1("E", "022"), ["received"] * 4),
        (ta1("R", "001"), ["rejected"] * 4),
        (ta1("R", "025"), ["sent"] * 4),
        (ta1("A", answered=77), ["sent"] * 4),
        (ack("A", counts="2*2*2"), ["received"] * 4),
        (ack("A", ("0001", "A"), counts="2*2*2"), ["received"] * 4),
        (ack("E", ("0001", "E"), ("0002", "A"), counts="2*2*2"), ["received"] * 4),
        (ack("P", ("0001", "A"), ("0002", "R"), counts="2*2*1"), ["received"] * 2 + ["rejected"] * 2),
        (ack("P", ("0002", "R"), counts="2*2*1"), ["sent"] * 2 + ["rejected"] * 2),
        (ack("R", counts="2*2*0"), ["rejected"] * 4),
        (ack("R", ("0001", "X"), ("0002", "M"), counts="2*2*0"), ["rejected"] * 4),
        (status((NUMBERS[0], "A0:16", ""), (NUMBERS[1], "A1:19", "")), ["received"] * 2 + ["sent"] * 2),
        (status((NUMBERS[0], "A2:20", ""), source="AY"), ["received"] + ["sent"] * 3),
        (status((NUMBERS[0], "A2:20", "I"), (NUMBERS[1], "A5:20", "")), ["accepted"] * 2 + ["sent"] * 2),
        (status((NUMBERS[0], "A3:247", ""), (NUMBERS[1], "A6:1", "")), ["rejected"] * 2 + ["sent"] * 2),
        (status((NUMBERS[0], "A7:164:IL", ""), (NUMBERS[1], "A8:1", "")), ["rejected"] * 2 + ["sent"] * 2),
        (status((NUMBERS[0], "A4:35", "")), ["sent"] * 4),
    ],
)
def test_each_answer_moves_the_claims_it_speaks_of(sent: Ledger, file: bytes, expected: list[str]) -> None:
    posted = post(sent, file, sent_sets(BOTH))
    assert posted.state == "posted"
    assert not posted.is_unreconciled
    assert states(sent) == expected


def test_a_whole_batch_can_be_rejected_without_naming_its_claims(sent: Ledger) -> None:
    post(sent, status(source="AY", totals=["STC*A3:24:41*20261104*U"]), sent_sets(BOTH))
    assert states(sent) == ["rejected", "rejected", "sent", "sent"]


def test_a_file_that_never_reached_anybody_says_so_on_every_claim(sent: Ledger) -> None:
    post(sent, ta1("R", "001"))
    last = rows(sent, "claim_event").filter(to_state="rejected")
    assert last.height == 4
    assert all('"never_reached":true' in data.replace(" ", "") for data in last["data"])


def test_counts_and_sums_that_are_not_what_was_sent_are_found(sent: Ledger) -> None:
    short = post(sent, ack("A", counts="1*1*1"), sent_sets(BOTH))
    assert short.is_unreconciled
    totals = ["STC*A1:19*20261104*WQ*221", "QTY*90*3", "AMT*YU*331.5"]
    listed = status((NUMBERS[0], "A2:20", ""), (NUMBERS[1], "A2:20", ""), source="AY", totals=totals)
    assert post(sent, listed, sent_sets(BOTH)).is_unreconciled
    fair = ["STC*A1:19*20261104*WQ*221", "QTY*90*2", "AMT*YU*221"]
    listed = status((NUMBERS[0], "A2:20", ""), (NUMBERS[1], "A2:20", ""), source="AY", totals=fair, number=9)
    assert not post(sent, listed, sent_sets(BOTH)).is_unreconciled


def test_the_clearinghouse_accepts_and_the_payer_rejects(sent: Ledger) -> None:
    post(sent, status((NUMBERS[0], "A2:20", ""), source="AY", number=1))
    post(sent, status((NUMBERS[0], "A7:562:85", ""), source="PR", number=2))
    assert states(sent)[0] == "rejected"
    answers = rows(sent, "answer").filter(level="claim").sort("id")
    assert answers["source"].to_list() == ["clearinghouse", "payer"]
    assert answers["outcome"].to_list() == ["received", "rejected"]


def test_a_fault_is_tied_to_its_claim_by_its_place_in_our_file(sent: Ledger) -> None:
    body = ["AK1*HC*1", "AK2*837*0002", "IK3*SV1*23*2400*8", "IK4*1:2*235*7*99999", "IK5*R*5", "AK9*P*2*2*1"]
    post(sent, interchange(body, kind="999"), sent_sets(BOTH))
    fault = rows(sent, "answer").filter(level="claim").row(0, named=True)
    assert (fault["claim_number"], fault["is_matched"]) == (NUMBERS[3], True)
    assert "99999" not in fault["codes"]


def test_answers_to_claims_nobody_knows_are_kept_and_counted(sent: Ledger) -> None:
    posted = post(sent, status(("STRANGER", "A7:21", "")))
    assert (posted.answers_unmatched, posted.needs_people) == (1, True)
    assert rows(sent, "answer").filter(level="claim")["claim_number"].to_list() == ["STRANGER"]


@pytest.mark.parametrize("data", [b"", b"\0\xff garbage", b"<html>", b"ISA*00*", b"ISA*00*~IEA*1*1~"])
def test_garbage_is_kept_and_listed(sent: Ledger, data: bytes) -> None:
    assert post(sent, data).state == "unreadable"
    assert rows(sent, "inbound_file").height == 1


# In any order, and repeated

FILES = (
    ta1("A"),
    ack("A", counts="2*2*2"),
    status((NUMBERS[0], "A2:20", ""), (NUMBERS[1], "A2:20", ""), (NUMBERS[2], "A2:20", ""), source="AY"),
    status(
        (NUMBERS[0], "A2:20", "ICN0000"), (NUMBERS[1], "A2:20", "X1"), (NUMBERS[2], "A7:1", ""), number=301
    ),
    era(paid_claim(0), paid_claim(1, number="")),
    era(paid_claim(2), plb=["WO:1*5"], trace="EFT2", number=2),
    interchange(payment(paid_claim(0), trace="EFT3", amount="1"), number=3),
)


@pytest.fixture(scope="module")
def expected(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, ...]:
    """What the ledger holds when the answers come in their order."""
    path = tmp_path_factory.mktemp("expected") / "ledger.sqlite"
    return outcome_of(template, path, list(range(len(FILES))))


def outcome_of(template: Path, path: Path, order: list[int]) -> tuple[pl.DataFrame, ...]:
    """Post files in an order; return states, payer numbers and balances."""
    shutil.copy(template, path)
    with Ledger(f"sqlite:///{path}") as ledger:
        for number in order:
            post(ledger, FILES[number], sent_sets(BOTH))
        match_again(ledger.engine, LATER)
        claims = rows(ledger, "claim").select("claim_number", "state", "payer_claim_number", "id")
        facts = ["claim_id", "line_number", "account", "posted_on", "group_code", "reason_code", "reference"]
        postings = rows(ledger, "posting").group_by(facts).agg(pl.col("amount").sum())
        money = rows(ledger, "remittance").select("trace_number", "amount", "state")
    return (
        claims.sort("claim_number"),
        postings.filter(pl.col("amount") != 0).sort(facts),
        money.unique().sort("trace_number"),
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(len(FILES))), again=st.lists(st.sampled_from(range(len(FILES))), max_size=4)
)
def test_answers_in_any_order_and_repeated_leave_the_same_ledger(
    template: Path, expected: tuple[pl.DataFrame, ...], tmp_path: Path, order: list[int], again: list[int]
) -> None:
    found = outcome_of(template, tmp_path / "ledger.sqlite", [*order, *again])
    for one, other in zip(expected, found, strict=True):
        assert one.equals(other)


def test_every_sample_remittance_is_posted_where_it_balances_and_kept_back_where_not(tmp_path: Path) -> None:
    if not SAMPLES.exists():
        pytest.skip("the sample files are not on this machine")
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.upgrade()
        collected = [post(ledger, path.read_bytes()) for path in sorted((SAMPLES / "835").iterdir())]
        payments, claims = rows(ledger, "remittance"), rows(ledger, "remittance_claim")
        parts = [rows(ledger, f"remittance_{part}") for part in ("line", "adjustment", "remark")]
        postings = rows(ledger, "posting")
    # The rows that come by the dozen have no foreign keys.
    for part in (*parts, postings.drop_nulls("remittance_claim_id")):
        assert part.height
        assert part.join(claims, left_on="remittance_claim_id", right_on="id", how="anti").is_empty()
    assert postings.join(payments, left_on="remittance_id", right_on="id", how="anti").is_empty()
    assert len(collected) == 57
    assert {file.state for file in collected} == {"posted", "partly", "quarantined", "repeat"}
    assert payments.filter(state="posted")["is_balanced"].all()
    unbalanced = payments.filter(~pl.col("is_balanced"))
    assert unbalanced["state"].unique().to_list() == ["quarantined"]
