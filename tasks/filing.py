"""Filing: the ledger and the files of a month, after its buckets are billed.

Claims are registered first, then files and their control numbers, then the bytes; the outputs are
written from what the ledger holds, so that they tell the truth also after a rerun. How X12 is written
is `tasks.translate`, how an output looks `tasks.outputs`.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

import polars as pl

from billing.funnel import combine, count_lines
from billing.holds import hold_reasons
from schemas.addresses import Manifest, Pin
from schemas.crashpoints import crashpoint
from schemas.errors import require_equal
from schemas.settings import load_settings
from schemas.shards import (
    Arrivals,
    BilledBucket,
    FiledInterchange,
    Interchange,
    MonthRun,
    MonthSummary,
    Registered,
    Snapshot,
)
from tasks import outputs, translate
from tasks.file_contents import frames_of, sent_bytes
from tasks.ledger import Ledger
from tasks.releases import close_unused
from tasks.report import render_report
from tasks.staging import load, load_all, remove_stage, save
from tasks.step import LOG, step
from tasks.steps import cents, reference
from tasks.storage import Storage, storage_at


def open_ledger() -> Ledger:
    """Open the ledger of the settings."""
    return Ledger(load_settings().ledger_url)


@step("remember-run")
def remember_run(run: MonthRun) -> None:
    """Bring the ledger's tables up to date and note that the run started."""
    with open_ledger() as ledger:
        ledger.upgrade()
        ledger.record_run(
            run.run_id,
            month=run.month,
            source=run.source,
            output=run.output,
            at=run.started_at,
            by=load_settings().operator,
        )


@step("register-claims")
def register_bucket(bucket: BilledBucket, run: MonthRun) -> Registered:
    """Bring the ledger to what a bucket's claims say, and keep the evidence that funds them."""
    evidence = load(bucket.evidence)
    kept = save(evidence, f"{run.folder}/evidence", bucket.evidence.sha256)
    crashpoint("evidence kept")
    claims = load(bucket.claims).with_columns(evidence_uri=pl.lit(kept.uri))
    with open_ledger() as ledger:
        registration = ledger.register_claims(
            claims, load(bucket.lines), month=run.month, source=run.source, at=run.started_at
        )
    told = ", ".join(f"{count} {outcome}" for outcome, count in registration.counts.items())
    LOG.info("bucket %d in the ledger: %s", bucket.number, told)
    return Registered(
        outcomes=save(registration.claims, f"{run.stage}/registered", f"bucket-{bucket.number:03d}"),
        counts=registration.counts,
    )


@step("allocate-files")
def allocate(run: MonthRun, registered: Sequence[Registered]) -> list[Interchange]:
    """Take back what is no longer claimed, and reserve files and control numbers for what is."""
    outcomes = load_all([bucket.outcomes for bucket in registered])
    claimed = outcomes.filter(pl.col("outcome") != "already_billed")["claim_number"]
    with open_ledger() as ledger:
        ledger.withdraw_missing(claimed, month=run.month, source=run.source, at=run.started_at)
        crashpoint("claims withdrawn")
        files = ledger.allocate_interchanges(month=run.month, source=run.source, at=run.started_at)
    with_cents = files.with_columns(total_cents=(pl.col("total_charge") * 100).cast(pl.Int64))
    return [Interchange(**row) for row in with_cents.select(*Interchange.model_fields).to_dicts()]


@step("file-interchange")
def file_interchange(
    interchange: Interchange,
    run: MonthRun,
    snapshot: Snapshot,
    billed: Sequence[BilledBucket],
    full_check: bool,
) -> FiledInterchange:
    """Write one interchange, read it back, check it, and only then give it its name.

    A file that was sent is never written again: a copy of it is brought to this output if it is missing.
    """
    key = f"claims/{interchange.file_name}"
    storage = storage_at(run.folder)
    if _lies_there(storage, key, interchange.sha256):
        return _filed(interchange, interchange.sha256, interchange.size)
    if interchange.state in ("sending", "sent"):
        storage.write(key, sent_bytes(str(interchange.uri), str(interchange.sha256), interchange.file_name))
        return _filed(interchange, interchange.sha256, interchange.size)

    claims, lines, parties = frames_of(interchange, snapshot, billed)
    written = translate.write_checked(
        claims,
        lines,
        interchange,
        parties,
        today=run.started_at.date(),
        diagnosis_codes=reference().diagnoses["code"],
        full_check=full_check,
    )
    errors = written.findings.filter(pl.col("severity") == "error").height
    if errors:
        return _stopped(interchange, run, written.findings, errors)
    require_equal(f"cents of {interchange.file_name}", interchange.total_cents, cents(claims["total_charge"]))
    crashpoint("file checked")
    storage.write(key, written.data)
    crashpoint("file written")
    sha256 = hashlib.sha256(written.data).hexdigest()
    with open_ledger() as ledger:
        ledger.record_written(
            interchange.interchange_id, uri=storage.uri_of(key), sha256=sha256, size=len(written.data)
        )
    LOG.info("%s: %d claims", interchange.file_name, claims.height)
    return _filed(interchange, sha256, len(written.data))


