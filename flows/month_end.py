"""Month-end: what the devices and the care team recorded becomes checked claims.

Started by the calendar (`infra/prefect.yaml`) or by `rpmclaims month-end`. Everything that happens is a
step in `tasks`; this page only says in which order.
"""

from typing import Any

from prefect import Flow, flow
from prefect.client.schemas import FlowRun, State

from flows.story import every, measured, run_name, runner
from schemas.shards import Arrivals, MonthSummary, gather
from tasks import filing, judging, publishing, screening, settling


def broken_off(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Note that a run did not come to its end: a hook of the flow."""
    filing.remember_failure(str(flow_run.id))


@flow(
    name="month-end",
    flow_run_name=run_name,
    task_runner=runner(),
    persist_result=False,
    validate_parameters=True,
    on_completion=[measured],
    on_failure=[broken_off, measured],
    on_crashed=[broken_off],
)
def month_end(
    month: str | None,
    source: str,
    output: str,
    dry_run: bool = False,
    full_check: bool = False,
    zone: str = "UTC",
) -> MonthSummary:
    """Bill one month: what the devices and the care team recorded, as claims to those who pay.

    Args:
        month: The service month, `2026-10`; none means the one before the run's scheduled start.
        source: Where the month's data lies: `s3://bucket/prefix` or a folder.
        output: Where the month's files go, likewise.
        dry_run: Only tell what would be claimed; nothing is written or remembered.
        full_check: Let the second judge read every claim, not one of every shape.
        zone: The time zone (IANA) in whose calendar the previous month is meant.
    """
    run = screening.open_month(month, source, output, dry_run, zone)
    if not dry_run:
        filing.remember_run(run)
    manifest = screening.pin_month(run)
    snapshot = screening.screen_snapshot(run, manifest)
    entries = every(screening.screen_entries, screening.entry_batches(manifest), run, snapshot)
    readings = every(screening.screen_readings, screening.reading_batches(manifest), run, snapshot)

    parts = gather(batch.shards for batch in entries)
    refused = gather(batch.rejected for batch in entries)
    numbers = sorted(parts.keys() | refused.keys())
    settled = every(settling.settle_entries, numbers, run, parts, refused, snapshot)
    staff = gather(part.shards for part in settled)
    untangled = every(settling.untangle_staff, sorted(staff), run, staff, snapshot)

    buckets = settling.buckets_of(snapshot, untangled, readings)
    billed = every(judging.bill_bucket, buckets, run)
    arrivals = Arrivals(snapshot=snapshot, entries=entries, readings=readings, settled=settled)
    judging.check_totals(arrivals, billed)
    if dry_run:
        return publishing.preview(run, arrivals, billed)

    filing.register_input(run, manifest, arrivals)
    registered = [filing.register_bucket(bucket, run) for bucket in billed]
    interchanges = filing.allocate(run, registered)
    files = every(filing.file_interchange, interchanges, run, snapshot, billed, full_check)
    return publishing.publish(run, manifest, arrivals, billed, registered, files)
