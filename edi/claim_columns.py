"""The columns of an 837P's frames, and what of a text the file can hold.

`edi.claim_837p` writes frames of these columns, `edi.claim_reader` reads them. Which of our own columns fills
them belongs to the caller.
"""

from typing import Final

import polars as pl

from edi.envelope import UNFOLDED, fold

MONEY: Final = pl.Decimal(12, 2)
_TEXTS: Final = pl.List(pl.String)
# One row per claim. The billing columns become one HL 20 for each different provider of a transaction set.
CLAIM_COLUMNS: Final[dict[str, pl.DataType]] = {
    "claim_number": pl.String(),  # CLM01
    "total_charge": MONEY,  # CLM02
    "place_of_service_code": pl.String(),  # CLM05-1
    "frequency_code": pl.String(),  # CLM05-3
    "assignment_code": pl.String(),  # CLM07
    "benefits_assignment_code": pl.String(),  # CLM08
    "release_code": pl.String(),  # CLM09
    "payer_claim_control_number": pl.String(),  # REF*F8, may be null
    "medical_record_number": pl.String(),  # REF*EA, may be null
    "diagnosis_codes": _TEXTS,  # HI, the first as ABK
    "billing_npi": pl.String(),  # 2010AA NM109
    "billing_name": pl.String(),
    "billing_tax_id": pl.String(),  # REF*EI
    "billing_taxonomy_code": pl.String(),  # 2000A PRV03, may be null
    "billing_address_line": pl.String(),
    "billing_city": pl.String(),
    "billing_state": pl.String(),
    "billing_postal_code": pl.String(),
    "subscriber_last_name": pl.String(),  # 2010BA NM103
    "subscriber_first_name": pl.String(),
    "subscriber_middle_name": pl.String(),  # NM105, may be null
    "member_id": pl.String(),  # 2010BA NM109
    "subscriber_address_line": pl.String(),
    "subscriber_city": pl.String(),
    "subscriber_state": pl.String(),
    "subscriber_postal_code": pl.String(),
    "subscriber_birth_date": pl.Date(),  # DMG02
    "subscriber_sex": pl.String(),  # DMG03
    "claim_filing_code": pl.String(),  # SBR09
    "payer_name": pl.String(),  # 2010BB NM103
    "payer_id": pl.String(),  # 2010BB NM109
    "rendering_npi": pl.String(),  # 2310B NM109; null when the billing provider renders
    "rendering_last_name": pl.String(),
    "rendering_first_name": pl.String(),
    "rendering_taxonomy_code": pl.String(),  # 2310B PRV03, may be null
}
LINE_COLUMNS: Final[dict[str, pl.DataType]] = {
    "claim_number": pl.String(),
    "line_number": pl.Int64(),  # the order of LX01
    "code": pl.String(),  # SV101-2
    "modifiers": _TEXTS,  # SV101-3 to 6
    "charge": MONEY,  # SV102
    "units": pl.Int64(),  # SV104
    "date_of_service": pl.Date(),  # DTP*472
    "line_control_number": pl.String(),  # REF*6R, may be null
    "diagnosis_pointers": pl.List(pl.Int64()),  # SV107
}
LONGEST: Final = {
    "billing_name": 60,
    "billing_address_line": 55,
    "billing_city": 30,
    "subscriber_last_name": 60,
    "subscriber_first_name": 35,
    "subscriber_middle_name": 25,
    "subscriber_address_line": 55,
    "subscriber_city": 30,
    "payer_name": 60,
    "rendering_last_name": 60,
    "rendering_first_name": 35,
}


def as_written(frame: pl.DataFrame) -> pl.DataFrame:
    """Make of claims or lines what a file will say: text folded and cut, empty text null, empty lists empty.

    Reading a written file back gives these values. The order of the rows may change.
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    lists = [name for name, kind in frame.schema.items() if kind == _TEXTS]
    # One search through a row's text finds what folding would change, whatever column it sits in; only the
    # rows that need it pay for it.
    row = pl.concat_str(
        *texts,
        *(pl.col(name).list.join("!", ignore_nulls=True) for name in lists),
        separator="!",
        ignore_nulls=True,
    )
    is_long = (pl.col(name).str.len_bytes() > most for name, most in LONGEST.items() if name in texts)
    is_empty = [pl.col(name).str.len_bytes() == 0 for name in texts]
    is_empty += [pl.col(name).list.contains("") for name in lists]
    is_changed = pl.any_horizontal(row.str.contains(UNFOLDED + "| !|! "), *is_long, *is_empty)
    marked = frame.with_columns(
        pl.col(name).list.drop_nulls().fill_null([]) for name, kind in frame.schema.items() if kind == pl.List
    ).with_columns(is_changed=is_changed.fill_null(value=False))
    if not marked["is_changed"].any():
        return marked.drop("is_changed")
    changed = marked.filter("is_changed").with_columns(
        *(_cut(pl.col(name), LONGEST.get(name)).replace("", None) for name in texts),
        *(pl.col(name).list.eval(fold(pl.element())).list.eval(_filled()) for name in lists),
    )
    return pl.concat([marked.filter(~pl.col("is_changed")), changed]).drop("is_changed")


def _cut(text: pl.Expr, longest: int | None) -> pl.Expr:
    return fold(text).str.slice(0, longest).str.strip_chars_end(" ")


def _filled() -> pl.Expr:
    return pl.element().filter(pl.element().str.len_bytes() > 0)