def _lies_there(storage: Storage, key: str, sha256: str | None) -> bool:
    """Tell whether a file already lies in the output with the bytes the ledger knows."""
    return storage.exists(key) and hashlib.sha256(storage.read(key)).hexdigest() == sha256


def _filed(interchange: Interchange, sha256: str | None, size: int | None) -> FiledInterchange:
    known = interchange.model_dump(include=set(FiledInterchange.model_fields))
    return FiledInterchange(**{**known, "sha256": sha256, "size": size})


def _stopped(
    interchange: Interchange, run: MonthRun, findings: pl.DataFrame, errors: int
) -> FiledInterchange:
    """Keep what the check found where people look; the file itself is not kept."""
    storage = storage_at(run.folder)
    key = f"claims/{interchange.file_name}"
    if storage.exists(key):
        storage.delete(key)
    findings_key = f"findings/{interchange.file_name}.csv"
    storage.write(findings_key, findings.write_csv().encode())
    return _filed(interchange, None, None).model_copy(
        update={"errors": errors, "findings_uri": storage.uri_of(findings_key)}
    )


@step("publish")
def publish(
    run: MonthRun,
    manifest: Manifest,
    arrivals: Arrivals,
    billed: Sequence[BilledBucket],
    registered: Sequence[Registered],
    files: Sequence[FiledInterchange],
) -> MonthSummary:
    """Write the month's outputs from what the ledger holds, and remember the run as done, last."""
    with open_ledger() as ledger:
        lines = ledger.month_lines(run.month, run.source)
        corrections = ledger.open_corrections(run.month, run.source)
        void_names = ledger.void_files(run.month, run.source)
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
    outputs.write_quarantine(quarantine, storage)
    crashpoint("quarantine published")
    outputs.write_funnel(summary.funnel, storage)
    crashpoint("funnel published")
    pinned = manifest.model_copy(update={"pins": _hashed(manifest, arrivals)})
    storage.write("report.html", render_report(summary, pinned).encode())
    crashpoint("report published")
    for name in void_names:
        if storage.exists(f"claims/{name}"):
            storage.delete(f"claims/{name}")
    with open_ledger() as ledger:
        close_unused(ledger, run.month, load_all([bucket.released for bucket in billed]))
    _remember_done(run, pinned, summary)
    crashpoint("run remembered as done")
    remove_stage(run.stage)
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
    return summary


def _hashed(manifest: Manifest, arrivals: Arrivals) -> tuple[Pin, ...]:
    """Say of each pinned object what it hashed to when it was read."""
    hashes = arrivals.hashes()
    return tuple(pin.model_copy(update={"sha256": hashes.get(pin.key, pin.sha256)}) for pin in manifest.pins)


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
    refused = any(totals.quarantined for totals in arrivals.row_totals())
    held = not holds.filter(~pl.col("is_note")).is_empty()
    return refused or held or bool(corrections) or any(file.errors for file in files)


def _remember_done(run: MonthRun, manifest: Manifest, summary: MonthSummary) -> None:
    pins = pl.DataFrame(
        [pin.model_dump(include={"dataset", "key", "version", "size", "sha256"}) for pin in manifest.pins]
    )
    digest = hashlib.sha256(json.dumps(pins.to_dicts()).encode()).hexdigest()
    with open_ledger() as ledger:
        ledger.record_pins(run.run_id, digest, pins)
        crashpoint("pins recorded")
        ledger.finish_run(
            run.run_id, state="done", summary={"funnel": summary.funnel}, at=load_settings().clock()
        )
