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
from schemas.errors import Refused, require_equal
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
from tasks.ledger import Ledger
from tasks.registration import ORIGINAL, VOIDING
from tasks.releases import close_unused
from tasks.report import render_report
from tasks.staging import load, load_all, remove_stage, save
from tasks.step import LOG, step
from tasks.steps import cents, reference
from tasks.storage import Storage, storage_at

# The last character of a claim number is its version; what stands before names the claim itself.
STEM: Final = 16


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
    LOG.info("bucket %d: %s", bucket.number, registration.counts)
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
        storage.write(key, _sent_bytes(str(interchange.uri), str(interchange.sha256), interchange.file_name))
        return _filed(interchange, interchange.sha256, interchange.size)

    claims, lines, parties = _frames_of(interchange, snapshot, billed)
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


def _sent_bytes(uri: str, sha256: str, file_name: str) -> bytes:
    """Fetch the copy of a sent file from where it was first written."""
    folder, _, name = uri.rpartition("/")
    data = storage_at(folder).read(name)
    require_equal(f"the hash of {file_name}", sha256, hashlib.sha256(data).hexdigest())
    return data


def _frames_of(
    interchange: Interchange, snapshot: Snapshot, billed: Sequence[BilledBucket]
) -> tuple[pl.DataFrame, pl.DataFrame, translate.Parties]:
    """Gather what the 837P says of the claims of one interchange, under the numbers the ledger gave them.

    Raises:
        Refused: If another run changed the month's claims meanwhile.
    """
    with open_ledger() as ledger:
        registered = ledger.interchange_claims(interchange.interchange_id).select(
            *("frequency_code", "payer_claim_number"),
            number="claim_number",
            registered_sha256="content_sha256",
            stem=pl.col("claim_number").str.head(STEM),
        )
        originals = ledger.files_of_originals(interchange.interchange_id)
    wanted = registered.filter(pl.col("frequency_code") != VOIDING)
    stem = pl.col("claim_number").str.head(STEM)
    claims = (
        load_all([bucket.x12_claims for bucket in billed]).with_columns(stem=stem).join(wanted, on="stem")
    )
    billed_claims = load_all([bucket.claims for bucket in billed]).select("claim_number", "content_sha256")
    current = claims.join(billed_claims, on="claim_number")
    is_same = (current["content_sha256"] == current["registered_sha256"]).all()
    if claims.height != wanted.height or not is_same:
        raise Refused(
            f"{interchange.file_name}: another run changed this month's claims. Run the month again."
        )
    lines = load_all([bucket.x12_lines for bucket in billed]).with_columns(stem=stem).join(wanted, on="stem")
    parties = translate.Parties(
        patients=pl.DataFrame(),
        practitioners=load(snapshot.tables["practitioners"]),
        providers=load(snapshot.tables["billing-providers"]),
        payers=load(snapshot.tables["payers"]),
    )
    voids = registered.join(originals, left_on="number", right_on="claim_number")
    taken_back = [_as_it_was_sent(voids.filter(pl.col("uri") == uri)) for uri in originals["uri"].unique()]
    return (
        pl.concat([_numbered_claims(claims), *(sent for sent, _ in taken_back)]).sort("claim_number"),
        pl.concat([_numbered_lines(lines), *(sent for _, sent in taken_back)]).sort(
            "claim_number", "line_number"
        ),
        parties,
    )


OF_LEDGER: Final = ("stem", "number", "registered_sha256", "frequency_code_right", "payer_claim_number")


def _numbered_claims(claims: pl.DataFrame) -> pl.DataFrame:
    """Give claims the number, the purpose and the payer's own number that the ledger knows."""
    is_original = pl.col("frequency_code_right") == ORIGINAL
    return claims.with_columns(
        claim_number="number",
        frequency_code="frequency_code_right",
        payer_claim_control_number=pl.when(~is_original).then("payer_claim_number"),
    ).drop(OF_LEDGER)


def _numbered_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Give lines their claim's number, and a control number that follows it."""
    control = pl.col("number") + pl.col("line_control_number").str.slice(STEM + 1)
    return lines.with_columns(claim_number="number", line_control_number=control).drop(
        OF_LEDGER, "frequency_code", strict=False
    )


def _as_it_was_sent(voids: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read what one file told its payer of claims that are taken back: a void repeats its original."""
    data = _sent_bytes(*voids.select("uri", "sha256", "file_name").row(0))
    claims, lines = translate.read_sent(data)
    numbers = voids.select(
        *("number", "registered_sha256", "frequency_code", "payer_claim_number", "stem"),
        claim_number="original_claim_number",
    )
    return (
        _numbered_claims(claims.join(numbers, on="claim_number")),
        _numbered_lines(lines.join(numbers, on="claim_number")),
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
