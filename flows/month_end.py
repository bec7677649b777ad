"""Month-end: what the devices and the care team recorded becomes checked claims.

Started by the calendar (`infra/prefect.yaml`) or by `rpmclaims month-end`. Everything that happens is a
step in `tasks`; this page only says in which order.
"""

from prefect import flow

from flows.story import every, measured, run_name, runner
from schemas.shards import Arrivals, MonthSummary, gather
from tasks import filing, steps


@flow(
    name="month-end",
    flow_run_name=run_name,
    task_runner=runner(),
    persist_result=False,
    validate_parameters=True,
    on_completion=[measured],
    on_failure=[measured],
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
    run = steps.open_month(month, source, output, dry_run, zone)
    manifest = steps.pin_month(run)
    snapshot = steps.screen_snapshot(run, manifest)
    entries = every(steps.screen_entries, steps.entry_batches(manifest), run, snapshot)
    readings = every(steps.screen_readings, steps.reading_batches(manifest), run, snapshot)

    parts = gather(batch.shards for batch in entries)
    refused = gather(batch.rejected for batch in entries)
    settled = every(steps.settle_entries, sorted(parts.keys() | refused.keys()), run, parts, refused)
    staff = gather(part.shards for part in settled)
    untangled = every(steps.untangle_staff, sorted(staff), run, staff, snapshot)

    buckets = steps.buckets_of(snapshot, untangled, readings)
    billed = every(steps.bill_bucket, buckets, run)
    arrivals = Arrivals(snapshot=snapshot, entries=entries, readings=readings, settled=settled)
    steps.check_totals(arrivals, billed)
    if dry_run:
        return filing.preview(run, arrivals, billed)

    filing.remember_run(run)
    registered = [filing.register_bucket(bucket, run) for bucket in billed]
    interchanges = filing.allocate(run, registered)
    files = every(filing.file_interchange, interchanges, run, snapshot, billed, full_check)
    return filing.publish(run, manifest, arrivals, billed, registered, files)
