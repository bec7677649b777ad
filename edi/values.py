"""Values: X12 text as dates, amounts and counts; what cannot be read becomes null, for the caller to report.

The readers of this room use it. What a value is for does not belong here.
"""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import polars as pl

# Eighteen digits of an R element, two of them cents: more than any sum of money in a remittance.
AMOUNT = pl.Decimal(18, 2)
QUANTITY = pl.Decimal(18, 4)
_LONGEST_PLAIN = 14  # characters that hold no more digits than either of them
_POINT = ord(".")
_CENT = Decimal("0.01")


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


def in_money(cents: pl.Expr) -> pl.Expr:
    """Show cents, as many as there are, with two decimals."""
    return cents.cast(pl.Decimal(38, 0)) * _CENT


def to_amounts(texts: pl.Series) -> pl.Series:
    """Read a column as `as_amount` does."""
    return _read(texts, AMOUNT, as_amount)


def to_quantities(texts: pl.Series) -> pl.Series:
    """Read a column as `as_quantity` does."""
    return _read(texts, QUANTITY, as_quantity)


def _read(texts: pl.Series, kind: pl.Decimal, look_at_each: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Read decimals; a column that Polars cannot misread is not looked at text by text."""
    if _is_plain(texts, kind.scale):
        return texts.cast(kind, strict=False)
    return texts.to_frame("text").select(look_at_each(pl.col("text"))).to_series().alias(texts.name)


def _is_plain(texts: pl.Series, scale: int) -> bool:
    """Tell from the bytes of a column that it holds neither an exponent nor too many decimals.

    Nothing else is there that a cast would read as another number than it says.
    """
    arrow = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = arrow.buffers()
    bounds = np.frombuffer(offsets or bytes(8), np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    whole = bytes(data or b"")[bounds[0] : bounds[-1]]
    if b"e" in whole or b"E" in whole or np.diff(bounds).max(initial=0) > _LONGEST_PLAIN:
        return False
    is_bound = np.zeros(len(whole) + scale + 2, np.bool_)
    is_bound[bounds - bounds[0]] = True
    is_long = np.frombuffer(whole, np.uint8) == _POINT
    for place in range(1, scale + 2):
        is_long &= ~is_bound[place : place + len(whole)]
    return not is_long.any()
