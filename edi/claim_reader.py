"""Claims read back: the 837P of anybody as the frames `edi.claim_837p` writes.

The sandbox payer and the checks use it on our files, `check-x12` on those of others. It is tolerant: what a
file does not say, or says unreadably, is null. Judging it is `edi.edits`' work.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from edi.claim_columns import MONEY
from edi.claim_places import DIAGNOSIS_QUALIFIERS, Places, find_places, first_between, qualified, take
from edi.segments import Document
from edi.values import as_amount, as_date

_CLAIM_PATHS: Final = {
    "claim_number": "2300/CLM-01",
    "total_charge": "2300/CLM-02",
    "place_of_service_code": "2300/CLM-05-1",
    "frequency_code": "2300/CLM-05-3",
    "assignment_code": "2300/CLM-07",
    "benefits_assignment_code": "2300/CLM-08",
    "release_code": "2300/CLM-09",
    "payer_claim_control_number": "2300/REF*F8-02",
    "medical_record_number": "2300/REF*EA-02",
    "billing_npi": "2010AA/NM1-09",
    "billing_name": "2010AA/NM1-03",
    "billing_tax_id": "2010AA/REF*EI-02",
    "billing_taxonomy_code": "2000A/PRV-03",
    "billing_address_line": "2010AA/N3-01",
    "billing_city": "2010AA/N4-01",
    "billing_state": "2010AA/N4-02",
    "billing_postal_code": "2010AA/N4-03",
    "subscriber_last_name": "2010BA/NM1-03",
    "subscriber_first_name": "2010BA/NM1-04",
    "subscriber_middle_name": "2010BA/NM1-05",
    "member_id": "2010BA/NM1-09",
    "subscriber_address_line": "2010BA/N3-01",
    "subscriber_city": "2010BA/N4-01",
    "subscriber_state": "2010BA/N4-02",
    "subscriber_postal_code": "2010BA/N4-03",
    "subscriber_birth_date": "2010BA/DMG-02",
    "subscriber_sex": "2010BA/DMG-03",
    "claim_filing_code": "2000B/SBR-09",
    "payer_name": "2010BB/NM1-03",
    "payer_id": "2010BB/NM1-09",
    "rendering_npi": "2310B/NM1-09",
    "rendering_last_name": "2310B/NM1-03",
    "rendering_first_name": "2310B/NM1-04",
    "rendering_taxonomy_code": "2310B/PRV-03",
}
_LINE_PATHS: Final = {
    "line_number": "2400/LX-01",
    "code": "2400/SV1-01-2",
    "charge": "2400/SV1-02",
    "units": "2400/SV1-04",
    "date_of_service": "2400/DTP*472-03",
    "line_control_number": "2400/REF*6R-02",
}


@dataclass(frozen=True)
class ClaimFrames:
    """What an 837P says.

    Attributes:
        claims: The columns `write_claims` takes; also `claim` (from 1 in file order), `transaction` and
            `segment` (of the CLM).
        lines: The columns `write_claims` takes; also `claim` and `segment` (of the LX, else the SV1).
        transactions: The document's 837 transaction sets with `batch_id` (BHT03), `submitter_id`,
            `submitter_name`, `receiver_name` and `claim_count`.
    """

    claims: pl.DataFrame
    lines: pl.DataFrame
    transactions: pl.DataFrame


def read_claims(document: Document) -> ClaimFrames:
    """Read every professional claim of a document."""
    places = find_places(document)
    claims = _read_claim_rows(places)
    return ClaimFrames(claims, _read_line_rows(places, claims["claim_number"]), _read_transactions(places))


def _read_claim_rows(places: Places) -> pl.DataFrame:
    clm = places.claims["2300/CLM"]
    texts = take(places.document, places.claims, _CLAIM_PATHS.values()).select(
        pl.col(path).alias(name) for name, path in _CLAIM_PATHS.items()
    )
    diagnoses = (
        places.diagnoses()
        .filter(pl.col("qualifier").is_in(DIAGNOSIS_QUALIFIERS) & pl.col("code").is_not_null())
        .group_by("claim", maintain_order=True)
        .agg(diagnosis_codes="code")
    )
    no_codes = pl.lit([], dtype=pl.List(pl.String))
    return (
        texts.with_columns(
            as_amount(pl.col("total_charge")).cast(MONEY, strict=False),
            as_date(pl.col("subscriber_birth_date")),
            claim=pl.int_range(pl.len(), dtype=pl.Int64),
            transaction=pl.Series(places.claim_transaction, dtype=pl.Int64),
            segment=pl.Series(places.document.number(clm), dtype=pl.Int64),
        )
        .join(diagnoses, on="claim", how="left", maintain_order="left")
        .with_columns(pl.col("diagnosis_codes").fill_null(no_codes), pl.col("claim") + 1)
    )


def _read_line_rows(places: Places, claim_numbers: pl.Series) -> pl.DataFrame:
    document = places.document
    sv1 = places.lines["2400/SV1"]
    start = np.where(places.lines["2400/LX"] < 0, sv1, places.lines["2400/LX"])
    modifiers = document.components(sv1, 1).alias("modifiers")
    pointers = document.components(sv1, 7).alias("diagnosis_pointers")
    return (
        take(document, places.lines, _LINE_PATHS.values())
        .select(pl.col(path).alias(name) for name, path in _LINE_PATHS.items())
        .with_columns(
            pl.col("line_number").cast(pl.Int64, strict=False),
            as_amount(pl.col("charge")).cast(MONEY, strict=False),
            as_amount(pl.col("units")).cast(pl.Int64, strict=False),
            # Of a range of dates (RD8) the first day counts.
            as_date(pl.col("date_of_service").str.slice(0, 8)),
            modifiers.list.slice(2, 4).list.drop_nulls().fill_null([]),
            pointers.list.eval(pl.element().cast(pl.Int64, strict=False)).list.drop_nulls().fill_null([]),
            claim_number=claim_numbers.gather(places.line_claim),
            claim=pl.Series(places.line_claim + 1, dtype=pl.Int64),
            segment=pl.Series(document.number(start), dtype=pl.Int64),
        )
    )


def _read_transactions(places: Places) -> pl.DataFrame:
    document = places.document
    sets = document.transactions.filter(type="837")
    start, end = (sets[name].to_numpy() - document.number([0]) for name in ("first_segment", "last_segment"))

    nm1 = qualified(document, "NM1")
    submitter = first_between(nm1("41"), start, end + 1)
    receiver = first_between(nm1("40"), start, end + 1)
    bht = first_between(document.rows("BHT"), start, end + 1)
    counts = np.bincount(places.claim_transaction, minlength=document.transactions.height + 1)
    return sets.with_columns(
        batch_id=document.element(bht, 3),
        submitter_name=document.element(submitter, 3),
        submitter_id=document.element(submitter, 9),
        receiver_name=document.element(receiver, 3),
        claim_count=pl.Series(counts[sets["transaction"].to_numpy()], dtype=pl.Int64),
    )
