"""Judging: a bucket of patients is billed by the rules of `billing`, and the month's totals are compared.

`tasks.settling` says what lies in a bucket; `tasks.filing` registers and files its claims. Every rule is in
`billing`, and how a claim is said in X12 in `tasks.translate`.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from billing.funnel import partial_funnel
from billing.month import BilledMonth, MonthSources, bill_month
from schemas.columns import UTC
from schemas.datasets import DATASETS
from schemas.errors import require_equal
from schemas.shards import Arrivals, BilledBucket, Bucket, MonthRun
from tasks import translate
from tasks.reference import reference
from tasks.screening import ENTRIES
from tasks.staging import load, load_all, save
from tasks.step import LOG, step

CLASHES: Final = {"entry_id": pl.String(), "started_at": UTC, "ended_at": UTC}
READINGS_KEPT: Final = {"patient_id": pl.String(), "measured_at": UTC, "capture": pl.String()}


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
        supply_left_out=save(billed.supply_left_out, folder, f"{label}-supply-left-out"),
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
        entries=load_all(bucket.entries, DATASETS[ENTRIES].accepted_schema),
        clashes=load_all(bucket.clashes, CLASHES),
        readings=load_all(bucket.readings, READINGS_KEPT),
        patients=load_all(bucket.patients, DATASETS["patients"].types),
        coverage=small["coverage-windows"],
        practitioners=small["practitioners"],
        providers=small["billing-providers"],
        payers=small["payers"],
        charges=small["charges"],
        releases=small["releases"],
    )


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
