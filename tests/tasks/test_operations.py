"""Decisions about files and claims: what is allowed, what it leads to, and who is remembered for it."""

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from schemas.deliveries import SubmissionPlan
from schemas.errors import Refused
from tasks import database
from tasks.approvals import approve
from tasks.claim_states import CLAIM, TABLES
from tasks.late_matching import match_again
from tasks.ledger import Ledger
from tasks.operations import correct, resend
from tasks.submitting import plan_submission
from tasks.versions import CLAIM_LINE
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

FIRST = "R2610ABCDE0000001"
SECOND = "R2610ABCDE0000002"


@pytest.fixture(autouse=True)
def _here(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the settings at the ledger of this test, on a day in November."""
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    monkeypatch.setenv("RPMCLAIMS_NOW", AT.isoformat())
    monkeypatch.setenv("RPMCLAIMS_OPERATOR", "desk")


def bill(
    ledger: Ledger, *, charge: str = "55.25", evidence: str = "e", kind: str = "commercial"
) -> list[dict[str, Any]]:
    """Register one claim as a month-end does, and return what became of it."""
    claims, lines = month(1, charge=charge, evidence=evidence)
    claims = claims.with_columns(payer_kind=pl.lit(kind))
    registered = ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    ledger.withdraw_missing(registered.claim_numbers, month=OCTOBER, source=SOURCE, at=AT)
    ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)
    return registered.claims.to_dicts()


def send(ledger: Ledger) -> None:
    """Write and send every file that waits."""
    for file in ledger.month_interchanges(OCTOBER).filter(pl.col("state") == "reserved").to_dicts():
        number = file["interchange_id"]
        ledger.record_written(number, uri=f"/out/{number}", sha256=f"hash-{number}", size=1)
        ledger.record_sending(number)
        ledger.record_sent(number, receipt={}, at=AT)


def answer(ledger: Ledger, claim_number: str, state: str, *, payer_number: str | None = "ICN-1") -> None:
    """Let the payer answer."""
    ledger.transition(pl.Series([claim_number]), state, actor="payer", dedupe=f"{state}:1", at=AT)
    with database.writing(ledger.engine) as connection:
        named = sa.update(CLAIM).where(CLAIM.c.claim_number == claim_number)
        connection.execute(named.values(payer_claim_number=payer_number))


def decided(ledger: Ledger, *, kind: str = "commercial") -> None:
    """Bring a claim so far that its payer decided it."""
    bill(ledger, kind=kind)
    send(ledger)
    answer(ledger, FIRST, "adjudicated")


def claim(ledger: Ledger, claim_number: str) -> dict[str, Any]:
    """Return a claim's row."""
    with database.reading(ledger.engine) as connection:
        found = sa.select(CLAIM).where(CLAIM.c.claim_number == claim_number)
        return dict(connection.execute(found).mappings().one())


def live(ledger: Ledger) -> list[str]:
    """Return the numbers of the live claims."""
    return ledger.month_claims(OCTOBER)["claim_number"].to_list()


def event(ledger: Ledger, dedupe_key: str) -> dict[str, Any]:
    """Return one event."""
    events = TABLES["claim_event"]
    with database.reading(ledger.engine) as connection:
        found = sa.select(events).where(events.c.dedupe_key == dedupe_key)
        row = connection.execute(found).mappings().one()
    # Frames write JSON as text.
    return {**row, **json.loads(row["data"] if isinstance(row["data"], str) else json.dumps(row["data"]))}


def test_a_replacement_names_the_payers_number_and_takes_the_claims_place(ledger: Ledger) -> None:
    decided(ledger)
    assert bill(ledger, charge="60.00", evidence="more")[0]["outcome"] == "corrected"
    corrected = correct(FIRST, False, "ann", "a late entry")
    assert (corrected.how, corrected.new_claim_number) == ("replacement", SECOND)
    assert (corrected.was_charge, corrected.now_charge) == (Decimal("110.50"), Decimal("120.00"))
    assert [line["charge"] for line in corrected.now] == ["60.00", "60.00"]
    assert (corrected.was_evidence_sha256, corrected.now_evidence_sha256) == ("e", "more")
    new = claim(ledger, SECOND)
    assert (new["frequency_code"], new["payer_claim_number"]) == ("7", "ICN-1")
    assert (new["original_claim_number"], new["state"], new["version"]) == (FIRST, "built", 2)
    assert claim(ledger, FIRST)["state"] == "replaced"
    assert live(ledger) == [SECOND]
    told = event(ledger, f"built:{SECOND}")
    assert (told["actor"], told["why"]) == ("ann", "a late entry")


def test_the_next_month_end_brings_a_replacement_to_what_the_input_says(ledger: Ledger) -> None:
    decided(ledger)
    bill(ledger, charge="60.00", evidence="more")
    correct(FIRST, False, "ann", "a late entry")
    assert bill(ledger, charge="60.00", evidence="more")[0]["outcome"] == "rebuilt"
    new = claim(ledger, SECOND)
    assert (new["total_charge"], new["evidence_sha256"]) == (Decimal("120.00"), "more")
    assert (new["frequency_code"], new["payer_claim_number"]) == ("7", "ICN-1")
    assert new["interchange_id"] is not None
    assert bill(ledger, charge="60.00", evidence="more")[0]["outcome"] == "unchanged"
    assert ledger.open_corrections(OCTOBER, SOURCE) == 0


def test_a_replacement_the_input_takes_back_before_it_is_sent_lets_the_decided_claim_live_again(
    ledger: Ledger,
) -> None:
    decided(ledger)
    bill(ledger, charge="60.00")
    correct(FIRST, False, "ann", "a late entry")
    bill(ledger, charge="60.00")
    nobody = pl.Series([], dtype=pl.String)
    ledger.withdraw_missing(nobody, month=OCTOBER, source=SOURCE, at=AT)
    assert claim(ledger, SECOND)["state"] == "void"
    assert claim(ledger, FIRST)["state"] == "adjudicated"
    assert live(ledger) == [FIRST]
    assert ledger.open_corrections(OCTOBER, SOURCE) == 1
    with pytest.raises(Refused, match="take it back with --void"):
        correct(FIRST, False, "ann", "again")


def test_a_claim_that_lives_again_is_owed_again_however_often_its_replacement_is_given_up(
    ledger: Ledger,
) -> None:
    bill(ledger)
    send(ledger)
    match_again(ledger.engine, AT)
    answer(ledger, FIRST, "adjudicated")
    assert owed(ledger, FIRST) == Decimal("110.50")
    nobody = pl.Series([], dtype=pl.String)
    for given_up in range(2):
        bill(ledger, charge=f"6{given_up}.00")
        correct(FIRST, False, "ann", "a late entry")
        match_again(ledger.engine, AT)
        assert owed(ledger, FIRST) == 0
        ledger.withdraw_missing(nobody, month=OCTOBER, source=SOURCE, at=AT)
        match_again(ledger.engine, AT)
        match_again(ledger.engine, AT)
        assert claim(ledger, FIRST)["state"] == "adjudicated"
        assert owed(ledger, FIRST) == Decimal("110.50")


def owed(ledger: Ledger, claim_number: str) -> Decimal:
    """Add up what was charged for a claim."""
    posting = TABLES["posting"]
    with database.reading(ledger.engine) as connection:
        amounts = connection.execute(
            sa.select(posting.c.amount)
            .join_from(posting, CLAIM, CLAIM.c.id == posting.c.claim_id)
            .where(CLAIM.c.claim_number == claim_number, posting.c.account == "charge")
        ).scalars()
        return sum(amounts, Decimal(0))


def test_a_rejected_replacement_goes_again_as_a_replacement(ledger: Ledger) -> None:
    decided(ledger)
    bill(ledger, charge="60.00")
    correct(FIRST, False, "ann", "a late entry")
    bill(ledger, charge="60.00")
    send(ledger)
    answer(ledger, SECOND, "rejected")
    third = resend(SECOND, "ann", "the clearinghouse was down").new_claim_number
    assert (claim(ledger, third)["frequency_code"], claim(ledger, third)["payer_claim_number"]) == (
        "7",
        "ICN-1",
    )
    assert bill(ledger, charge="70.00")[0]["outcome"] == "rebuilt"
    assert claim(ledger, third)["frequency_code"] == "7"


def test_a_rejected_replacement_that_the_month_end_builds_anew_stays_a_replacement(ledger: Ledger) -> None:
    decided(ledger)
    bill(ledger, charge="60.00")
    correct(FIRST, False, "ann", "a late entry")
    bill(ledger, charge="60.00")
    send(ledger)
    answer(ledger, SECOND, "rejected")
    assert bill(ledger, charge="70.00")[0]["outcome"] == "replaced"
    (number,) = live(ledger)
    assert number.endswith("3")
    assert (claim(ledger, number)["frequency_code"], claim(ledger, number)["payer_claim_number"]) == (
        "7",
        "ICN-1",
    )


def test_a_void_repeats_the_claim_and_outlives_every_rerun(ledger: Ledger) -> None:
    decided(ledger)
    corrected = correct(FIRST, True, "ann", "billed in error")
    assert (corrected.how, corrected.now, corrected.now_charge) == ("void", [], Decimal("0.00"))
    new = claim(ledger, SECOND)
    assert (new["frequency_code"], new["payer_claim_number"], new["total_charge"]) == (
        "8",
        "ICN-1",
        Decimal("110.50"),
    )
    with database.reading(ledger.engine) as connection:
        numbers = connection.execute(
            sa.select(CLAIM_LINE.c.line_control_number).where(CLAIM_LINE.c.claim_id == new["id"])
        ).scalars()
        assert sorted(numbers) == [f"{SECOND}-01", f"{SECOND}-02"]
    assert bill(ledger, charge="60.00")[0]["outcome"] == "taken_back"
    nobody = pl.Series([], dtype=pl.String)
    ledger.withdraw_missing(nobody, month=OCTOBER, source=SOURCE, at=AT)
    assert live(ledger) == [SECOND]
    assert claim(ledger, SECOND)["total_charge"] == Decimal("110.50")
    assert ledger.month_lines(OCTOBER).is_empty()


def test_part_b_gets_the_facts_of_a_reopening_and_never_a_file(ledger: Ledger) -> None:
    decided(ledger, kind="medicare_part_b")
    bill(ledger, charge="60.00", evidence="more", kind="medicare_part_b")
    facts = correct(FIRST, False, None, None)
    assert (facts.how, facts.new_claim_number, facts.payer_claim_number) == ("reopening", None, "ICN-1")
    assert facts.date_of_service == date(2026, 10, 20)
    assert [(line["code"], line["units"], line["charge"]) for line in facts.was] == [
        ("99457", "1", "55.25"),
        ("99458", "1", "55.25"),
    ]
    assert [line["charge"] for line in facts.now] == ["60.00", "60.00"]
    assert "reopening" in facts.next_step
    assert live(ledger) == [FIRST]
    assert ledger.open_corrections(OCTOBER, SOURCE) == 1
    correct(FIRST, False, "ann", "asked by phone, reference 17")
    assert ledger.open_corrections(OCTOBER, SOURCE) == 0
    assert live(ledger) == [FIRST]


def test_a_claim_that_cannot_be_corrected_says_what_can_be_done(ledger: Ledger) -> None:
    bill(ledger)
    refusals = {"not sent yet: run the month again": None, "is sent: its payer has not decided it": "sent"}
    for says, state in refusals.items():
        if state == "sent":
            send(ledger)
        with pytest.raises(Refused, match=says):
            correct(FIRST, False, "ann", "x")
    answer(ledger, FIRST, "rejected")
    with pytest.raises(Refused, match="rpmclaims resend"):
        correct(FIRST, False, "ann", "x")
    answer(ledger, FIRST, "adjudicated", payer_number=None)
    with pytest.raises(Refused, match="The input still says what claim"):
        correct(FIRST, False, "ann", "x")
    with pytest.raises(Refused, match=re.escape("(REF*F8)")):
        correct(FIRST, True, "ann", "x")
    with pytest.raises(Refused, match="Say why"):
        correct(FIRST, True, "ann", " ")
    with pytest.raises(Refused, match="There is no claim R1"):
        correct("R1", False, None, None)


def test_a_void_is_not_corrected_again(ledger: Ledger) -> None:
    decided(ledger)
    correct(FIRST, True, "ann", "billed in error")
    with pytest.raises(Refused, match=f"{SECOND} is in its place"):
        correct(FIRST, True, "ann", "again")
    with pytest.raises(Refused, match=f"takes {FIRST} back"):
        correct(SECOND, True, "ann", "again")


def test_a_rejected_claim_goes_again_as_a_new_original(ledger: Ledger) -> None:
    bill(ledger, kind="medicare_part_b")
    send(ledger)
    answer(ledger, FIRST, "rejected")
    resent = resend(FIRST, "ann", "the member id was mended at the payer")
    assert (resent.new_claim_number, resent.attempt) == (SECOND, 2)
    new = claim(ledger, SECOND)
    assert (new["frequency_code"], new["payer_claim_number"], new["state"]) == ("1", None, "built")
    # The input is as it was, so the next month-end only gives it a file.
    assert bill(ledger, kind="medicare_part_b")[0]["outcome"] == "unchanged"
    assert claim(ledger, SECOND)["interchange_id"] is not None


def test_a_claim_returned_as_unprocessable_goes_again_and_a_denied_one_does_not(ledger: Ledger) -> None:
    decided(ledger, kind="medicare_part_b")
    with pytest.raises(Refused, match="denied as a duplicate"):
        resend(FIRST, "ann", "x")
    _remark(ledger, FIRST, "MA130")
    with pytest.raises(Refused, match="rpmclaims resend"):
        correct(FIRST, True, None, None)
    assert resend(FIRST, "ann", "the diagnosis was mended").attempt == 2


def _remark(ledger: Ledger, claim_number: str, code: str) -> None:
    """Let the newest remittance say a remark code of a claim."""
    owner = claim(ledger, claim_number)["id"]
    hashes = {"sha256": "s", "content_sha256": "s"}
    rows: dict[str, dict[str, Any]] = {
        "inbound_file": {
            **hashes, "id": 1, "name": "a.835", "origin": "a.835", "uri": "a", "size": 1, "received_at": AT,
            "kind": "835", "state": "posted", "summary": {}, "findings": [],
        },
        "remittance": {
            "id": 1, "inbound_file_id": 1, "transaction_index": 1, "segment": 1, "is_balanced": True,
            "state": "posted", "content_sha256": "s", "identity_key": "k",
        },
        "remittance_claim": {
            "id": 1, "remittance_id": 1, "claim_index": 1, "segment": 1, "charge": 0, "paid": 0,
            "claim_id": owner, "is_reversal": False, "is_forwarded": False,
        },
        "remittance_remark": {"remittance_claim_id": 1, "segment": 1, "number": 1, "code": code},
    }  # fmt: skip
    with database.writing(ledger.engine) as connection:
        for table, row in rows.items():
            connection.execute(sa.insert(TABLES[table]).values(row))


def test_a_claim_does_not_go_again_while_its_payer_has_it(ledger: Ledger) -> None:
    bill(ledger)
    with pytest.raises(Refused, match="`rpmclaims submit` delivers it"):
        resend(FIRST, "ann", "x")
    send(ledger)
    for state in ("received", "accepted"):
        answer(ledger, FIRST, state)
        with pytest.raises(Refused, match=f"is {state}: its payer has it"):
            resend(FIRST, "ann", "x")


def test_after_the_third_refusal_a_person_must_find_out_why(ledger: Ledger) -> None:
    bill(ledger)
    number = FIRST
    for _ in range(2):
        send(ledger)
        answer(ledger, number, "rejected")
        number = resend(number, "ann", "again").new_claim_number
        bill(ledger)
    send(ledger)
    answer(ledger, number, "rejected")
    with pytest.raises(Refused, match="was sent 3 times and refused each time"):
        resend(number, "ann", "again")


@pytest.mark.parametrize(
    ("today", "is_late"), [("2027-10-20T12:00:00+00:00", False), ("2027-10-21T12:00:00+00:00", True)]
)
def test_after_the_filing_limit_a_claim_does_not_go_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, today: str, is_late: bool
) -> None:
    bill(ledger, kind="medicare_part_b")
    send(ledger)
    answer(ledger, FIRST, "rejected")
    monkeypatch.setenv("RPMCLAIMS_NOW", today)
    if is_late:
        with pytest.raises(Refused, match=r"The time to file claim \w+ ended on 2027-10-20"):
            resend(FIRST, "ann", "x")
    else:
        assert resend(FIRST, "ann", "x").attempt == 2


