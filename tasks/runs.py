"""Runs: which month-ends started, in which order, and which of them may still speak for its month.

`tasks.ledger` calls it inside a write, before everything a month-end writes. A run is remembered before it
looks at its source, so of two runs the one that started later has seen at least what the earlier one saw;
once the later one has registered what it read, an earlier one that read something else is overtaken.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy import RowMapping

from tasks.claim_states import TABLES
from tasks.database import LedgerError, insert, query, upsert

MONTH_RUN: Final = TABLES["month_run"]
SOURCE_PIN: Final = TABLES["source_pin"]
# The longest stretch between two writes of a run takes minutes; one that is silent for longer was killed.
SILENT_FOR: Final = timedelta(hours=2)
# What a failed run had finished is kept so long for a retry.
KEPT_FOR_RETRY: Final = timedelta(days=7)
TICK: Final = timedelta(microseconds=1)


class Overtaken(LedgerError):
    """A later run of the month has registered other input, or has come to its end: this one must stop."""


def record(
    connection: sa.Connection,
    run_id: str,
    *,
    month: date,
    source: str,
    output: str,
    at: datetime,
    by: str | None,
) -> None:
    """Remember that a run starts, after every run of its month and source; a retry adds nothing.

    Where the clock was set back or stands still, the start is a moment after the last one.
    """
    newest = connection.execute(
        sa.select(sa.func.max(MONTH_RUN.c.started_at, type_=MONTH_RUN.c.started_at.type)).where(
            MONTH_RUN.c.month == month, MONTH_RUN.c.source == source
        )
    ).scalar_one()
    started = upsert(connection, MONTH_RUN).values(
        run_id=run_id,
        month=month,
        source=source,
        output=output,
        started_at=at if newest is None else max(at, newest + TICK),
        started_by=by,
        seen_at=datetime.now(UTC),
        state="running",
        summary={},
    )
    connection.execute(started.on_conflict_do_nothing(index_elements=["run_id"]))


def record_pins(connection: sa.Connection, run_id: str, manifest_sha256: str, pins: pl.DataFrame) -> None:
    """Remember what a run has read and is about to register, if it still speaks for its month."""
    rows = pins.select("dataset", "key", "version", "size", "sha256", manifest_sha256=pl.lit(manifest_sha256))
    known = query(
        connection, sa.select(SOURCE_PIN.c.key).where(SOURCE_PIN.c.manifest_sha256 == manifest_sha256)
    )
    insert(connection, SOURCE_PIN, rows.join(known, on="key", how="anti"))
    _set(connection, run_id, manifest_sha256=manifest_sha256)
    vouch(connection, run_id)


def finish(connection: sa.Connection, run_id: str, *, summary: dict[str, Any], at: datetime) -> None:
    """Remember that a run is done; those before it that never told their end are closed with it."""
    _set(connection, run_id, state="done", summary=summary, finished_at=at)
    own = sa.select(MONTH_RUN).where(MONTH_RUN.c.run_id == run_id).subquery()
    is_older = sa.exists().where(
        *(MONTH_RUN.c[name] == own.c[name] for name in ("month", "source")),
        MONTH_RUN.c.started_at < own.c.started_at,
    )
    open_before = sa.update(MONTH_RUN).where(is_older, MONTH_RUN.c.state == "running")
    connection.execute(open_before.values(state="failed"))


def summary_of(connection: sa.Connection, run_id: str) -> dict[str, Any] | None:
    """Return the totals of a run that is done."""
    asked = sa.select(MONTH_RUN.c.summary).where(MONTH_RUN.c.run_id == run_id, MONTH_RUN.c.state == "done")
    found: dict[str, Any] | None = connection.execute(asked).scalar()
    return found


def fail(connection: sa.Connection, run_id: str, *, at: datetime) -> None:
    """Remember that a run broke off, if it was under way; a preview was never remembered."""
    connection.execute(
        sa.update(MONTH_RUN)
        .where(MONTH_RUN.c.run_id == run_id, MONTH_RUN.c.state == "running")
        .values(state="failed", finished_at=at)
    )


def vouch(connection: sa.Connection, run_id: str) -> None:
    """Let a run go on writing, and note that it lives.

    Raises:
        Overtaken: If it no longer speaks for its month.
    """
    if is_overtaken(connection, run_id):
        raise Overtaken(
            "A month-end of the same month that started after this one has taken its place, so this one "
            "stopped and left everything as that one makes it. There is nothing to retry; to bill what has "
            "arrived since, run the month-end again."
        )
    _set(connection, run_id, seen_at=datetime.now(UTC), state="running", finished_at=None)


def is_overtaken(connection: sa.Connection, run_id: str) -> bool:
    """Tell whether a later run has taken the place of one; a run that is not remembered has none to lose."""
    runs = _all(connection)
    return any(_gave_way(run, runs) for run in runs if run["run_id"] == run_id)


def _gave_way(run: RowMapping, runs: Sequence[RowMapping]) -> bool:
    """Tell whether a later run has registered other input, or is done where this one had come to an end."""
    of_month = [other for other in runs if all(other[name] == run[name] for name in ("month", "source"))]
    later = [other for other in of_month if other["started_at"] > run["started_at"]]
    own_input = run["manifest_sha256"]
    is_outdated = own_input and any(other["manifest_sha256"] not in (None, own_input) for other in later)
    return bool(is_outdated) or (_has_ended(run) and any(other["state"] == "done" for other in later))


def _has_ended(run: RowMapping) -> bool:
    """Tell whether a run ended, or has given no sign of life for so long that it must have."""
    return run["finished_at"] is not None or is_silent(run["seen_at"] or run["started_at"])


def is_silent(seen_at: datetime, since: timedelta = SILENT_FOR) -> bool:
    """Tell whether a last sign of life lies so far back."""
    return seen_at < datetime.now(UTC) - since


def spent(connection: sa.Connection) -> set[str]:
    """Name the runs whose frames nobody will ask for again: done, overtaken or long dead ones."""
    runs = _all(connection)
    return {
        run["run_id"]
        for run in runs
        if run["state"] == "done"
        or is_silent(run["seen_at"] or run["started_at"], KEPT_FOR_RETRY)
        or (_has_ended(run) and _gave_way(run, runs))
    }


def _all(connection: sa.Connection) -> Sequence[RowMapping]:
    """Read every run there was, without its totals."""
    columns = [column for column in MONTH_RUN.c if column.name != "summary"]
    return connection.execute(sa.select(*columns)).mappings().all()


def _set(connection: sa.Connection, run_id: str, **values: Any) -> None:
    """Write a run's columns."""
    changed = connection.execute(sa.update(MONTH_RUN).where(MONTH_RUN.c.run_id == run_id).values(**values))
    if changed.rowcount != 1:
        raise LedgerError(f"there is no run {run_id}; record it first.")
