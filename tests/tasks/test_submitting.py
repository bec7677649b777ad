"""Submitting: each file leaves once, whatever breaks in between and however many send at the same time."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from schemas.deliveries import Delivery, SubmissionPlan
from schemas.errors import Refused
from tasks import database
from tasks.claim_states import TABLES
from tasks.exchange import mailbox_at
from tasks.ledger import Ledger
from tasks.storage import storage_at
from tasks.submitting import deliver_anew, deliver_file, plan_submission, summarise
from tasks.turns import alone
from tests.tasks.made_answers import post, ta1
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

FUNNEL = {"sources": [{"rows_read": 100, "rows_elsewhere": 0, "rows_quarantined": 2}]}
# Without Prefect around it, a step is the plain function that it guards.
plan_it: Callable[..., SubmissionPlan] = plan_submission.fn
deliver_it: Callable[..., Delivery] = deliver_file.fn


@pytest.fixture
def output(ledger: Ledger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A month of three claims in one checked file, as a month-end of `ann` leaves it."""
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setenv("RPMCLAIMS_NOW", AT.isoformat())
    output = str(tmp_path / "output")
    ledger.record_run("run", month=OCTOBER, source=SOURCE, output=output, at=AT, by="ann")
    register(ledger, output, 3)
    ledger.finish_run("run", summary={"funnel": FUNNEL}, at=AT)
    return output


def register(ledger: Ledger, output: str, patients: int, *, receiver: str = "MAC", start: int = 0) -> None:
    """Register claims and write their file, as the month-end's steps do."""
    claims, lines = month(patients, receiver=receiver, start=start)
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    for file in ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT).to_dicts():
        if file["state"] == "reserved":
            write(ledger, output, file["interchange_id"], file["file_name"])


def write(ledger: Ledger, output: str, interchange_id: int, file_name: str) -> None:
    """Write a file's bytes and tell the ledger."""
    data = f"ISA*{file_name}~".encode()
    storage = storage_at(f"{output}/2026-10/claims")
    storage.write(file_name, data)
    sha256 = hashlib.sha256(data).hexdigest()
    ledger.record_written(interchange_id, uri=storage.uri_of(file_name), sha256=sha256, size=len(data))


def states(ledger: Ledger) -> list[str]:
    """Return the states of the month's files and of its claims, each once."""
    files = ledger.month_interchanges(OCTOBER)["state"].unique().to_list()
    return sorted({*files, *ledger.month_claims(OCTOBER)["state"]})


def sent_events(ledger: Ledger) -> int:
    """Count how often a claim was said to be sent."""
    events = TABLES["claim_event"]
    with database.reading(ledger.engine) as connection:
        return int(
            connection.execute(
                sa.select(sa.func.count()).select_from(events).where(events.c.to_state == "sent")
            ).scalar_one()
        )


def test_a_checked_file_is_delivered_and_its_claims_are_sent(ledger: Ledger, output: str) -> None:
    plan = plan_it("2026-10", output, None)
    (file,) = plan.to_send
    delivery = deliver_it(file, plan)
    assert (delivery.outcome, delivery.claim_count) == ("delivered", 3)
    assert mailbox_at(plan.outbox).fetch(file.file_name) == f"ISA*{file.file_name}~".encode()
    assert states(ledger) == ["sent"]
    (kept,) = ledger.month_interchanges(OCTOBER)["receipt"]
    assert json.loads(kept) == {
        "uri": f"{plan.outbox}/{file.file_name}",
        "sha256": file.sha256,
        "size": len(f"ISA*{file.file_name}~"),
        "was_there": False,
    }


def test_a_file_that_was_sent_is_not_planned_again(ledger: Ledger, output: str) -> None:
    plan = plan_it("2026-10", output, None)
    deliver_it(plan.to_send[0], plan)
    again = plan_it("2026-10", output, None)
    assert (again.to_send, again.kept_back, again.sent_before) == ([], [], 1)


class PowerFailure(Exception):
    """The process dies here."""


def break_off(plan: SubmissionPlan, ledger: Ledger, *, is_delivered: bool) -> None:
    """Begin to deliver the only file of a plan, and die when its draft was noted or as it got its name."""
    (file,) = plan.to_send
    data = storage_at(plan.folder).read(file.file_name)
    box = mailbox_at(plan.outbox)

    def note_and_die(draft: str) -> None:
        ledger.record_sending(file.interchange_id, outbox=box.uri, draft=draft)
        if not is_delivered:
            raise PowerFailure

    if is_delivered:
        box.deliver(file.file_name, data, note_and_die)
        return
    with pytest.raises(PowerFailure):
        box.deliver(file.file_name, data, note_and_die)


def deliver_all(plan: SubmissionPlan) -> list[Delivery]:
    return [deliver_it(file, plan) for file in plan.to_send]


