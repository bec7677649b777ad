"""What is seen of the work: runs, files and claims by state, and what waits for whom."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from schemas.operations import RunSeen, ScheduleSeen, Status
from schemas.settings import load_settings
from tasks import database
from tasks.ledger import CORRECTION, Ledger
from tasks.runs import MONTH_RUN
from tasks.storage import storage_at
from tasks.watching import late_or_failed, look, missing_months
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

FUNNEL = {"funnel": {"sources": [{"rows_read": 100, "rows_elsewhere": 0, "rows_quarantined": 2}]}}
NOVEMBER_10 = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture
def output(ledger: Ledger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A billed October: three claims in one checked file, and one file that its check stopped."""
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    monkeypatch.setenv("RPMCLAIMS_NOW", NOVEMBER_10.isoformat())
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    output = str(tmp_path / "output")
    ledger.record_run("run", month=OCTOBER, source=SOURCE, output=output, at=AT, by="ann")
    for receiver, start, patients in (("MAC", 0, 3), ("OTHER", 10, 1)):
        claims, lines = month(patients, receiver=receiver, start=start)
        ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    for file in ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT).to_dicts():
        if file["receiver_id"] == "MAC":
            storage = storage_at(f"{output}/2026-10/claims")
            storage.write(file["file_name"], b"ISA")
            sha256 = hashlib.sha256(b"ISA").hexdigest()
            uri = storage.uri_of(file["file_name"])
            ledger.record_written(file["interchange_id"], uri=uri, sha256=sha256, size=3)
    ledger.finish_run("run", summary=FUNNEL, at=AT)
    return output


def seen(ledger: Ledger) -> Status:
    return look(ledger, load_settings())


def waits(status: Status) -> dict[str, tuple[str, int, Decimal | None]]:
    return {item.kind: (item.waits_for, item.count, item.money) for item in status.waiting}


def test_files_and_claims_are_counted_by_state(ledger: Ledger, output: str) -> None:
    status = seen(ledger)
    (run,) = status.runs
    assert (run.month, run.state, run.started_by, run.is_billed) == ("2026-10", "done", "ann", True)
    assert {(file.state, file.files, file.claims, file.charged) for file in status.files} == {
        ("written", 1, 3, Decimal("331.50")),
        ("reserved", 1, 1, Decimal("110.50")),
    }
    assert [(one.state, one.claims, one.charged) for one in status.claims] == [
        ("built", 4, Decimal("442.00"))
    ]
    assert status.schedules is None


def test_a_checked_file_waits_to_be_sent_and_a_stopped_one_to_be_mended(ledger: Ledger, output: str) -> None:
    assert waits(seen(ledger)) == {
        "files_to_send": ("operator", 1, Decimal("331.50")),
        "files_with_errors": ("billing", 1, Decimal("110.50")),
    }


