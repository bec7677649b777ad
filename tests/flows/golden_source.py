"""A copy of the golden month's source that a test may add to, and what a payer's answer does to a ledger."""

import shutil
from datetime import datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from tasks import database
from tasks.claim_states import CLAIM
from tasks.ledger import Ledger

GOLDEN = Path(__file__).parents[1] / "golden" / "source"
ENTRIES = "time-entries/2026-10"
HEADER = (
    "entry_id,patient_id,program,staff_id,staff_role,started_at,ended_at,activity,method,live_interaction,"
    "note_ref,care_plan_updated_at,capture,recorded_at"
)


def copy_source(folder: Path) -> Path:
    """Copy the golden month's source to where a test may change it."""
    source = folder / "source"
    shutil.copytree(GOLDEN, source)
    return source


def add_entry(source: Path, entry_id: str, patient_id: str, *, minutes: int = 20, day: int = 28) -> None:
    """Let a late entry arrive: one more object of the month, a documented call."""
    start = datetime(2026, 10, day, 9, 0)  # noqa: DTZ001  the offset is written beside it
    ends = start.replace(hour=9 + minutes // 60, minute=minutes % 60)
    row = (
        f"{entry_id},{patient_id},RPM,late-{entry_id},clinical_staff,{start.isoformat()}-05:00,"
        f"{ends.isoformat()}-05:00,patient_contact,phone,true,N9,,timer,{ends.isoformat()}-05:00"
    )
    (source / ENTRIES / f"late-{entry_id}.csv").write_text(f"{HEADER}\n{row}\n")


def drop_entries(source: Path, patient_id: str) -> None:
    """Withdraw every entry of a patient at the source."""
    for path in (source / ENTRIES).glob("*.csv"):
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join(row for row in rows if f",{patient_id}," not in row))


def adjudicate(home: Path, claim_number: str, *, state: str = "adjudicated") -> None:
    """Let the payer decide a claim, under a number of its own."""
    at = datetime.fromisoformat("2026-11-23T12:00:00+00:00")
    with Ledger(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        asked = pl.Series([claim_number])
        moved = ledger.transition(asked, state, actor="payer", dedupe=f"{state}:{claim_number}", at=at)
        assert moved["outcome"].to_list() == ["moved"]
        with database.writing(ledger.engine) as connection:
            named = sa.update(CLAIM).where(CLAIM.c.claim_number == claim_number)
            connection.execute(named.values(payer_claim_number=f"ICN{claim_number}"))
