"""Watching: what runs, lies and waits, read from the ledger and from Prefect at one instant.

The command `status`, the nightly check and the metrics ask. What a work item is was judged by `billing`; here
things are counted, and each that goes no further by itself is given to somebody with the next step.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from schemas.errors import Refused
from schemas.operations import RunSeen, ScheduleSeen, Status, Waiting
from schemas.settings import Settings, load_settings
from tasks import database
from tasks.approvals import MonthOfFiles, month_of_files, why_approval_is_needed
from tasks.counting import Facts
from tasks.interchanges import MISSING
from tasks.ledger import Ledger
from tasks.months import first_day
from tasks.schedules import ServerSilent, schedules
from tasks.telemetry import write_metrics

# The largest month takes minutes; a run of a deployment that began longer ago was killed.
RUNS_END_WITHIN: Final = timedelta(hours=6)
# The schedule bills a month on the second day of the next; a day later it is missed.
MONTH_END_BY_DAY: Final = 3
ENDED_BADLY: Final = ("Failed", "Crashed", "TimedOut")


def look(ledger: Ledger, settings: Settings) -> Status:
    """Look at everything once."""
    at = settings.clock()
    ledger.upgrade()
    with database.reading(ledger.engine) as connection:
        facts = Facts(connection)
        runs = facts.runs()
        files = [*facts.files_out(), *facts.files_in()]
        claims, people = facts.claims(), [*facts.corrections(), *facts.work_items()]
        open_money, oldest_unanswered_at = facts.open_money(), facts.oldest_unanswered()
    planned, late = _planned()
    return Status(
        at=at,
        runs=runs,
        files=files,
        claims=claims,
        schedules=planned,
        waiting=[
            *missing_months(runs, at, settings.zone),
            *_runs_without_end(runs),
            *late,
            *_files_to_send(ledger, runs, settings),
            *people,
        ],
        open_money=open_money,
        oldest_unanswered_at=oldest_unanswered_at,
    )


def measure() -> Status:
    """Look at everything once, and leave the figures of it for the alarms."""
    settings = load_settings()
    with Ledger(settings.ledger_url) as ledger:
        status = look(ledger, settings)
    write_metrics(status, settings)
    return status


def _planned() -> tuple[list[ScheduleSeen] | None, list[Waiting]]:
    """Ask Prefect, by the real clock: that of the settings may stand still, the server's does not."""
    try:
        planned = schedules(datetime.now(UTC))
    except ServerSilent as silence:
        return None, [_operators("server_silent", "Prefect server", str(silence))]
    return planned, late_or_failed(planned or [], datetime.now(UTC))


def missing_months(runs: Iterable[RunSeen], at: datetime, zone: str) -> list[Waiting]:
    """List the months that are over and have no run that ended, from the first month anybody billed on.

    A practice that has never billed misses nothing.
    """
    today = at.astimezone(ZoneInfo(zone)).date()
    in_last_due = _month_before(today)
    if today.day < MONTH_END_BY_DAY:
        in_last_due = _month_before(in_last_due)
    seen = {run.month for run in runs}
    billed = {run.month for run in runs if run.is_billed}
    return [
        _operators(
            "month_missing",
            f"month-end of {month}",
            f"No run of it came to its end: `rpmclaims month-end --month {month} …`.",
        )
        for month in _months_back(in_last_due, min(seen, default="9999"))
        if month not in billed
    ]


def _months_back(day: date, first: str) -> Iterator[str]:
    """Name the month of a day and those before it, down to a first one."""
    while (month := f"{day:%Y-%m}") >= first:
        yield month
        day = _month_before(day)


def _month_before(day: date) -> date:
    return day.replace(day=1) - timedelta(days=1)


def _runs_without_end(runs: Iterable[RunSeen]) -> list[Waiting]:
    """List the newest runs that failed or were killed, unless a later one has done their work."""
    return [
        _operators(
            "run_without_end",
            f"run of {run.month} to {run.output}",
            f"{_fate(run)}: `rpmclaims retry`, or run the same month-end again.",
            since=run.seen_at or run.started_at,
        )
        for run in runs
        if (run.state == "failed" or run.is_silent) and not run.is_overtaken
    ]


def _fate(run: RunSeen) -> str:
    """Say what became of a run that did not come to its end."""
    if run.is_silent:
        return f"No sign of life since {run.seen_at or run.started_at:%Y-%m-%d %H:%M} UTC, so it was killed"
    return "It did not come to its end"


