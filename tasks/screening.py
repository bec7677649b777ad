"""Screening: from the source objects to accepted rows, as steps of the month-end.

Each step takes and returns addresses and totals (`schemas.shards`); the frames lie where `tasks.staging`
put them. What a row must look like is said in `schemas`, how an object is read in `tasks.intake`; the
accepted entries go on to `tasks.settling`.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import polars as pl
from prefect import runtime

from billing.local_days import month_windows
from billing.reference.tables import in_effect, missing_schedule
from schemas.addresses import Manifest, Pin
from schemas.datasets import DATASETS, Dataset
from schemas.errors import Refused
from schemas.quarantine import QUARANTINE_SCHEMA, Screened
from schemas.settings import load_settings
from schemas.shards import MonthRun, RowTotals, ScreenedBatch, Shards, Snapshot, gather
from tasks import intake
from tasks.months import month_after, service_month
from tasks.reference import reference
from tasks.releases import open_releases
from tasks.staging import load, save, split, split_by
from tasks.step import LOG, step
from tasks.storage import storage_at

# A month is screened in a few batches, however many objects it has: Prefect loses records in the thousands.
BATCHES_AT_MOST: Final = 16
BATCH_BYTES: Final = 64 * 2**20
SNAPSHOT: Final = ("patients", "coverage-windows", "practitioners", "billing-providers", "payers", "charges")
ENTRIES, READINGS = "time-entries", "device-readings"


@step("open-month")
def open_month(month: str | None, source: str, output: str, is_preview: bool, zone: str = "UTC") -> MonthRun:
    """Settle what is to be run, and refuse a month that cannot be billed.

    Raises:
        Refused: If the month is malformed, is not over, or has no fee schedule.
    """
    now = load_settings().clock()
    first = service_month(month, zone)
    if not is_preview and now.date() < month_after(first):
        raise Refused(
            f"{first:%Y-%m} is not over: its claims can be made from {month_after(first)} on. "
            "Use --dry-run for a preview."
        )
    if in_effect(reference().rvus, first).is_empty():
        raise Refused(str(missing_schedule(first)))
    return MonthRun(
        run_id=str(runtime.flow_run.id),
        month=first,
        source=source.rstrip("/"),
        output=output.rstrip("/"),
        started_at=now,
        aside=str(load_settings().previews) if is_preview else None,
    )


@step("pin")
def pin_month(run: MonthRun) -> Manifest:
    """Freeze the list of source objects: what is not on it is not read."""
    manifest = intake.pin_sources(run.source, run.month)
    LOG.info("%s: %d source objects pinned", run.label, len(manifest.pins))
    return manifest


@step("screen-snapshot")
def screen_snapshot(run: MonthRun, manifest: Manifest) -> Snapshot:
    """Screen the snapshot tables and decide each patient's bucket.

    People who share a member id share a bucket, so that a bucket can see that it bills a member once.
    """
    folder = f"{run.stage}/snapshot"
    whole = {name: intake.screen_whole(manifest, name, run.started_at) for name in SNAPSHOT}
    tables = {name: screened.accepted for name, screened in whole.items()}
    patients = tables.pop("patients")
    tables["releases"] = open_releases(run.month)
    buckets = max(1, -(-patients.height // load_settings().patients_per_bucket))
    first_of_member = pl.col("patient_id").min().over(pl.coalesce("member_id", "patient_id"))
    numbered = patients.with_columns(_shard=(first_of_member.hash() % buckets).cast(pl.Int64))
    # A patient whose own row was refused is still in the snapshot; any bucket will do.
    index = (
        whole["patients"]
        .keys.alias("patient_id")
        .to_frame()
        .join(numbered.select("patient_id", "_shard"), on="patient_id", how="left")
        .with_columns(pl.col("_shard").fill_null(0))
    )
    quarantined = pl.concat([screened.quarantined for screened in whole.values()])
    # Where the provider is unknown, the month is told in UTC.
    windows = month_windows({"UTC", *tables["billing-providers"]["timezone"]}, run.month)
    opens_at, closes_at = windows.select(pl.col("month_starts_at").min(), pl.col("month_ends_at").max()).row(
        0
    )
    LOG.info("%d patients in %d buckets", patients.height, buckets)
    return Snapshot(
        tables={name: save(frame, folder, name) for name, frame in tables.items()},
        patients=split_by(numbered, folder, "patients"),
        index=save(index.sort("patient_id"), folder, "index"),
        buckets=buckets,
        opens_at=opens_at,
        closes_at=closes_at,
        quarantine=save(quarantined, folder, "quarantine"),
        totals=[screened.totals for screened in whole.values()],
        extra_columns={name: screened.extra_columns for name, screened in whole.items()},
        hashes={pin.key: str(pin.sha256) for screened in whole.values() for pin in screened.pins},
    )


def entry_batches(manifest: Manifest) -> list[list[Pin]]:
    """Share the time-entry objects out over a few batches of like size."""
    return _batches(manifest.of(ENTRIES))


def reading_batches(manifest: Manifest) -> list[list[Pin]]:
    """Share the reading objects out over a few batches of like size."""
    return _batches(manifest.of(READINGS))


def _batches(pins: Sequence[Pin]) -> list[list[Pin]]:
    """Fill one batch after the other up to a fair share; every object is in exactly one."""
    fair_share = max(BATCH_BYTES, -(-sum(pin.size for pin in pins) // BATCHES_AT_MOST))
    batches: list[list[Pin]] = []
    room = 0
    for pin in pins:
        if room <= 0:
            batches.append([])
            room = fair_share
        batches[-1].append(pin)
        room -= pin.size
    return batches


@step("screen-entries")
def screen_entries(pins: list[Pin], run: MonthRun, snapshot: Snapshot) -> ScreenedBatch:
    """Screen some time-entry objects; accepted and refused rows are split by entry_id."""
    return _screen_batch(pins, run, snapshot, ENTRIES)


@step("screen-readings")
def screen_readings(pins: list[Pin], run: MonthRun, snapshot: Snapshot) -> ScreenedBatch:
    """Screen some reading objects; automatic readings of the patients are split by bucket."""
    return _screen_batch(pins, run, snapshot, READINGS)


def _screen_batch(pins: list[Pin], run: MonthRun, snapshot: Snapshot, name: str) -> ScreenedBatch:
    """Screen objects part by part, writing each part's rows to their shards before the next is read."""
    index = load(snapshot.index)
    is_entries = name == ENTRIES
    known = index["patient_id"] if is_entries else None
    released = load(snapshot.tables["releases"]).filter(pl.col("kind") == "row") if is_entries else None
    shards: list[Shards] = []
    rejected: list[Shards] = []
    quarantined = [pl.DataFrame(schema=QUARANTINE_SCHEMA)]
    totals = RowTotals(dataset=name)
    extra: set[str] = set()
    hashes: dict[str, str] = {}
    storage = storage_at(run.source)
    # Batches are told apart by their first object, whatever characters its name has.
    batch = hashlib.sha256(pins[0].key.encode()).hexdigest()[:16]
    read = (
        found
        for pin in pins
        for found in intake.screened_parts(pin, storage, run.started_at, known, released)
    )
    for number, (pin, part) in enumerate(read):
        hashes[pin.key] = str(pin.sha256)
        label = f"{batch}-{number:04d}"
        if is_entries:
            folder = f"{run.stage}/entries"
            shards.append(split(part.accepted, "entry_id", snapshot.buckets, folder, label))
            rejected.append(split(part.rejected, "entry_id", snapshot.buckets, f"{folder}/refused", label))
        else:
            shards.append(_split_readings(part.accepted, index, run, label))
        told, counted = _told_here(part, run, snapshot, DATASETS[name])
        quarantined.append(told)
        totals += counted
        extra |= set(part.extra_columns)
    LOG.info("%s: %d rows read, %d refused", name, totals.read, totals.quarantined)
    return ScreenedBatch(
        shards=gather(shards),
        rejected=gather(rejected),
        quarantine=save(pl.concat(quarantined), f"{run.stage}/quarantine", f"{name}-{batch}"),
        totals=totals,
        extra_columns=sorted(extra),
        hashes=hashes,
    )


