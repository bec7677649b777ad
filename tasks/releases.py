"""Releases: a person lets a hold, a refused row or a worklist item through; the next run honours it.

The console calls `release` through `flows.decisions`; the month-end asks for the open releases of its month.
Which reasons may be released is a table of `billing.releases`.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

import schemas.ledger_answers
import schemas.ledger_ops  # noqa: F401  their tables belong to the ledger
from billing.holds import hold_reasons
from billing.releases import RELEASE_COLUMNS, no_releases, releasable
from schemas.decisions import Released
from schemas.errors import Refused
from schemas.settings import load_settings
from tasks import database
from tasks.approvals import signature
from tasks.claim_states import TABLES
from tasks.ledger import Ledger
from tasks.months import first_day
from tasks.storage import Storage, storage_at

RELEASE: Final = TABLES["release"]
WORK_ITEM: Final = TABLES["work_item"]


def release(subject: str, month: str | None, output: str | None, by: str, why: str) -> Released:
    """Let an item of the worklist through, or what holds a patient or refused an entry in a month.

    Args:
        subject: The key of a work item, a patient_id, or the entry_id of a refused time entry.
        month: The month whose holds and quarantine are meant; a work item needs none.
        output: Where that month's files are.

    Raises:
        Refused: If nothing is held under the subject, or a reason is not a person's to release.
    """
    settings = load_settings()
    actor, reason = signature(by), why.strip()
    if not reason:
        raise Refused("Say why: --reason TEXT. It stays with the release.")
    decision = {"why": reason, "released_by": actor, "entered_by": settings.operator, "at": settings.clock()}
    with Ledger(settings.ledger_url) as ledger:
        ledger.upgrade()
        if _release_item(ledger, subject, decision):
            return Released(
                month=month or "", subject=subject, released_by=actor, reasons=["work item"],
                next_step="It is off the worklist and stays off.",
            )  # fmt: skip
        if month is None or output is None:
            raise Refused("No open item of the worklist has that key; for a hold, give --month and --output.")
        held = _held(storage_at(f"{output.rstrip('/')}/{month}"), subject, month)
        rows = [
            {**decision, "month": first_day(month), "kind": kind, "subject": subject, "reason_code": code,
             "state": "open"}
            for kind, code in held
        ]  # fmt: skip
        with database.writing(ledger.engine) as connection:
            added = database.upsert(connection, RELEASE).values(rows)
            connection.execute(
                added.on_conflict_do_nothing(
                    index_elements=["month", "kind", "subject", "reason_code"],
                    index_where=sa.text("state = 'open'"),
                )
            )
    return Released(
        month=month,
        subject=subject,
        released_by=actor,
        reasons=[code for _, code in held],
        next_step=f"Run the month-end of {month} again: it lets this through.",
    )


def _held(storage: Storage, subject: str, month: str) -> list[tuple[str, str]]:
    """Find what holds a patient or refused an entry, all of it releasable."""
    notes = hold_reasons().filter(pl.col("is_note"))["reason"]
    holds = _table(storage, "holds.csv").filter(
        pl.col("patient_id") == subject, ~pl.col("reason").is_in(notes.implode())
    )
    rows = _table(storage, "quarantine.csv").filter(
        pl.col("dataset") == "time-entries", pl.col("row_key") == subject
    )
    found = pl.concat(
        [
            holds.select(kind=pl.lit("hold"), code="reason", next_step="next_step"),
            rows.select(kind=pl.lit("row"), code="rule", next_step="message"),
        ]
    )
    if found.is_empty():
        raise Refused(
            f"Nothing of {month} is held or refused under that id; see holds.csv and quarantine.csv."
        )
    fixed = found.join(releasable(), on=["kind", "code"], how="anti")
    if not fixed.is_empty():
        code, step = fixed.select("code", "next_step").row(0)
        raise Refused(f"{code} is not a person's to release. {step}")
    return found.select("kind", "code").unique(maintain_order=True).rows()


def _table(storage: Storage, name: str) -> pl.DataFrame:
    return pl.read_csv(storage.read(name), infer_schema=False)


def _release_item(ledger: Ledger, key: str, decision: dict[str, Any]) -> bool:
    """Take an open item off the worklist for good; False if there is none of that key."""
    with database.writing(ledger.engine) as connection:
        is_it = (WORK_ITEM.c.key == key) & (WORK_ITEM.c.state == "open")
        item = connection.execute(sa.select(WORK_ITEM).where(is_it)).mappings().first()
        if item is None:
            return False
        told = json.loads(item["events"]) if isinstance(item["events"], str) else item["events"]
        event = {
            "at": decision["at"].isoformat(),
            "actor": decision["released_by"],
            "what": "released",
            "reason": decision["why"],
        }
        connection.execute(
            sa.update(WORK_ITEM)
            .where(WORK_ITEM.c.id == item["id"])
            .values(
                state="released",
                closed_at=decision["at"],
                closed_by=decision["released_by"],
                events=[*told, event],
            )
        )
        return True


def open_releases(month: date) -> pl.DataFrame:
    """Return the open releases of a month: kind, subject, reason_code; none where there is no ledger yet."""
    address = sa.make_url(load_settings().ledger_url)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).exists():
        return no_releases()
    with Ledger(load_settings().ledger_url) as ledger, database.reading(ledger.engine) as connection:
        if not sa.inspect(connection).has_table(RELEASE.name):
            return no_releases()
        columns = (RELEASE.c[name] for name in RELEASE_COLUMNS)
        return database.query(
            connection, sa.select(*columns).where(RELEASE.c.month == month, RELEASE.c.state == "open")
        ).sort(RELEASE_COLUMNS)


def close_unused(ledger: Ledger, month: date, needed: pl.DataFrame) -> None:
    """Close the open hold releases of a month that changed nothing any more; `needed`: patient_id, reason."""
    kept = needed.select(kind=pl.lit("hold"), subject="patient_id", reason_code="reason")
    unused = open_releases(month).filter(pl.col("kind") == "hold").join(kept, on=RELEASE_COLUMNS, how="anti")
    if unused.is_empty():
        return
    with database.writing(ledger.engine) as connection, database.staged(connection, unused) as gone:
        same = sa.exists().where(*(RELEASE.c[name] == gone.c[name] for name in RELEASE_COLUMNS))
        closed = sa.update(RELEASE).where(RELEASE.c.month == month, RELEASE.c.state == "open", same)
        connection.execute(
            closed.values(state="closed", closed_at=load_settings().clock(), closed_by="month_end")
        )
