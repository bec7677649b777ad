"""Settling: the month's entries, each entry_id once, handed to the buckets of patients, as steps.

`tasks.screening` hands over accepted and refused rows by entry_id; `tasks.judging` bills the buckets. Which
rows of one key stand is decided in `schemas.settling`, which seconds clash in `billing.staff_clashes`.
"""

from collections.abc import Sequence

import polars as pl

from billing.staff_clashes import staff_clashes
from schemas.datasets import DATASETS
from schemas.settling import settle
from schemas.shards import (
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
from tasks.screening import ENTRIES, is_foreign
from tasks.staging import load, load_all, save, split, split_by
from tasks.step import step


@step("settle-entries")
def settle_entries(
    part: int, run: MonthRun, accepted: Shards, refused: Shards, snapshot: Snapshot
) -> SettledPart:
    """Drop identical repeats, refuse ids with two contents, and keep what touches the month."""
    dataset = DATASETS[ENTRIES]
    rows = load_all(accepted.get(part, []), dataset.accepted_schema)
    gone = load_all(refused.get(part, []), dataset.rejected_schema)
    settled = settle(rows, gone, dataset)
    # A conflict among another month's rows is told by that month's run.
    is_ours = ~is_foreign(run, snapshot, dataset)
    ours = pl.concat([frame.filter(is_ours).select("entry_id") for frame in (rows, gone)])
    told = settled.quarantined.join(ours, left_on="row_key", right_on="entry_id", how="semi")
    elsewhere = settled.rejected.join(ours, on="entry_id", how="anti").height
    of_month = settled.accepted.filter(
        pl.col("started_at") < snapshot.closes_at, pl.col("ended_at") > snapshot.opens_at
    )
    shards = max([*accepted, *refused], default=0) + 1
    return SettledPart(
        shards=split(of_month, "staff_id", shards, f"{run.stage}/settled", f"part-{part:03d}"),
        quarantine=save(told, f"{run.stage}/quarantine", f"settled-{part:03d}"),
        totals=RowTotals(
            dataset=ENTRIES,
            accepted=-settled.rejected.height - settled.repeat_count,
            quarantined=settled.rejected.height - elsewhere,
            repeats=settled.repeat_count,
            elsewhere=elsewhere,
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
