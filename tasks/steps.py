"""Steps: the stages of a month as Prefect tasks, from the source objects to billed buckets.

Each takes and returns addresses and totals (`schemas.shards`); the frames lie where `tasks.staging` put
them. The rules are in `billing`, the shapes in `schemas`; the ledger and the files come after, in
`tasks.filing`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import polars as pl
from prefect import runtime

from billing.funnel import partial_funnel
from billing.month import BilledMonth, MonthSources, bill_month
from billing.reference import tables
from billing.staff_clashes import staff_clashes
from schemas.addresses import Address, Manifest, Pin
from schemas.errors import Refused, require_equal
from schemas.quarantine import QUARANTINE_SCHEMA
from schemas.settings import load_settings
from schemas.settling import settle
from schemas.shards import (
    Arrivals,
    BilledBucket,
    Bucket,
    MonthRun,
    RowTotals,
    ScreenedBatch,
    SettledPart,
    Shards,
    Snapshot,
    UntangledPart,
    gather,
)
from schemas.sources import DATASETS
from tasks import intake, translate
from tasks.months import service_month
from tasks.releases import open_releases
from tasks.staging import load, load_all, save, split, split_by
from tasks.step import LOG, step
from tasks.storage import storage_at

# A month is screened in a few batches, however many objects it has: Prefect loses records in the thousands.
BATCHES_AT_MOST: Final = 16
BATCH_BYTES: Final = 64 * 2**20
SNAPSHOT: Final = ("patients", "coverage-windows", "practitioners", "billing-providers", "payers", "charges")
ENTRIES, READINGS = "time-entries", "device-readings"
# No civil time is further than this from UTC, so nothing of the month is outside the month so widened.
FURTHEST_ZONE: Final = timedelta(hours=14)


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
    if tables.in_effect(reference().rvus, first).is_empty():
        raise Refused(str(tables.missing_schedule(first)))
    return MonthRun(
        run_id=str(runtime.flow_run.id),
        month=first,
        source=source.rstrip("/"),
        output=output.rstrip("/"),
        started_at=now,
    )


def month_after(first: date) -> date:
    """Give the first day of the next month."""
    return (first + timedelta(days=32)).replace(day=1)


def reference() -> tables.Reference:
    """Load the dated tables in force here: ours, and the releases people loaded."""
    return tables.load(load_settings().home / "reference")


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
    LOG.info("%d patients in %d buckets", patients.height, buckets)
    return Snapshot(
        tables={name: save(frame, folder, name) for name, frame in tables.items()},
        patients=split_by(numbered, folder, "patients"),
        index=save(index.sort("patient_id"), folder, "index"),
        buckets=buckets,
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
    read = (
        found
        for pin in pins
        for found in intake.screened_parts(pin, storage, run.started_at, known, released)
    )
    for number, (pin, part) in enumerate(read):
        hashes[pin.key] = str(pin.sha256)
        label = f"{_file_name(pins[0])}-{number:04d}"
        if name == ENTRIES:
            folder = f"{run.stage}/entries"
            shards.append(split(part.accepted, "entry_id", snapshot.buckets, folder, label))
            rejected.append(split(part.rejected, "entry_id", snapshot.buckets, f"{folder}/refused", label))
        else:
            shards.append(_split_readings(part.accepted, index, run, label))
        own, elsewhere = _own_rows(part.quarantined, run, name), _elsewhere(part.rejected, run, name)
        quarantined.append(own)
        extra |= set(part.extra_columns)
        totals = RowTotals(
            dataset=name,
            read=totals.read + part.accepted.height + part.rejected.height,
            accepted=totals.accepted + part.accepted.height,
            quarantined=totals.quarantined + part.rejected.height - elsewhere,
            elsewhere=totals.elsewhere + elsewhere,
        )
    LOG.info("%s: %d rows read, %d refused", name, totals.read, totals.quarantined)
    return ScreenedBatch(
        shards=gather(shards),
        rejected=gather(rejected),
        quarantine=save(pl.concat(quarantined), f"{run.stage}/quarantine", f"{name}-{_file_name(pins[0])}"),
        totals=totals,
        extra_columns=sorted(extra),
        hashes=hashes,
    )


def _file_name(pin: Pin) -> str:
    """Name a batch after its first object."""
    return "".join(letter if letter.isalnum() else "-" for letter in pin.key)


def _own_folder(run: MonthRun, name: str) -> str:
    return f"{name}/{run.label}/"


def _own_rows(quarantined: pl.DataFrame, run: MonthRun, name: str) -> pl.DataFrame:
    """Keep refused rows of the month's own folder; a neighbour's are listed by that month's run."""
    return quarantined.filter(pl.col("object").str.contains(_own_folder(run, name), literal=True))