def _told_here(
    part: Screened, run: MonthRun, snapshot: Snapshot, dataset: Dataset
) -> tuple[pl.DataFrame, RowTotals]:
    """Pick the refusals that this month's run tells of, and count what became of the rows."""
    is_theirs = is_foreign(run, snapshot, dataset)
    ours, theirs = part.rejected.filter(~is_theirs), part.rejected.filter(is_theirs)
    # Rows of one key are told of together, and an object that was refused whole is told of everywhere.
    row = ["object", "row_key"]
    told = part.quarantined.join(theirs.join(ours, on=row, how="anti"), on=row, how="anti")
    return told, RowTotals(
        dataset=dataset.name,
        read=part.accepted.height + part.rejected.height,
        accepted=part.accepted.height,
        quarantined=ours.height,
        elsewhere=theirs.height,
    )


def is_foreign(run: MonthRun, snapshot: Snapshot, dataset: Dataset) -> pl.Expr:
    """Tell which rows only another month's run need tell of: they lie in its folder, and outside this month.

    A row whose times cannot all be read may be of any month.
    """
    is_own = pl.col("object").str.contains(f"{dataset.name}/{run.label}/", literal=True)
    is_outside = (pl.max_horizontal(dataset.instants) <= snapshot.opens_at) | (
        pl.min_horizontal(dataset.instants) >= snapshot.closes_at
    )
    is_readable = pl.all_horizontal(pl.col(dataset.instants).is_not_null())
    return ~is_own & is_readable & is_outside


def _split_readings(accepted: pl.DataFrame, index: pl.DataFrame, run: MonthRun, label: str) -> Shards:
    """Keep what counting days needs: automatic readings of people in the snapshot, by bucket."""
    wanted = (
        accepted.filter(pl.col("capture") == "automatic")
        .select("patient_id", "measured_at", "capture")
        .join(index, on="patient_id", how="inner")
    )
    return split_by(wanted, f"{run.stage}/readings", label)
