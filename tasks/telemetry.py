"""Telemetry: logs and figures for the tools of those who run the system.

`JsonLines` writes what runs tell as JSON with the run, the step and the shard it is about
(`RPMCLAIMS_LOG_FORMAT=json`); `tasks.step` says which step is under way. `write_metrics` leaves gauges in a
Prometheus text file. No line and no label ever names a patient, a claim or a person.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from schemas.operations import Status
from schemas.settings import Settings

# The step under way in this thread, and the shard it is given.
_STEP: Final[ContextVar[dict[str, str] | None]] = ContextVar("step", default=None)


@contextmanager
def under_way(step: str, arguments: Sequence[object]) -> Iterator[None]:
    """Say of every line within the block which step it is from, and of which shard."""
    shard = shard_of(arguments[0]) if arguments else None
    token = _STEP.set({"step": step, **({"shard": shard} if shard else {})})
    try:
        yield
    finally:
        _STEP.reset(token)


def shard_of(argument: object) -> str | None:
    """Name the shard a step is given first: a part, a bucket, a file, or the first of some objects.

    Objects and files bear names that their owners gave them, which the outputs and the ledger show as well.
    """
    if isinstance(argument, list):
        named = shard_of(argument[0]) if argument else None
        return f"{named} and {len(argument) - 1} more" if named and len(argument) > 1 else named
    if isinstance(argument, int):
        return str(argument)
    for name in ("number", "file_name", "key"):
        found = getattr(argument, name, None)
        if isinstance(found, int | str):
            return str(found)
    return None


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, who, what, and of which run, step and shard."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take what a logging configuration gives every formatter, and need none of it."""
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line; of an exception only its kind, because its text may hold data."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_run_of(record),
            **(_STEP.get() or {}),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def _run_of(record: logging.LogRecord) -> dict[str, str]:
    """Name the flow and task run a line belongs to: Prefect's own lines say it, ours are asked of Prefect."""
    said = {name: getattr(record, name, None) for name in ("flow_run_id", "flow_run_name", "task_run_id")}
    if said["flow_run_id"] is None:
        from prefect.context import FlowRunContext, TaskRunContext

        task, flow = TaskRunContext.get(), FlowRunContext.get()
        run = flow.flow_run if flow else None
        said = {
            "flow_run_id": task.task_run.flow_run_id if task else run.id if run else None,
            "flow_run_name": run.name if run else None,
            "task_run_id": task.task_run.id if task else None,
        }
    return {name: str(value) for name, value in said.items() if value is not None}


def write_metrics(status: Status, settings: Settings) -> None:
    """Write the gauges of a status, whole or not at all; whoever collects them sees the last."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"rpmclaims_{name}", told, labels, registry=registry)

    claims = gauge("claims", "Live claims.", "state")
    charged = gauge("claims_charge_dollars", "Charges of the live claims.", "state")
    for one in status.claims:
        claims.labels(one.state).set(one.claims)
        charged.labels(one.state).set(float(one.charged))
    files = gauge("files", "Claim files (out) and files that came back (in).", "direction", "kind", "state")
    for file in status.files:
        files.labels(file.direction, file.kind, file.state).inc(file.files)
    waiting = gauge("waiting", "Things that go no further by themselves.", "kind", "waits_for")
    dollars = gauge("waiting_dollars", "Their money, where known.", "kind", "waits_for")
    for item in status.waiting:
        waiting.labels(item.kind, item.waits_for).inc(item.count)
        dollars.labels(item.kind, item.waits_for).inc(float(item.money or 0))
    ended = gauge("month_end_finished_timestamp_seconds", "End of the newest month-end.", "month")
    for run in reversed(status.runs):
        if run.finished_at is not None:
            ended.labels(run.month).set(run.finished_at.timestamp())
    late = gauge("late_runs", "Scheduled runs that no worker took.", "deployment")
    for schedule in status.schedules or []:
        late.labels(schedule.deployment).set(schedule.late_runs)
    gauge("open_dollars", "What claims that left are still owed.").set(float(status.open_money))
    oldest = status.oldest_unanswered_at
    age = (status.at - oldest).total_seconds() if oldest else 0
    gauge("oldest_unanswered_file_age_seconds", "Since the oldest file left unanswered.").set(age)
    gauge("looked_timestamp_seconds", "When these gauges were taken.").set(status.at.timestamp())
    path = settings.metrics_file or settings.home / "metrics.prom"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
