"""Made-up claims for the tests and the benchmark of the 837P: nobody in them exists."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from edi.claim_837p import CLAIM_COLUMNS, LINE_COLUMNS, Interchange

TODAY = date(2026, 12, 1)
CLAIM = {
    "claim_number": "RPM2611A0000017",
    "total_charge": Decimal("160.00"),
    "place_of_service_code": "11",
    "frequency_code": "1",
    "assignment_code": "A",
    "benefits_assignment_code": "Y",
    "release_code": "Y",
    "payer_claim_control_number": None,
    "medical_record_number": None,
    "diagnosis_codes": ["I10", "E119"],
    "billing_npi": "1234567893",
    "billing_name": "EXAMPLE CLINIC",
    "billing_tax_id": "123456789",
    "billing_taxonomy_code": "207R00000X",
    "billing_address_line": "100 MAIN ST",
    "billing_city": "ANYTOWN",
    "billing_state": "TX",
    "billing_postal_code": "750010001",
    "subscriber_last_name": "DOE",
    "subscriber_first_name": "JANE",
    "subscriber_middle_name": None,
    "member_id": "1EG4TE5MK73",
    "subscriber_address_line": "1 OAK AVE",
    "subscriber_city": "ANYTOWN",
    "subscriber_state": "TX",
    "subscriber_postal_code": "75001",
    "subscriber_birth_date": date(1948, 1, 2),
    "subscriber_sex": "F",
    "claim_filing_code": "MB",
    "payer_name": "MEDICARE PART B",
    "payer_id": "04412",
    "rendering_npi": "1245319599",
    "rendering_last_name": "SMITH",
    "rendering_first_name": "ALEX",
    "rendering_taxonomy_code": "207R00000X",
}
LINE = {
    "claim_number": "RPM2611A0000017",
    "line_number": 1,
    "code": "99457",
    "modifiers": [],
    "charge": Decimal("60.00"),
    "units": 1,
    "date_of_service": date(2026, 11, 28),
    "line_control_number": "RPM2611A0000017-01",
    "diagnosis_pointers": [1, 2],
}
ADD_ON = LINE | {
    "line_number": 2,
    "code": "99458",
    "charge": Decimal("50.00"),
    "line_control_number": "RPM2611A0000017-02",
}
INTERCHANGE = Interchange(
    sender_id="SUBMITTER01",
    receiver_id="RECEIVER01",
    receiver_name="Example MAC",
    submitter_name="Example Billing",
    contact_name="EDI Desk",
    contact_phone="555-555-0100",
    control_number=123,
    group_control_number=123,
    batch_id="RPM202611A",
    created_at=datetime(2026, 12, 1, 1, 5, tzinfo=UTC),
    usage="T",
)


def claim_frame(*claims: dict[str, object]) -> pl.DataFrame:
    """Make a claims frame: each claim is `CLAIM` with what is given instead."""
    return pl.DataFrame([CLAIM | claim for claim in claims], schema=CLAIM_COLUMNS)


def line_frame(*lines: dict[str, object]) -> pl.DataFrame:
    """Make a lines frame: each line is `LINE` with what is given instead."""
    return pl.DataFrame([LINE | line for line in lines], schema=LINE_COLUMNS)


def example() -> tuple[pl.DataFrame, pl.DataFrame]:
    """One claim of three lines."""
    third = ADD_ON | {"line_number": 3, "line_control_number": "RPM2611A0000017-03"}
    return claim_frame({}), line_frame(LINE, ADD_ON, third)


def many(claims: int, lines: int = 3) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Any number of claims of two billing providers, each with a 99457 and 99458s."""
    one, _ = example()
    index = pl.col("index")
    heads = pl.DataFrame({"index": range(claims)}).join(one, how="cross")
    heads = heads.with_columns(
        claim_number=pl.format("R2611{}1", index.cast(pl.String).str.zfill(11)),
        total_charge=pl.lit(60 + 50 * (lines - 1)).cast(pl.Decimal(12, 2)),
        billing_npi=pl.when(index % 3 == 0).then("billing_npi").otherwise("rendering_npi"),
        subscriber_last_name=pl.format("DOE{}", index % 997),
        subscriber_address_line=pl.format("{} OAK AVE", index % 9973),
        subscriber_birth_date=pl.date(1930, 1, 1) + pl.duration(days=index % 9973),
    )
    first = pl.col("line_number") == 1
    rows = pl.DataFrame({"line_number": range(1, lines + 1)}).with_columns(
        code=pl.when(first).then(pl.lit("99457")).otherwise(pl.lit("99458")),
        charge=pl.when(first).then(60).otherwise(50).cast(pl.Decimal(12, 2)),
    )
    rest = line_frame({}).drop("claim_number", "line_number", "code", "charge", "line_control_number")
    suffix = pl.col("line_number").cast(pl.String).str.zfill(2)
    made = heads.select("claim_number", "index").join(rows, how="cross").join(rest, how="cross")
    made = made.with_columns(
        line_control_number=pl.format("{}-{}", "claim_number", suffix),
        date_of_service=pl.date(2026, 11, 1) + pl.duration(days=index % 29),
        modifiers=pl.when(~first & (index % 5 == 0)).then(pl.lit(["76"])).otherwise("modifiers"),
    )
    # Copied row by row: a column of one repeated value would flatter whoever measures with it.
    everything = pl.Series(range(claims)), pl.Series(range(claims * lines))
    return (
        heads.select(CLAIM_COLUMNS.keys())[everything[0]],
        made.select(LINE_COLUMNS.keys())[everything[1]],
    )