def _elsewhere(rejected: pl.DataFrame, run: MonthRun, name: str) -> int:
    return rejected.height - _own_rows(rejected, run, name).height


def _split_readings(accepted: pl.DataFrame, index: pl.DataFrame, run: MonthRun, label: str) -> Shards:
    """Keep what counting days needs: automatic readings of people in the snapshot, by bucket."""
    wanted = (
        accepted.filter(pl.col("capture") == "automatic")
        .select("patient_id", "measured_at", "capture")
        .join(index, on="patient_id", how="inner")
    )
    return split_by(wanted, f"{run.stage}/readings", label)


@step("settle-entries")
def settle_entries(part: int, run: MonthRun, accepted: Shards, refused: Shards) -> SettledPart:
    """Drop identical repeats, refuse ids with two contents, and keep what touches the month."""
    rows = _or_empty(accepted.get(part, []), SCREENED_ENTRIES)
    settled = settle(rows, _or_empty(refused.get(part, []), REFUSED_ENTRIES), DATASETS[ENTRIES])
    after = pl.lit(month_after(run.month)).cast(pl.Datetime("us", "UTC")) + FURTHEST_ZONE
    before = pl.lit(run.month).cast(pl.Datetime("us", "UTC")) - FURTHEST_ZONE
    of_month = settled.accepted.filter((pl.col("started_at") < after) & (pl.col("ended_at") > before))
    shards = max([*accepted, *refused], default=0) + 1
    return SettledPart(
        shards=split(of_month, "staff_id", shards, f"{run.stage}/settled", f"part-{part:03d}"),
        quarantine=save(settled.quarantined, f"{run.stage}/quarantine", f"settled-{part:03d}"),
        totals=RowTotals(
            dataset=ENTRIES,
            accepted=-settled.rejected_count - settled.repeat_count,
            quarantined=settled.rejected_count,
            repeats=settled.repeat_count,
        ),
    )


@step("untangle-staff")
def untangle_staff(part: int, run: MonthRun, settled: Shards, snapshot: Snapshot) -> UntangledPart:
    """Find the seconds a staff member logged for two patients, and hand the entries to the buckets."""
    entries = load_all(settled[part])
    index = load(snapshot.index)
    clashes = staff_clashes(entries).join(entries.select("entry_id", "patient_id"), on="entry_id")
    label = f"staff-{part:03d}"
    return UntangledPart(
        entries=split_by(entries.join(index, on="patient_id"), f"{run.stage}/untangled", label),
        clashes=split_by(
            clashes.join(index, on="patient_id").drop("patient_id"), f"{run.stage}/clashes", label
        ),
    )


def buckets_of(
    snapshot: Snapshot, untangled: Sequence[UntangledPart], readings: Sequence[ScreenedBatch]
) -> list[Bucket]:
    """List what each patient bucket is billed from."""
    entries = gather(part.entries for part in untangled)
    clashes = gather(part.clashes for part in untangled)
    days = gather(batch.shards for batch in readings)
    return [
        Bucket(
            number=number,
            patients=snapshot.patients.get(number, []),
            entries=entries.get(number, []),
            clashes=clashes.get(number, []),
            readings=days.get(number, []),
            tables=snapshot.tables,
        )
        for number in range(snapshot.buckets)
    ]


