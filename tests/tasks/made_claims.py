"""Made-up claims as billing would hand them to the ledger."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

OCTOBER = date(2026, 10, 1)
SOURCE = "s3://practice/intake"
AT = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
MONEY = pl.Decimal(12, 2)
AMOUNTS = ("allowed_estimate", "medicare_estimate", "patient_estimate")


def month(
    patients: int, *, charge: str = "55.25", evidence: str = "e", receiver: str = "MAC", start: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return claims and their lines: one 99457 and one 99458 for each patient."""
    numbers = pl.DataFrame({"n": range(start, start + patients)}).select(
        pl.col("n").cast(pl.String).str.zfill(6)
    )
    amount = Decimal(charge)
    claims = numbers.select(
        claim_number=pl.format("R2610ABCDE{}1", "n"),
        patient_id=pl.format("P{}", "n"),
        member_id=pl.format("1EG4TE{}", "n"),
        billing_npi=pl.lit("1234567893"),
        rendering_npi=pl.lit("1245319599"),
        payer_id=pl.lit("PARTB"),
        payer_kind=pl.lit("medicare_part_b"),
        submitter_id=pl.lit("CLINIC"),
        receiver_id=pl.lit(receiver),
        usage=pl.lit("T"),
        mac_contract=pl.lit("05102"),
        locality=pl.lit("00"),
        place_of_service=pl.lit("11"),
        service_month=pl.lit(OCTOBER),
        code_family=pl.lit("RPM"),
        version=pl.lit(1, pl.Int64),
        date_of_service=pl.lit(date(2026, 10, 20)),
        total_charge=pl.lit(amount * 2, MONEY),
        line_count=pl.lit(2, pl.Int64),
        content_sha256=pl.format("content-{}-{}", pl.lit(charge), pl.lit(receiver)),
        evidence_sha256=pl.lit(evidence),
        evidence_uri=pl.lit("evidence/bucket=00.parquet"),
        **{name: pl.lit(amount, MONEY) for name in AMOUNTS},
    )
    lines = claims.join(
        pl.DataFrame({"line_number": [1, 2], "code": ["99457", "99458"]}), how="cross"
    ).select(
        "claim_number",
        "line_number",
        "code",
        "date_of_service",
        modifiers=pl.lit(""),
        units=pl.lit(1, pl.Int64),
        charge=pl.lit(amount, MONEY),
        counted_seconds=pl.lit(1200, pl.Int64),
        **{name: pl.lit(amount / 2, MONEY) for name in AMOUNTS},
    )
    return claims, lines
