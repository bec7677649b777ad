"""Filing: the ledger and the files of a month, after its buckets are billed.

Claims are registered first, then files and their control numbers, then the bytes; the outputs follow in
`tasks.publishing`. How X12 is written is `tasks.translate`, which run may write at all `tasks.runs`.
"""

import hashlib
import json
from collections.abc import Sequence

import polars as pl

from schemas.addresses import Manifest
from schemas.crashpoints import crashpoint
from schemas.errors import require_equal
from schemas.settings import load_settings
from schemas.shards import (
    Arrivals,
    BilledBucket,
    FiledInterchange,
    Interchange,
    MonthRun,
    Registered,
    Snapshot,
)
from tasks import translate
from tasks.database import exists
from tasks.file_contents import frames_of, sent_bytes
from tasks.judging import cents
from tasks.ledger import Ledger
from tasks.reference import reference
from tasks.staging import load, load_all, save
from tasks.step import LOG, step
from tasks.storage import Storage, storage_at


def open_ledger(run: MonthRun | None = None) -> Ledger:
    """Open the ledger of the settings; what a run writes is refused once a later one has taken its place."""
    return Ledger(load_settings().ledger_url, run_id=run.run_id if run else None)


@step("remember-run")
def remember_run(run: MonthRun) -> None:
    """Bring the ledger's tables up to date and note that the run starts, before it looks at its source."""
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


def remember_failure(run_id: str) -> None:
    """Note that a run broke off: there is nothing to wait for any more."""
    settings = load_settings()
    if exists(settings.ledger_url):
        with open_ledger() as ledger:
            ledger.fail_run(run_id, at=settings.clock())


def is_overtaken(run_id: str) -> bool:
    """Tell whether a month-end has nothing left to say, because a later one has taken its place."""
    if not exists(load_settings().ledger_url):
        return False
    with open_ledger() as ledger:
        ledger.upgrade()
        return ledger.is_overtaken(run_id)


@step("register-input")
def register_input(run: MonthRun, manifest: Manifest, arrivals: Arrivals) -> None:
    """Note what the run has read; an earlier run that read anything else changes nothing from here on."""
    pins = pl.DataFrame(
        [
            pin.model_dump(include={"dataset", "key", "version", "size", "sha256"})
            for pin in hashed(manifest, arrivals).pins
        ]
    )
    # What people let through decides as much as what lies in the source.
    released = arrivals.snapshot.tables["releases"].sha256
    digest = hashlib.sha256(json.dumps([pins.to_dicts(), released]).encode()).hexdigest()
    with open_ledger(run) as ledger:
        ledger.record_pins(run.run_id, digest, pins)
    crashpoint("pins recorded")


def hashed(manifest: Manifest, arrivals: Arrivals) -> Manifest:
    """Say of each pinned object what it hashed to when it was read."""
    hashes = arrivals.hashes()
    pins = [pin.model_copy(update={"sha256": hashes.get(pin.key, pin.sha256)}) for pin in manifest.pins]
    return manifest.model_copy(update={"pins": tuple(pins)})


@step("register-claims")
def register_bucket(bucket: BilledBucket, run: MonthRun) -> Registered:
    """Bring the ledger to what a bucket's claims say, and keep the evidence that funds them."""
    evidence = load(bucket.evidence)
    kept = save(evidence, f"{run.folder}/evidence", bucket.evidence.sha256)
    crashpoint("evidence kept")
    claims = load(bucket.claims).with_columns(evidence_uri=pl.lit(kept.uri))
    with open_ledger(run) as ledger:
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
    with open_ledger(run) as ledger:
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
    sha256 = hashlib.sha256(written.data).hexdigest()
    with open_ledger(run) as ledger:
        ledger.vouch()
        storage.write(key, written.data)
        crashpoint("file written")
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