def test_a_draft_that_still_lies_there_proves_that_its_file_must_go(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    break_off(plan_it("2026-10", output, None), ledger, is_delivered=False)
    (delivery,) = deliver_all(plan_it("2026-10", output, None))
    assert delivery.outcome == "delivered"
    assert states(ledger) == ["sent"]
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == [delivery.file_name]


def test_a_file_that_may_have_been_taken_away_is_not_sent_again_by_itself(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    break_off(plan, ledger, is_delivered=True)
    (tmp_path / "outbox" / plan.to_send[0].file_name).rename(tmp_path / "taken.837")
    for _ in range(2):
        (delivery,) = deliver_all(plan_it("2026-10", output, None))
        assert delivery.outcome == "unknown"
        assert f"--resend {delivery.file_name} --by NAME" in str(delivery.reason)
        assert summarise(plan, [delivery]).needs_people
    assert not list((tmp_path / "outbox").iterdir())
    assert states(ledger) == ["built", "sending"]


def test_a_person_who_asked_lets_a_lost_file_go_again_and_is_remembered(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    (name,) = (file.file_name for file in plan.to_send)
    with pytest.raises(Refused, match="is not a file whose delivery is unknown"):
        deliver_anew(name, "ann", "they never had it")
    break_off(plan, ledger, is_delivered=True)
    (tmp_path / "outbox" / name).unlink()
    deliver_all(plan)
    for by, why, says in ((None, "x", "--by NAME"), ("ann", " ", "--reason TEXT")):
        with pytest.raises(Refused, match=says):
            deliver_anew(name, by, why)
    deliver_anew(name, "ann", "they never had it")
    assert [found.outcome for found in deliver_all(plan_it("2026-10", output, None))] == ["delivered"]
    assert states(ledger) == ["sent"]
    events = TABLES["claim_event"]
    with database.reading(ledger.engine) as connection:
        told = connection.execute(sa.select(events).where(events.c.dedupe_key.like("deliver-anew:%")))
        assert [(row["actor"], "they never had it" in str(row["data"])) for row in told.mappings()] == [
            ("ann", True)
        ] * 3


def test_an_answer_settles_whether_a_file_was_delivered(ledger: Ledger, output: str, tmp_path: Path) -> None:
    plan = plan_it("2026-10", output, None)
    break_off(plan, ledger, is_delivered=True)
    (tmp_path / "outbox" / plan.to_send[0].file_name).unlink()
    deliver_all(plan)
    (control_number,) = ledger.month_interchanges(OCTOBER)["control_number"]
    post(ledger, ta1("A", answered=control_number))
    assert states(ledger) == ["received", "sent"]
    assert plan_it("2026-10", output, None).to_send == []


def test_a_delivery_that_broke_off_is_looked_for_where_it_was_begun(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    break_off(plan, ledger, is_delivered=True)
    elsewhere = plan_it("2026-10", output, str(tmp_path / "other"))
    assert [delivery.outcome for delivery in deliver_all(elsewhere)] == ["was_there"]
    assert not (tmp_path / "other").exists()


def test_a_crash_after_the_upload_is_resolved_by_looking(ledger: Ledger, output: str, tmp_path: Path) -> None:
    plan = plan_it("2026-10", output, None)
    (file,) = plan.to_send
    ledger.record_sending(file.interchange_id)
    mailbox_at(plan.outbox).deliver(file.file_name, f"ISA*{file.file_name}~".encode(), lambda draft: None)
    uploaded_at = (tmp_path / "outbox" / file.file_name).stat().st_mtime_ns
    after = plan_it("2026-10", output, None)
    assert [deliver_it(found, after).outcome for found in after.to_send] == ["was_there"]
    assert (tmp_path / "outbox" / file.file_name).stat().st_mtime_ns == uploaded_at
    assert states(ledger) == ["sent"]


def test_another_file_under_our_name_stops_the_delivery(ledger: Ledger, output: str, tmp_path: Path) -> None:
    plan = plan_it("2026-10", output, None)
    (file,) = plan.to_send
    stranger = tmp_path / "outbox" / file.file_name
    stranger.parent.mkdir()
    stranger.write_bytes(b"not ours")
    with pytest.raises(Refused, match="is there with other content"):
        deliver_it(file, plan)
    assert stranger.read_bytes() == b"not ours"
    assert sent_events(ledger) == 0


def test_of_eight_that_send_at_once_one_delivers_and_every_claim_is_sent_once(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    with ThreadPoolExecutor(8) as racers:
        outcomes = [racer.outcome for racer in racers.map(deliver_it, plan.to_send * 8, [plan] * 8)]
    assert sorted(outcomes) == ["delivered", *["was_there"] * 7]
    assert sent_events(ledger) == 3
    assert len(list((tmp_path / "outbox").iterdir())) == 1


def test_a_sender_who_comes_late_does_not_send_what_the_clearinghouse_already_took(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    (file,) = plan.to_send
    deliver_it(file, plan)
    (tmp_path / "outbox" / file.file_name).unlink()
    assert deliver_it(file, plan).outcome == "was_there"
    assert not list((tmp_path / "outbox").iterdir())


def _hold_the_place(url: str, held: str) -> None:
    engine = database.connect(url)
    with alone(engine, "sending"):
        Path(held).touch()
        time.sleep(60)


def test_a_sender_who_was_killed_does_not_keep_others_from_sending(
    ledger: Ledger, output: str, ledger_url: str, tmp_path: Path
) -> None:
    """SIGKILL leaves no chance to let go."""
    holder = multiprocessing.get_context("spawn").Process(
        target=_hold_the_place, args=(ledger_url, str(tmp_path / "held"))
    )
    holder.start()
    while not (tmp_path / "held").exists():
        assert holder.is_alive()
        time.sleep(0.02)
    plan = plan_it("2026-10", output, None)
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(deliver_it, plan.to_send[0], plan)
        time.sleep(0.3)
        assert not waiting.done()
        holder.kill()
        assert waiting.result(timeout=30).outcome == "delivered"
    holder.join()


def test_bytes_that_are_not_the_checked_ones_do_not_leave(
    ledger: Ledger, output: str, tmp_path: Path
) -> None:
    plan = plan_it("2026-10", output, None)
    (file,) = plan.to_send
    (tmp_path / "output" / "2026-10" / "claims" / file.file_name).write_bytes(b"edited by hand")
    with pytest.raises(Refused, match="is not the file that was checked"):
        deliver_it(file, plan)
    assert not (tmp_path / "outbox").exists()
    assert states(ledger) == ["built", "written"]


def test_a_file_whose_check_found_errors_is_kept_back_and_said_so(ledger: Ledger, output: str) -> None:
    claims, lines = month(2, receiver="OTHER", start=10)
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)
    plan = plan_it("2026-10", output, None)
    assert [file.claim_count for file in plan.to_send] == [3]
    (kept,) = plan.kept_back
    assert (kept.claim_count, kept.outcome) == (2, "kept_back")
    assert "errors" in str(kept.reason)


def test_a_test_file_does_not_go_into_an_outbox_for_production(
    ledger: Ledger, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_OUTBOX_USAGE", "P")
    plan = plan_it("2026-10", output, None)
    assert plan.to_send == []
    assert "marked T (ISA15), and RPMCLAIMS_OUTBOX_USAGE lets only P" in str(plan.kept_back[0].reason)
    monkeypatch.setenv("RPMCLAIMS_OUTBOX_USAGE", "T")
    assert len(plan_it("2026-10", output, None).to_send) == 1


def test_another_month_output_or_run_without_an_end_sends_nothing(ledger: Ledger, output: str) -> None:
    for asked, place, says in (
        ("2026-09", output, "No month-end of 2026-09 has written to"),
        ("2026-10", f"{output}-2", "No month-end of 2026-10 has written to"),
        ("2026", output, "is written like 2026-10"),
    ):
        with pytest.raises(Refused, match=says):
            plan_it(asked, place, None)
    later = AT.replace(hour=20)
    ledger.record_run("crashed", month=OCTOBER, source=SOURCE, output=output, at=later)
    # It has changed nothing yet.
    assert len(plan_it("2026-10", output, None).to_send) == 1
    pins = pl.DataFrame({"dataset": "d", "key": "k", "version": "1", "size": 1, "sha256": "f" * 64})
    ledger.record_pins("crashed", "m" * 64, pins)
    with pytest.raises(Refused, match="did not come to its end: run it again"):
        plan_it("2026-10", output, None)


def test_without_an_outbox_there_is_nothing_to_plan(
    ledger: Ledger, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RPMCLAIMS_OUTBOX")
    with pytest.raises(Refused, match="set RPMCLAIMS_OUTBOX or pass --outbox"):
        plan_it("2026-10", output, None)


@pytest.mark.parametrize(
    ("name", "at", "above", "says"),
    [
        ("MONEY", "331.50", "331.49", r"charges \$331.50, which is more than RPMCLAIMS_APPROVAL_OVER_MONEY"),
        ("CLAIMS", "3", "2", "has 3 claims, which is more than RPMCLAIMS_APPROVAL_OVER_CLAIMS"),
        ("QUARANTINE_SHARE", "0.02", "0.019", "2.0% of the rows of 2026-10 are in quarantine"),
    ],
)
def test_above_a_threshold_files_wait_and_on_it_they_do_not(
    ledger: Ledger, output: str, monkeypatch: pytest.MonkeyPatch, name: str, at: str, above: str, says: str
) -> None:
    assert ledger.month_claims(OCTOBER)["total_charge"].sum() == Decimal("331.50")
    monkeypatch.setenv(f"RPMCLAIMS_APPROVAL_OVER_{name}", at)
    assert plan_it("2026-10", output, None).waits_for is None
    monkeypatch.setenv(f"RPMCLAIMS_APPROVAL_OVER_{name}", above)
    waits = str(plan_it("2026-10", output, None).waits_for)
    assert pl.Series([waits]).str.contains(says)[0], waits
    assert "rpmclaims approve --month 2026-10" in waits
    assert "somebody other than ann" in waits
