"""Values: X12 text as dates, amounts and counts; what cannot be read becomes null, for the caller to report.

The readers of this room use it. What a value is for does not belong here.
"""

import polars as pl

# Eighteen digits of an R element, two of them cents: more than any sum of money in a remittance.
AMOUNT = pl.Decimal(18, 2)
QUANTITY = pl.Decimal(18, 4)


def as_date(text: pl.Expr) -> pl.Expr:
    """Read CCYYMMDD, or YYMMDD as old versions have it; there is no year 0."""
    return pl.coalesce(
        pl.when(~text.str.starts_with("0000")).then(text).str.to_date("%Y%m%d", strict=False),
        pl.when(text.str.len_bytes() == 6).then(text).str.to_date("%y%m%d", strict=False),
    )


def as_amount(text: pl.Expr) -> pl.Expr:
    """Read a decimal of at most two places; null when it is none, or has a third place that is not zero."""
    return pl.when(text.str.contains(r"^[+-]?([0-9]{1,16}(\.[0-9]{0,2}0*)?|\.[0-9]{1,2}0*)$")).then(
        text.cast(AMOUNT, strict=False)
    )


def as_quantity(text: pl.Expr) -> pl.Expr:
    """Read a decimal of at most four places."""
    return pl.when(text.str.contains(r"^[+-]?([0-9]{1,14}(\.[0-9]{0,4}0*)?|\.[0-9]{1,4}0*)$")).then(
        text.cast(QUANTITY, strict=False)
    )