def test_above_a_threshold_the_same_file_waits_for_an_approver(
    ledger: Ledger, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_APPROVAL_OVER_CLAIMS", "2")
    status = seen(ledger)
    assert waits(status)["files_without_approval"] == ("approver", 1, Decimal("331.50"))
    assert "files_to_send" not in waits(status)


def test_a_sent_file_nobody_answered_is_the_oldest_until_its_claims_move(ledger: Ledger, output: str) -> None:
    file = ledger.month_interchanges(OCTOBER).row(by_predicate=_is_written(), named=True)
    assert seen(ledger).oldest_unanswered_at is None
    ledger.record_sending(file["interchange_id"])
    ledger.record_sent(file["interchange_id"], receipt={}, at=AT)
    assert seen(ledger).oldest_unanswered_at == AT
    numbers = ledger.interchange_claims(file["interchange_id"])["claim_number"]
    ledger.transition(numbers, "received", actor="test", dedupe="999", at=AT)
    assert seen(ledger).oldest_unanswered_at is None


def test_an_open_correction_waits_for_billing(ledger: Ledger, output: str) -> None:
    with database.writing(ledger.engine) as connection:
        connection.execute(
            sa.insert(CORRECTION).values(
                claim_id=1, found_at=AT, kind="changed", was={}, now={}, state="open", dedupe_key="x"
            )
        )
    assert waits(seen(ledger))["correction"] == ("billing", 1, None)


def test_a_run_without_a_sign_of_life_is_told_until_a_later_one_is_done(ledger: Ledger, output: str) -> None:
    ledger.record_run("killed", month=OCTOBER, source=SOURCE, output=f"{output}-b", at=NOVEMBER_10)
    assert "run_without_end" not in waits(seen(ledger))
    last = (datetime.now(UTC) - timedelta(hours=3)).replace(microsecond=0)
    with database.writing(ledger.engine) as connection:
        connection.execute(sa.update(MONTH_RUN).where(MONTH_RUN.c.run_id == "killed").values(seen_at=last))
    status = seen(ledger)
    (told,) = (item for item in status.waiting if item.kind == "run_without_end")
    assert told.since == last
    assert f"No sign of life since {last:%Y-%m-%d %H:%M} UTC" in told.next_step
    assert "`rpmclaims retry`" in told.next_step
    (run,) = (run for run in status.runs if run.output.endswith("-b"))
    assert (run.state, run.is_silent, run.seen_at) == ("running", True, last)
    # Another run of the month came to its end, so the month itself is not missing.
    assert "month_missing" not in waits(status)

    ledger.record_run("again", month=OCTOBER, source=SOURCE, output=output, at=NOVEMBER_10)
    ledger.finish_run("again", summary=FUNNEL, at=NOVEMBER_10)
    assert "run_without_end" not in waits(seen(ledger))


def test_a_file_that_may_have_been_delivered_waits_for_an_operator(ledger: Ledger, output: str) -> None:
    file = ledger.month_interchanges(OCTOBER).row(by_predicate=_is_written(), named=True)
    ledger.record_sending(file["interchange_id"])
    assert waits(seen(ledger))["files_to_send"] == ("operator", 1, Decimal("331.50"))
    ledger.record_missing(file["interchange_id"], at=AT)
    waiting = waits(seen(ledger))
    assert waiting["files_missing"] == ("operator", 1, Decimal("331.50"))
    assert "files_to_send" not in waiting


def test_an_empty_ledger_waits_for_nothing(ledger: Ledger, ledger_url: str, home: Path) -> None:
    status = look(ledger, load_settings())
    assert (status.runs, status.files, status.waiting) == ([], [], [])
    assert status.open_money == Decimal("0.00")


@pytest.mark.parametrize(
    ("now", "missing"),
    [
        ("2026-11-10T12:00:00+00:00", []),
        # November is over, and on the first two days of December nobody need worry.
        ("2026-12-02T12:00:00+00:00", []),
        ("2026-12-03T12:00:00+00:00", ["2026-11"]),
        ("2027-02-01T12:00:00+00:00", ["2026-12", "2026-11"]),
        ("2027-02-05T12:00:00+00:00", ["2027-01", "2026-12", "2026-11"]),
        # In New York it is still the second.
        ("2026-12-03T03:00:00+00:00", []),
    ],
)
def test_a_month_that_is_over_and_not_billed_is_missing_from_the_third_day_on(
    now: str, missing: list[str]
) -> None:
    october = RunSeen(
        month="2026-10",
        output="o",
        state="running",
        started_at=AT,
        started_by=None,
        finished_at=None,
        is_billed=True,
    )
    found = missing_months([october], datetime.fromisoformat(now), "America/New_York")
    assert [item.what.removeprefix("month-end of ") for item in found] == missing
    assert missing_months([], datetime.fromisoformat(now), "UTC") == []


def test_what_is_wrong_with_a_schedule_is_said_and_a_healthy_one_is_not() -> None:
    fine = ScheduleSeen(
        deployment="month-end/monthly",
        is_paused=False,
        last_run="r",
        last_state="Completed",
        last_at=AT,
        next_at=NOVEMBER_10,
        late_runs=0,
        late_since=None,
    )
    changes: dict[str, dict[str, Any]] = {
        "schedule_late": {"late_runs": 3, "late_since": AT},
        "schedule_failed": {"last_state": "Crashed"},
        "schedule_stuck": {"last_state": "Running"},
        "schedule_paused": {"is_paused": True, "next_at": None},
        "schedule_empty": {"next_at": None},
    }
    assert late_or_failed([fine], NOVEMBER_10) == []
    for kind, change in changes.items():
        (found,) = late_or_failed([fine.model_copy(update=change)], NOVEMBER_10)
        assert (found.kind, found.count) == (kind, 3 if kind == "schedule_late" else 1)
        assert "month-end/monthly" in found.what
    running = fine.model_copy(update={"last_state": "Running"})
    assert late_or_failed([running], AT + timedelta(hours=1)) == []


def _is_written() -> pl.Expr:
    return pl.col("state") == "written"
