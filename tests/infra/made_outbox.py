"""An outbox for the payer's tests: any number of plain claims of the sandbox's practices, as one 837P."""

from datetime import date, datetime
from typing import Final

import numpy as np
import polars as pl

from edi.claim_837p import write_claims
from edi.envelope import Interchange
from infra.sandbox.people import member_ids
from infra.sandbox.practices import table

_SERVED: Final = date(2026, 10, 28)
_PRICES: Final = {"99457": 95, "99458": 80}
_UNITS_PAYEE: Final = "1203456730"  # This one's payer takes one 99458 line with units.


def write_outbox(claims: int, *, control_number: int = 1, claims_per_set: int = 5000) -> bytes:
    """Write claims with nothing, one, two or three add-on units; every ninth goes to an Advantage plan."""
    interchange = Interchange(
        sender_id="RPMSUB01",
        receiver_id="SANDBOXCH",
        receiver_name="Sandbox Clearinghouse",
        submitter_name="RPM PRACTICES",
        contact_name="EDI DESK",
        contact_phone="5555550100",
        control_number=control_number,
        group_control_number=control_number,
        batch_id=f"RPM202610-{control_number:09}",
        created_at=datetime(2026, 11, 20, 10, 30),  # noqa: DTZ001 - X12 clocks know no zone
        usage="T",
        max_claims_per_transaction=claims_per_set,
    )
    drawn = _drawn(claims, control_number)
    lines = _lines(drawn)
    totals = lines.group_by("claim_number").agg(total_charge=pl.col("charge").sum())
    whole = _whole(drawn).join(totals, on="claim_number", maintain_order="left")
    return write_claims(whole, lines, interchange)


def _drawn(claims: int, control_number: int) -> pl.DataFrame:
    numbers = np.arange(claims)
    practices = table("practices.csv").rename({"npi": "billing_npi"})
    dealt = practices[(numbers % len(practices)).tolist()]
    return dealt.with_columns(
        claim_number=pl.format(
            "R{}{}26100", pl.Series(numbers).cast(pl.String).str.zfill(8), pl.lit(f"{control_number:03}")
        ),
        member_id=member_ids(numbers + control_number * 1_000_000),
        add_ons=pl.Series(numbers % 5 - 1).clip(0, 3),
        is_advantage=pl.Series(numbers % 9 == 4),
    )


def _whole(drawn: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, dtype=pl.String)
    is_advantage = pl.col("is_advantage")
    fixed = {
        "place_of_service_code": "11", "frequency_code": "1", "benefits_assignment_code": "Y",
        "release_code": "Y", "subscriber_last_name": "O'Brien", "subscriber_first_name": "Zoë",
        "subscriber_address_line": "1 Oak Ave", "subscriber_city": "Dallas", "subscriber_state": "TX",
        "subscriber_postal_code": "75001", "subscriber_sex": "F", "rendering_npi": "1900000005",
        "rendering_last_name": "Smith", "rendering_first_name": "Alex",
        "rendering_taxonomy_code": "207R00000X",
    }  # fmt: skip
    return drawn.select(
        "claim_number", "billing_npi", "member_id",
        assignment_code=pl.when(pl.col("participating") == "true").then(pl.lit("A")).otherwise(pl.lit("C")),
        billing_name="name", billing_tax_id="tax_id", billing_taxonomy_code="taxonomy_code",
        billing_address_line="address_line", billing_city="city", billing_state="state",
        billing_postal_code="postal_code",
        payer_id=pl.when(is_advantage).then(pl.lit("SLVRMA")).otherwise("mac_contract"),
        payer_name=pl.when(is_advantage).then(pl.lit("Silverline")).otherwise(pl.lit("Medicare Part B")),
        claim_filing_code=pl.when(is_advantage).then(pl.lit("16")).otherwise(pl.lit("MB")),
        diagnosis_codes=pl.lit(["I10", "E119"]),
        subscriber_birth_date=pl.lit(date(1948, 1, 2)),
        subscriber_middle_name=nothing, payer_claim_control_number=nothing, medical_record_number=nothing,
        **{name: pl.lit(value) for name, value in fixed.items()},
    )  # fmt: skip


def _lines(drawn: pl.DataFrame) -> pl.DataFrame:
    takes_units = pl.col("billing_npi") == _UNITS_PAYEE
    number, is_first = pl.col("line_number"), pl.col("line_number") == 1
    repeats = pl.col("is_advantage") & (number > 2)
    return (
        drawn.with_columns(line_number=pl.int_ranges(1, pl.col("add_ons") + 2))
        .explode("line_number")
        .filter(~takes_units | (number <= 2))
        .with_columns(
            code=pl.when(is_first).then(pl.lit("99457")).otherwise(pl.lit("99458")),
            units=pl.when(takes_units & ~is_first).then("add_ons").otherwise(1),
        )
        .select(
            "claim_number", "line_number", "code", "units",
            charge=(pl.col("code").replace_strict(_PRICES) * pl.col("units")).cast(pl.Decimal(12, 2)),
            modifiers=pl.when(repeats).then(pl.lit(["76"])).otherwise(pl.lit([], dtype=pl.List(pl.String))),
            date_of_service=pl.lit(_SERVED),
            line_control_number=pl.format("{}-0{}", "claim_number", number),
            diagnosis_pointers=pl.lit([1, 2]),
        )
    )  # fmt: skip