@step("bill-bucket")
def bill_bucket(bucket: Bucket, run: MonthRun) -> BilledBucket:
    """Bill one bucket of patients, and say its claims in the words of the 837P."""
    sources = _sources_of(bucket)
    billed = bill_month(sources, run.month, reference(), today=run.started_at.date())
    parties = translate.Parties(
        patients=sources.patients,
        practitioners=sources.practitioners,
        providers=sources.providers,
        payers=sources.payers,
    )
    x12_claims, x12_lines = translate.to_x12(billed.claims, billed.lines, parties)
    folder, label = f"{run.stage}/billed", f"bucket-{bucket.number:03d}"
    evidence = billed.evidence.sort("claim_number", "line_number", "unit_number", "started_at", "entry_id")
    LOG.info("bucket %d: %d claims", bucket.number, billed.claims.height)
    return BilledBucket(
        number=bucket.number,
        claims=save(
            _with_trading_partner(billed.claims, sources.payers).join(
                translate.content_hashes(x12_claims, x12_lines), on="claim_number", how="left"
            ),
            folder,
            f"{label}-claims",
        ),
        lines=save(billed.lines, folder, f"{label}-lines"),
        holds=save(billed.holds, folder, f"{label}-holds"),
        released=save(billed.released, folder, f"{label}-released"),
        evidence=save(evidence, folder, f"{label}-evidence"),
        x12_claims=save(x12_claims, folder, f"{label}-x12-claims"),
        x12_lines=save(x12_lines, folder, f"{label}-x12-lines"),
        partial=partial_funnel(billed, sources.patients, run.month),
        totals=_seconds_and_cents(billed),
    )


def _sources_of(bucket: Bucket) -> MonthSources:
    """Load the frames of one bucket; where nothing arrived, an empty frame of the right shape."""
    small = {name: load(address) for name, address in bucket.tables.items()}
    return MonthSources(
        entries=_or_empty(bucket.entries, ENTRIES_KEPT),
        clashes=_or_empty(bucket.clashes, CLASHES),
        readings=_or_empty(bucket.readings, READINGS_KEPT),
        patients=_or_empty(bucket.patients, DATASETS["patients"].types),
        coverage=small["coverage-windows"],
        practitioners=small["practitioners"],
        providers=small["billing-providers"],
        payers=small["payers"],
        charges=small["charges"],
        releases=small["releases"],
    )


ENTRIES_KEPT: Final = {**DATASETS[ENTRIES].types, "object": pl.String()}
SCREENED_ENTRIES: Final = {**ENTRIES_KEPT, "row_number": pl.Int64()}
REFUSED_ENTRIES: Final = {
    **dict.fromkeys(("entry_id", "object"), pl.String()),
    "row_number": pl.Int64(),
    **dict.fromkeys(("row_key", "content"), pl.String()),
}
_INSTANT: Final = pl.Datetime("us", "UTC")
CLASHES: Final = {"entry_id": pl.String(), "started_at": _INSTANT, "ended_at": _INSTANT}
READINGS_KEPT: Final = {"patient_id": pl.String(), "measured_at": _INSTANT, "capture": pl.String()}


def _or_empty(addresses: Sequence[Address], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return load_all(addresses) if addresses else pl.DataFrame(schema=schema)


def _with_trading_partner(claims: pl.DataFrame, payers: pl.DataFrame) -> pl.DataFrame:
    """Say of each claim by which route it leaves."""
    route = payers.select("payer_id", "submitter_id", "receiver_id", "usage", payer_kind="kind")
    return claims.join(route, on="payer_id", how="left")


def _seconds_and_cents(billed: BilledMonth) -> dict[str, int]:
    """Add up what must chain: seconds of people, cents of lines and of claims."""
    seconds = {
        name: int(billed.patients[name].sum())
        for name in ("counted_seconds", "billed_seconds", "stranded_seconds", "over_cap_seconds")
    }
    return {
        **seconds,
        "claims": billed.claims.height,
        "line_cents": cents(billed.lines["charge"]),
        "claim_cents": cents(billed.claims["total_charge"]),
    }


def cents(amounts: pl.Series) -> int:
    """Add money up as whole cents."""
    return int((amounts.cast(pl.Decimal(38, 2)).sum() or 0) * 100)


def check_totals(arrivals: Arrivals, billed: Sequence[BilledBucket]) -> None:
    """Hold the control totals of the whole month against each other.

    Raises:
        ControlBreak: If rows, seconds or cents got lost between two steps.
    """
    for totals in arrivals.row_totals():
        kept = totals.accepted + totals.quarantined + totals.repeats + totals.elsewhere
        require_equal(f"rows of {totals.dataset} accounted for", totals.read, kept)
    for bucket in billed:
        sums = bucket.totals
        require_equal(
            f"billed, stranded and over-cap seconds of bucket {bucket.number}",
            sums["counted_seconds"],
            sums["billed_seconds"] + sums["stranded_seconds"] + sums["over_cap_seconds"],
        )
        require_equal(
            f"cents of the claims of bucket {bucket.number}", sums["line_cents"], sums["claim_cents"]
        )
