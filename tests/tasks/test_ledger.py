"""The ledger over a month's life: registered, filed, sent, run again with other input."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
import sqlalchemy as sa

from schemas.errors import ControlBreak
from tasks.claim_states import CLAIM, CLAIM_EVENT, INTERCHANGE
from tasks.corrections import CORRECTION
from tasks.database import query, reading, writing
from tasks.ledger import LINES_COLUMNS, Ledger, LedgerError, Registration
from tasks.runs import MONTH_RUN, SOURCE_PIN
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

LATER = AT + timedelta(days=1)
Frames = tuple[pl.DataFrame, pl.DataFrame]


def register(ledger: Ledger, frames: Frames, source: str = SOURCE) -> Registration:
    return ledger.register_claims(*frames, month=OCTOBER, source=source, at=AT)


def allocate(ledger: Ledger, max_claims: int = 50_000) -> pl.DataFrame:
    return ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT, max_claims=max_claims)


def write(ledger: Ledger, interchange_id: int, sha256: str = "f" * 64) -> bool:
    return ledger.record_written(interchange_id, uri="claims/one.837", sha256=sha256, size=1_000)


def send(ledger: Ledger, frames: Frames) -> Registration:
    """Register, file and send claims; returns their registration."""
    registered = register(ledger, frames)
    for number in allocate(ledger).filter(pl.col("state") == "reserved")["interchange_id"]:
        write(ledger, number)
        ledger.record_sending(number)
        ledger.record_sent(number, receipt={"etag": "1"}, at=AT)
    return registered


def rows(ledger: Ledger, table: sa.Table) -> pl.DataFrame:
    with reading(ledger.engine) as connection:
        return query(connection, sa.select(table))


def changed(frames: Frames, content: str, **columns: str) -> Frames:
    claims, lines = frames
    literals = {name: pl.lit(value) for name, value in columns.items()}
    return claims.with_columns(content_sha256=pl.lit(content), **literals), lines


# Registration


def test_new_claims_are_built_live_and_each_has_its_first_event(ledger: Ledger) -> None:
    registered = register(ledger, month(3))
    assert registered.counts == {"new": 3}
    held = ledger.month_claims(OCTOBER, SOURCE)
    assert held["state"].to_list() == ["built"] * 3
    assert held["is_live"].all()
    assert held["claim_number"].to_list() == month(3)[0]["claim_number"].to_list()
    events = rows(ledger, CLAIM_EVENT)
    assert events.select("from_state", "to_state", "actor").unique().row(0) == (None, "built", "month_end")
    assert events.height == 3


def test_lines_come_back_with_the_contracts_columns_in_order_to_the_cent(ledger: Ledger) -> None:
    register(ledger, month(2, charge="0.10"))
    lines = ledger.month_lines(OCTOBER, SOURCE)
    assert lines.columns == list(LINES_COLUMNS)
    assert lines.select("claim_number", "line_number").rows() == [
        ("R2610ABCDE0000001", 1),
        ("R2610ABCDE0000001", 2),
        ("R2610ABCDE0000011", 1),
        ("R2610ABCDE0000011", 2),
    ]
    assert lines["charge"].to_list() == [Decimal("0.10")] * 4
    assert lines["allowed_estimate"].sum() == Decimal("0.20")
    assert lines["modifiers"].to_list() == [""] * 4


def test_the_same_month_again_changes_nothing(ledger: Ledger) -> None:
    register(ledger, month(3))
    before = (rows(ledger, CLAIM), rows(ledger, CLAIM_EVENT), ledger.month_lines(OCTOBER))
    again = ledger.register_claims(*month(3), month=OCTOBER, source=SOURCE, at=LATER)
    assert again.counts == {"unchanged": 3}
    assert ledger.withdraw_missing(again.claim_numbers, month=OCTOBER, source=SOURCE, at=LATER).is_empty()
    after = (rows(ledger, CLAIM), rows(ledger, CLAIM_EVENT), ledger.month_lines(OCTOBER))
    for one, other in zip(before, after, strict=True):
        assert one.equals(other)


def test_claims_whose_lines_do_not_add_up_stop_the_run_and_leave_nothing(ledger: Ledger) -> None:
    claims, lines = month(3)
    with pytest.raises(ControlBreak, match="do not add up"):
        register(ledger, (claims, lines.head(5)))
    with pytest.raises(ControlBreak, match="do not add up"):
        register(ledger, (claims.head(2), lines))
    with pytest.raises(ControlBreak, match="claim numbers"):
        register(ledger, (pl.concat([claims, claims.head(1)]), lines))
    with pytest.raises(ControlBreak, match="the month"):
        register(ledger, (claims.with_columns(service_month=date(2026, 9, 1)), lines))
    assert rows(ledger, CLAIM).is_empty()


def test_a_second_patient_record_of_one_member_is_not_billed_again(ledger: Ledger) -> None:
    register(ledger, month(1))
    twin = changed(month(1), "other", patient_id="TWIN")
    registered = register(ledger, twin)
    assert registered.counts == {"already_billed": 1}
    assert registered.claim_numbers.is_empty()
    assert ledger.month_claims(OCTOBER)["patient_id"].to_list() == ["P000000"]


def test_a_claim_not_sent_is_rebuilt_under_its_own_number(ledger: Ledger) -> None:
    register(ledger, month(2))
    registered = register(ledger, month(2, charge="60.00"))
    assert registered.counts == {"rebuilt": 2}
    assert ledger.month_claims(OCTOBER)["claim_number"].to_list() == registered.claim_numbers.to_list()
    assert ledger.month_lines(OCTOBER)["charge"].unique().to_list() == [Decimal("60.00")]
    data = rows(ledger, CLAIM_EVENT).filter(pl.col("from_state") == "built")["data"]
    assert data.str.json_path_match("$.was").to_list() == ["content-55.25-MAC"] * 2
    assert data.str.json_path_match("$.now").to_list() == ["content-60.00-MAC"] * 2


def test_rebuilding_one_claim_frees_the_others_of_its_file_to_be_filed_again(ledger: Ledger) -> None:
    register(ledger, month(3))
    (first,) = allocate(ledger)["interchange_id"]
    write(ledger, first)
    claims, lines = month(3)
    late = pl.when(pl.col("patient_id") == "P000001").then(pl.lit("late")).otherwise("content_sha256")
    assert register(ledger, (claims.with_columns(content_sha256=late), lines)).counts == {
        "unchanged": 2,
        "rebuilt": 1,
    }
    files = allocate(ledger)
    assert files.select("control_number", "claim_count", "state").rows() == [(2, 3, "reserved")]
    assert rows(ledger, INTERCHANGE).filter(pl.col("id") == first)["state"].to_list() == ["void"]
    with pytest.raises(LedgerError, match="is void"):
        write(ledger, first)


def test_a_claim_in_a_file_being_sent_counts_as_sent(ledger: Ledger) -> None:
    register(ledger, month(1))
    (file,) = allocate(ledger)["interchange_id"]
    write(ledger, file)
    assert ledger.record_sending(file)
    assert register(ledger, month(1, charge="60.00")).counts == {"corrected": 1}
    assert ledger.month_lines(OCTOBER)["charge"].unique().to_list() == [Decimal("55.25")]
    assert allocate(ledger)["state"].to_list() == ["sending"]


@pytest.mark.parametrize("state", ["sent", "received", "accepted", "adjudicated"])
def test_a_claim_already_sent_stays_as_it_is_and_its_difference_is_noted_once(
    ledger: Ledger, state: str
) -> None:
    sent = send(ledger, month(2))
    if state != "sent":
        ledger.transition(sent.claim_numbers, state, actor="collection", dedupe="answer", at=AT)
    before = rows(ledger, CLAIM)
    for _ in range(2):
        assert register(ledger, month(2, charge="60.00")).counts == {"corrected": 2}
    assert rows(ledger, CLAIM).equals(before)
    noted = rows(ledger, CORRECTION)
    assert noted.select("kind", "state").rows() == [("changed", "open")] * 2
    assert noted["was"].str.json_path_match("$.total_charge").to_list() == ["110.50"] * 2
    assert noted["now"].str.json_path_match("$.lines[0].charge").to_list() == ["60.00"] * 2


def test_other_evidence_for_the_same_lines_is_a_correction_too(ledger: Ledger) -> None:
    send(ledger, month(1))
    assert register(ledger, month(1, evidence="other")).counts == {"corrected": 1}


def test_a_new_address_after_sending_is_no_correction(ledger: Ledger) -> None:
    send(ledger, month(1))
    assert register(ledger, changed(month(1), "moved house")).counts == {"unchanged": 1}
    assert rows(ledger, CORRECTION).is_empty()


def test_a_correction_closes_when_the_input_moves_on_and_opens_when_it_comes_back(ledger: Ledger) -> None:
    send(ledger, month(1))
    for charge, open_now in [("60.00", 1), ("61.00", 1), ("55.25", 0), ("60.00", 1)]:
        register(ledger, month(1, charge=charge))
        noted = rows(ledger, CORRECTION).filter(pl.col("state") == "open")
        assert noted.height == open_now
        assert noted["now"].str.json_path_match("$.lines[1].charge").to_list() == [charge] * open_now
    assert rows(ledger, CORRECTION).height == 2


def test_a_correction_that_a_person_closed_stays_closed(ledger: Ledger) -> None:
    send(ledger, month(1))
    register(ledger, month(1, charge="60.00"))
    with writing(ledger.engine) as connection:
        connection.execute(sa.update(CORRECTION).values(state="closed", closed_by="biller"))
    register(ledger, month(1, charge="60.00"))
    assert rows(ledger, CORRECTION).select("state", "closed_by").row(0) == ("closed", "biller")


def test_a_rejected_claim_with_other_content_lives_on_as_its_next_version(ledger: Ledger) -> None:
    sent = send(ledger, month(2))
    ledger.transition(sent.claim_numbers, "rejected", actor="collection", dedupe="277ca:1", at=AT)
    assert register(ledger, month(2)).counts == {"unchanged": 2}
    fixed = register(ledger, month(2, charge="60.00"))
    assert fixed.counts == {"replaced": 2}
    assert fixed.claims["claim_number"].to_list() == ["R2610ABCDE0000002", "R2610ABCDE0000012"]
    live = ledger.month_claims(OCTOBER)
    assert live.select("version", "state", "frequency_code").unique().row(0) == (2, "built", "1")
    assert live["original_claim_number"].to_list() == fixed.claims["billed_number"].to_list()
    gone = rows(ledger, CLAIM).filter(~pl.col("is_live"))
    assert gone["state"].to_list() == ["replaced"] * 2
    assert register(ledger, month(2, charge="60.00")).counts == {"unchanged": 2}
    (file,) = allocate(ledger).filter(pl.col("state") == "reserved")["interchange_id"]
    assert ledger.interchange_lines(file)["line_control_number"].to_list() == [
        f"{number}-0{line}" for number in fixed.claims["claim_number"] for line in (1, 2)
    ]


def test_another_source_that_bills_the_same_claims_takes_them_over(ledger: Ledger) -> None:
    register(ledger, month(1))
    assert register(ledger, month(1), source="s3://copy").counts == {"rebuilt": 1}
    send(ledger, month(1))
    assert register(ledger, month(1), source="s3://copy").counts == {"unchanged": 1}
    assert ledger.month_lines(OCTOBER, "s3://copy").height == 2
    assert ledger.month_lines(OCTOBER, SOURCE).is_empty()


def test_no_claims_are_no_problem(ledger: Ledger) -> None:
    claims, lines = month(1)
    registered = register(ledger, (claims.clear(), lines.clear()))
    assert registered.counts == {}
    assert allocate(ledger).is_empty()
    assert ledger.month_lines(OCTOBER).columns == list(LINES_COLUMNS)


# Withdrawal


def test_claims_no_longer_wanted_are_void_when_unsent_and_corrected_when_sent(ledger: Ledger) -> None:
    send(ledger, month(1))
    register(ledger, month(3))
    allocate(ledger)
    wanted = register(ledger, month(1, start=2)).claim_numbers
    taken_back = ledger.withdraw_missing(wanted, month=OCTOBER, source=SOURCE, at=LATER)
    assert taken_back.rows() == [("R2610ABCDE0000001", "corrected"), ("R2610ABCDE0000011", "void")]
    assert ledger.month_claims(OCTOBER)["patient_id"].to_list() == ["P000000", "P000002"]
    files = allocate(ledger)
    assert files.select("state", "claim_count").rows() == [("sent", 1), ("reserved", 1)]
    assert rows(ledger, CORRECTION)["kind"].to_list() == ["withdrawn"]


def test_a_claim_wanted_again_closes_its_withdrawal_or_gets_a_new_version(ledger: Ledger) -> None:
    send(ledger, month(1))
    register(ledger, month(2))
    nothing = pl.Series([], dtype=pl.String)
    ledger.withdraw_missing(nothing, month=OCTOBER, source=SOURCE, at=LATER)
    assert register(ledger, month(2)).counts == {"unchanged": 1, "new": 1}
    assert ledger.month_claims(OCTOBER)["version"].to_list() == [1, 2]
    assert rows(ledger, CORRECTION).select("kind", "state").rows() == [("withdrawn", "closed")]


def test_only_the_months_and_the_sources_own_claims_are_withdrawn(ledger: Ledger) -> None:
    register(ledger, month(1))
    register(ledger, month(1, start=7), source="s3://another")
    nothing = pl.Series([], dtype=pl.String)
    ledger.withdraw_missing(nothing, month=date(2026, 11, 1), source=SOURCE, at=AT)
    assert ledger.month_claims(OCTOBER).height == 2
    ledger.withdraw_missing(nothing, month=OCTOBER, source=SOURCE, at=AT)
    assert ledger.month_claims(OCTOBER)["source"].to_list() == ["s3://another"]


# Interchanges


def test_each_receiver_gets_its_own_files_of_at_most_so_many_claims(ledger: Ledger) -> None:
    register(ledger, month(5))
    register(ledger, month(2, receiver="MA PLAN/1", start=5))
    files = allocate(ledger, max_claims=2)
    assert files.select("file_name", "claim_count", "total_charge").rows() == [
        ("CLINIC_MA-PLAN-1_T_000000001.837", 2, Decimal("221.00")),
        ("CLINIC_MAC_T_000000001.837", 2, Decimal("221.00")),
        ("CLINIC_MAC_T_000000002.837", 2, Decimal("221.00")),
        ("CLINIC_MAC_T_000000003.837", 1, Decimal("110.50")),
    ]
    assert files["batch_id"][0] == "RPM202610-000000001"
    assert files["group_control_number"].equals(files["control_number"])
    assert files["created_at"].unique().to_list() == [AT]
    first = ledger.interchange_claims(int(files["interchange_id"][1]))
    assert first["claim_number"].to_list() == ["R2610ABCDE0000001", "R2610ABCDE0000011"]
    assert allocate(ledger, max_claims=2).equals(files)


def test_new_claims_of_a_month_already_filed_get_a_file_of_their_own(ledger: Ledger) -> None:
    send(ledger, month(2))
    register(ledger, month(3))
    assert allocate(ledger).select("control_number", "claim_count", "state").rows() == [
        (1, 2, "sent"),
        (2, 1, "reserved"),
    ]


def test_a_file_is_sent_once_and_its_receipt_moves_its_claims(ledger: Ledger) -> None:
    register(ledger, month(2))
    (file,) = allocate(ledger)["interchange_id"]
    with pytest.raises(LedgerError, match="only a written one"):
        ledger.record_sending(file)
    assert write(ledger, file)
    with pytest.raises(LedgerError, match="follows"):
        ledger.record_sent(file, receipt={}, at=AT)
    assert [ledger.record_sending(file), ledger.record_sending(file)] == [True, False]
    assert ledger.month_claims(OCTOBER)["state"].unique().to_list() == ["built"]
    assert ledger.record_sent(file, receipt={"etag": "1"}, at=LATER)
    assert not ledger.record_sent(file, receipt={"etag": "2"}, at=LATER)
    assert ledger.month_claims(OCTOBER)["state"].unique().to_list() == ["sent"]
    listed = ledger.month_interchanges(OCTOBER)
    assert listed.select("state", "sent_at").row(0) == ("sent", LATER)
    assert listed["receipt"].str.json_path_match("$.etag").to_list() == ["1"]


def test_a_sent_files_bytes_are_settled(ledger: Ledger) -> None:
    send(ledger, month(1))
    (file,) = ledger.month_interchanges(OCTOBER)["interchange_id"]
    assert not write(ledger, file)
    with pytest.raises(LedgerError, match="other bytes"):
        write(ledger, file, sha256="0" * 64)
    with pytest.raises(LedgerError, match="no interchange"):
        write(ledger, 999)


# Transitions


def test_a_transition_moves_each_claim_once_and_says_what_became_of_it(ledger: Ledger) -> None:
    send(ledger, month(2))
    register(ledger, month(3))
    numbers = pl.Series(["R2610ABCDE0000001", "R2610ABCDE0000021", "NOT-OURS"])
    for outcome in ("moved", "repeated"):
        moved = ledger.transition(numbers, "received", actor="collection", dedupe="999:abc", at=LATER)
        assert dict(moved.select("claim_number", "outcome").iter_rows()) == {
            "NOT-OURS": "unknown",
            "R2610ABCDE0000001": outcome,
            "R2610ABCDE0000021": "refused",
        }
    states = ledger.month_claims(OCTOBER)
    assert states["state"].to_list() == ["received", "sent", "built"]
    assert states["updated_at"].to_list() == [LATER, AT, AT]
    assert rows(ledger, CLAIM_EVENT).filter(pl.col("to_state") == "received").height == 1


def test_an_answer_that_was_overtaken_does_not_move_a_claim_back(ledger: Ledger) -> None:
    numbers = send(ledger, month(1)).claim_numbers
    ledger.transition(numbers, "adjudicated", actor="collection", dedupe="835", at=AT)
    late = ledger.transition(numbers, "accepted", actor="collection", dedupe="277ca", at=AT)
    assert late["outcome"].to_list() == ["refused"]
    assert ledger.month_claims(OCTOBER)["state"].to_list() == ["adjudicated"]


# Runs


def test_a_run_its_pins_and_its_end_are_remembered_once(ledger: Ledger) -> None:
    pins = pl.DataFrame(
        {"dataset": "patients", "key": ["patients/a.csv", "patients/b.csv"], "version": "1", "size": 10}
    ).with_columns(sha256=pl.lit("0" * 64))
    for _ in range(2):
        ledger.record_run("run-1", month=OCTOBER, source=SOURCE, output="out", at=AT)
        ledger.record_pins("run-1", "m" * 64, pins)
    ledger.finish_run("run-1", summary={"claims": 3}, at=LATER)
    run = rows(ledger, MONTH_RUN).select("run_id", "manifest_sha256", "state")
    assert run.rows() == [("run-1", "m" * 64, "done")]
    assert rows(ledger, SOURCE_PIN)["key"].sort().to_list() == ["patients/a.csv", "patients/b.csv"]
    with pytest.raises(LedgerError, match="no run"):
        ledger.finish_run("run-2", summary={}, at=LATER)