def late_or_failed(planned: Iterable[ScheduleSeen], at: datetime) -> list[Waiting]:
    """List what is wrong with the deployments: late, failed, stuck, paused, or nothing planned at all."""
    waiting = []
    for one in planned:
        name, run = one.deployment, one.last_run
        is_stuck = one.last_state == "Running" and one.last_at and one.last_at < at - RUNS_END_WITHIN
        for kind, is_so, since, what, step in (
            (
                *("schedule_late", one.late_runs > 0, one.late_since, "is late"),
                "No worker takes it: is one running (`make serve`), or is an earlier run still under way?",
            ),
            (
                *("schedule_failed", one.last_state in ENDED_BADLY, one.last_at, "has failed"),
                f"`rpmclaims retry {run}` repeats what failed; Prefect keeps what it said.",
            ),
            (
                *("schedule_stuck", bool(is_stuck), one.last_at, "does not end"),
                f"It was killed and holds the place of the next: cancel run {run} in Prefect.",
            ),
            (
                *("schedule_paused", one.is_paused, None, "is paused"),
                "Nothing starts it: resume it in Prefect, unless that is meant.",
            ),
            (
                *("schedule_empty", not (one.is_paused or one.next_at), None, "has no next run"),
                "Prefect's scheduler plans nothing: look at the server's log, and deploy again.",
            ),
        ):
            if is_so:
                found = _operators(kind, f"{name} {what}", step, since)
                count = one.late_runs if kind == "schedule_late" else 1
                waiting.append(found.model_copy(update={"count": count}))
    return waiting


def _operators(kind: str, what: str, next_step: str, since: datetime | None = None) -> Waiting:
    """Give one thing to whoever runs the system."""
    return Waiting(kind=kind, what=what, waits_for="operator", count=1, since=since, next_step=next_step)


def _files_to_send(ledger: Ledger, runs: Sequence[RunSeen], settings: Settings) -> list[Waiting]:
    """List the months with files that were not sent: stopped by their check, not approved, or ready."""
    newest = {run.month: run for run in reversed(runs) if run.is_billed}
    waiting = []
    for month, run in sorted(newest.items()):
        try:
            found = month_of_files(ledger, first_day(month), run.output)
        except Refused:
            continue  # its newest run has no end, and is listed for that
        waiting += _files_of_month(found, run, why_approval_is_needed(found, settings))
    return waiting


def _files_of_month(found: MonthOfFiles, run: RunSeen, why: str | None) -> list[Waiting]:
    """Say who must do something about a month's files.

    Args:
        why: Why the month needs an approval; None if it needs none.
    """
    files, where = found.files, f"--month {run.month} --output {run.output}"
    unsent = files.filter(pl.col("state").is_in(["written", "sending"]))
    is_approved = [pair in found.approved for pair in unsent.select("interchange_id", "sha256").rows()]
    ready = unsent.filter(pl.Series(is_approved, dtype=pl.Boolean)) if why else unsent
    unapproved = unsent.join(ready, on="interchange_id", how="anti")
    stopped = files.filter(pl.col("state") == "reserved")
    missing = files.filter((pl.col("state") == "sending") & pl.col("receipt").str.contains(MISSING))
    ready, unapproved = (
        which.join(missing, on="interchange_id", how="anti") for which in (ready, unapproved)
    )
    mend = f"See {run.output}/{run.month}/findings, mend the input and run the month again."
    return [
        Waiting(
            kind=kind,
            what=f"{kind.replace('_', ' ')}, {run.month}",
            waits_for=waits_for,
            count=which.height,
            money=Decimal(which["total_charge"].cast(pl.Decimal(38, 2)).sum()),
            next_step=step,
        )
        for kind, waits_for, which, step in (
            ("files_with_errors", "billing", stopped, mend),
            (
                "files_without_approval",
                "approver",
                unapproved,
                f"{why}: `rpmclaims approve {where} --by NAME`.",
            ),
            ("files_to_send", "operator", ready, f"`rpmclaims submit {where}`."),
            (
                "files_missing",
                "operator",
                missing,
                "A delivery broke off, and the clearinghouse may have taken the file: "
                f"`rpmclaims submit {where}` names it and says what to ask. Any answer to it settles this.",
            ),
        )
        if which.height
    ]