def test_an_open_twin_under_another_provider_blocks_a_claim_from_going_again(ledger: Ledger) -> None:
    bill(ledger)
    send(ledger)
    answer(ledger, FIRST, "rejected")
    claims, lines = month(1)
    twin = "R2610TWIN00000001"
    other = claims.with_columns(billing_npi=pl.lit("1679576722"), claim_number=pl.lit(twin))
    lines = lines.with_columns(claim_number=pl.lit(twin))
    ledger.register_claims(other, lines, month=OCTOBER, source=SOURCE, at=AT)
    with pytest.raises(Refused, match=f"Claim {twin} is open for the same member and month"):
        resend(FIRST, "ann", "x")


def test_an_approval_is_for_exact_bytes_and_by_a_second_person(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_it: Callable[..., SubmissionPlan] = plan_submission.fn
    monkeypatch.setenv("RPMCLAIMS_APPROVAL_OVER_CLAIMS", "0")
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", str(tmp_path / "outbox"))
    output = str(tmp_path / "out")

    def waits() -> str | None:
        plan: SubmissionPlan = plan_it("2026-10", output, None)
        return plan.waits_for

    ledger.record_run("run", month=OCTOBER, source=SOURCE, output=output, at=AT, by="Ann")
    ledger.finish_run("run", summary={}, at=AT)
    with pytest.raises(Refused, match="nothing to approve"):
        approve("2026-10", None, "Bea")
    bill(ledger)
    (file,) = ledger.month_interchanges(OCTOBER).to_dicts()
    ledger.record_written(file["interchange_id"], uri="/out/1", sha256="first", size=1)
    assert waits()
    with pytest.raises(Refused, match="Ann started the month-end of 2026-10; somebody else must approve"):
        approve("2026-10", output, " ann ")
    with pytest.raises(Refused, match="Say who decides"):
        approve("2026-10", output, " ")
    assert waits()
    approved = approve("2026-10", None, "Bea")
    assert (approved.files, approved.claim_count) == ({file["file_name"]: "first"}, 1)
    assert approve("2026-10", None, "Bea") == approved
    assert waits() is None
    ledger.record_written(file["interchange_id"], uri="/out/1", sha256="second", size=1)
    assert "1 of 1 files wait for an approval" in str(waits())
    with database.reading(ledger.engine) as connection:
        kept = connection.execute(sa.select(TABLES["approval"])).mappings().one()
    assert (kept["approved_by"], kept["entered_by"], kept["at"]) == ("Bea", "desk", AT)
