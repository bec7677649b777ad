"""Publishing: the month's outputs, written from what the ledger holds, and the run remembered as done.

The last step of `flows.month_end`, after `tasks.filing`; and a preview, which only tells. How an output looks
is `tasks.outputs`, the page `tasks.report`; which run may write at all `tasks.runs`.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from billing.funnel import combine, count_lines
from billing.holds import hold_reasons
from schemas.addresses import Manifest
from schemas.crashpoints import crashpoint
from schemas.settings import load_settings
from schemas.shards import Arrivals, BilledBucket, FiledInterchange, MonthRun, MonthSummary, Registered
from tasks import outputs
from tasks.filing import hashed, open_ledger
from tasks.ledger import Ledger
from tasks.reference import reference
from tasks.releases import close_unused
from tasks.report import render_report
from tasks.staging import load_all, remove_stage
from tasks.step import step
from tasks.storage import storage_at
from tasks.sweeping import sweep, sweep_previews
from tasks.turns import alone


@step("publish")
def publish(
    run: MonthRun,
    manifest: Manifest,
    arrivals: Arrivals,
    billed: Sequence[BilledBucket],
    registered: Sequence[Registered],
    files: Sequence[FiledInterchange],
) -> MonthSummary:
    """Write the month's outputs from what the ledger holds, and remember the run as done, last.

    One run publishes at a time, and none that was overtaken: what lies there in the end is the latest run's.
    """
    with open_ledger(run) as ledger, alone(ledger.engine, "publishing"):
        told = ledger.summary_of(run.run_id)
        if told is not None:
            summary = MonthSummary(**told)  # an earlier try came to its end, and then the power failed
        else:
            ledger.vouch()
            summary = _write_outputs(ledger, run, manifest, arrivals, billed, registered, files)
            close_unused(ledger, run.month, load_all([bucket.released for bucket in billed]))
            ledger.finish_run(run.run_id, summary=summary.model_dump(mode="json"), at=load_settings().clock())
            crashpoint("run remembered as done")
        remove_stage(run.stage)
        sweep(ledger, run.output)
    return summary


def _write_outputs(
    ledger: Ledger,
    run: MonthRun,
    manifest: Manifest,
    arrivals: Arrivals,
    billed: Sequence[BilledBucket],
    registered: Sequence[Registered],
    files: Sequence[FiledInterchange],
) -> MonthSummary:
    """Write what people and other systems read, and take away the files that were given up."""
    lines = ledger.month_lines(run.month, run.source)
    corrections = ledger.open_corrections(run.month, run.source)
    storage = storage_at(run.folder)
    holds = _all_holds(billed, registered)
    quarantine = load_all(arrivals.quarantine())
    partials = [{**bucket.partial, **NOTHING_CLAIMED} for bucket in billed]
    summary = MonthSummary(
        month=run.label,
        source=run.source,
        output=run.folder,
        is_preview=False,
        funnel=_funnel([*partials, count_lines(lines)], run, arrivals, quarantine),
        files=list(files),
        corrections=corrections,
        needs_people=_needs_people(arrivals, holds, files, corrections),
    )
    outputs.write_lines(lines, storage)
    crashpoint("lines published")
    outputs.write_holds(holds, storage)
    crashpoint("holds published")
    outputs.write_supply_left_out(load_all([bucket.supply_left_out for bucket in billed]), storage)
    outputs.write_quarantine(quarantine, storage)
    crashpoint("quarantine published")
    outputs.write_funnel(summary.funnel, storage)
    crashpoint("funnel published")
    storage.write("report.html", render_report(summary, hashed(manifest, arrivals)).encode())
    crashpoint("report published")
    for name in ledger.void_files(run.month, run.source):
        if storage.exists(f"claims/{name}"):
            storage.delete(f"claims/{name}")
    return summary


# Counts of a funnel that a partial leaves out.
NOTHING_CLAIMED: Final[dict[str, list[dict[str, object]]]] = {"claims": [], "codes": [], "patterns": []}


def preview(run: MonthRun, arrivals: Arrivals, billed: Sequence[BilledBucket]) -> MonthSummary:
    """Tell what would be claimed, writing nothing that outlives the run."""
    holds = _all_holds(billed, [])
    quarantine = load_all(arrivals.quarantine())
    summary = MonthSummary(
        month=run.label,
        source=run.source,
        output=run.folder,
        is_preview=True,
        funnel=_funnel([bucket.partial for bucket in billed], run, arrivals, quarantine),
        files=[],
        needs_people=_needs_people(arrivals, holds, [], 0),
    )
    remove_stage(run.stage)
    sweep_previews()
    return summary


def _all_holds(billed: Sequence[BilledBucket], registered: Sequence[Registered]) -> pl.DataFrame:
    """Bring the holds of all buckets together, and hold whom the ledger knows as billed already."""
    holds = load_all([bucket.holds for bucket in billed])
    if not registered:
        return holds
    outcomes = load_all([bucket.outcomes for bucket in registered])
    twice = outcomes.filter(pl.col("outcome") == "already_billed")["billed_number"]
    counted = (
        load_all([bucket.lines for bucket in billed])
        .filter(pl.col("claim_number").is_in(twice.implode()))
        .group_by("patient_id")
        .agg(pl.col("counted_seconds").sum())
    )
    reason = hold_reasons().filter(pl.col("reason") == "ALREADY_BILLED")
    return pl.concat([holds, counted.join(reason, how="cross").select(holds.columns)])


def _funnel(
    partials: Sequence[dict[str, list[dict[str, object]]]],
    run: MonthRun,
    arrivals: Arrivals,
    quarantine: pl.DataFrame,
) -> dict[str, object]:
    return dict(
        combine(
            partials,
            month=run.month,
            rows=arrivals.row_totals(),
            quarantine=quarantine,
            extra_columns=arrivals.extra_columns(),
            macs=reference().macs,
            hold_reasons=hold_reasons(),
        )
    )


def _needs_people(
    arrivals: Arrivals, holds: pl.DataFrame, files: Sequence[FiledInterchange], corrections: int
) -> bool:
    """Say whether somebody must look: a row, a patient, a file or a sent claim waits for them."""
    refused = any(listed.rows for listed in arrivals.quarantine())
    held = not holds.filter(~pl.col("is_note")).is_empty()
    return refused or held or bool(corrections) or any(file.errors for file in files)
