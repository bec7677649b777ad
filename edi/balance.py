"""Balance: whether the money of an 835 adds up.

`edi.remittance` calls it on the tables of each part of a file, and for payments on the totals of all parts;
`edi.remittance_faults` says where it does not add up.
An absent amount counts as nothing and is reported; an unreadable one balances with nothing. No value is
changed.

Source: ASC X12N 005010X221A1, balancing: SVC02 - CAS = SVC03; CLP03 - all CAS = CLP04, and the sum of SVC03
is CLP04 when no CAS stands at claim level; sum of CLP04 - PLB = BPR02.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edi.nesting import Rows
from edi.values import in_money

# Beyond half of 64 bits, the difference of two sums could outgrow them.
_LARGEST_SUM = np.iinfo(np.int64).max // 2

_Cents = npt.NDArray[Any]  # 64 bits wide, or Python's own integers where that is too narrow
_Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Sums:
    """What the rows of each owner come to."""

    cents: _Cents
    row_count: Rows
    unreadable_count: Rows


def _added(owned: pl.DataFrame, owner: str, column: str, numbers: Rows) -> _Sums:
    """Add up the rows of each owner; `numbers` are the owners', one after the other without a gap.

    The rows stand in file order, so an owner has one stretch of them, and its sum is the difference of two
    running sums: much cheaper than to group and to join.
    """
    owned = owned if not owned[owner].null_count() else owned.filter(pl.col(owner).is_not_null())
    cents, is_readable = _counted(owned, column)
    first = numbers[0] if len(numbers) else 0
    row_count = np.bincount(owned[owner].to_numpy() - first, minlength=len(numbers))
    end = np.cumsum(row_count)
    return _Sums(_between(cents, end), row_count, _between(~is_readable, end))


def _between(values: npt.NDArray[Any], ends: Rows) -> npt.NDArray[Any]:
    """Add up the values of each stretch, given where it ends."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
    return np.diff(running[ends], prepend=0)


def _counted(frame: pl.DataFrame, column: str) -> tuple[_Cents, _Marks]:
    """Take amounts in cents, an absent one as nothing; an unreadable one is marked by False."""
    amounts = frame[column]
    cents = _cents(amounts)
    if not amounts.null_count():
        return cents, np.ones(len(frame), np.bool_)
    return cents, (amounts.is_not_null() | frame[f"{column}_text"].is_null()).to_numpy()


def _cents(amounts: pl.Series) -> _Cents:
    """Take amounts in cents, none as 0."""
    # AMOUNT has eighteen digits, so the lower half of its 128 bits says all.
    arrow = amounts.to_arrow()
    halves = np.frombuffer(arrow.buffers()[1] or b"", np.int64)
    cents = halves[::2][arrow.offset : arrow.offset + len(arrow)]
    if amounts.null_count():
        cents = np.where(amounts.is_null(), 0, cents)
    largest = max(int(cents.max(initial=0)), -int(cents.min(initial=0)))
    return cents.astype(object) if largest * (len(cents) + 1) > _LARGEST_SUM else cents


def balance_lines(lines: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: SVC02 less the adjustments of the line is SVC03."""
    return lines.hstack(_balanced(lines, _added(adjustments, "line", "amount", lines["line"].to_numpy())))


def balance_claims(claims: pl.DataFrame, lines: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: CLP03 less all adjustments of the claim and of its lines is CLP04.

    `is_unlike_lines` says that CLP04 is not `lines_paid_cents`, the sum of SVC03. It need not be without
    lines, or beside a CAS of the claim itself.
    """
    numbers = claims["claim"].to_numpy()
    by_line, (paid, is_readable) = _added(lines, "claim", "paid", numbers), _counted(claims, "paid")
    is_unlike = (by_line.cents != paid) & is_readable & (by_line.unreadable_count == 0)
    is_unlike &= by_line.row_count > 0
    if adjustments["line"].null_count():
        at_claim = adjustments.filter(pl.col("line").is_null())["claim"].to_numpy()
        is_unlike[at_claim - numbers[0]] = False
    return claims.hstack(
        [
            *_balanced(claims, _added(adjustments, "claim", "amount", numbers)),
            _series("lines_paid_cents", by_line.cents),
            pl.Series("is_unlike_lines", is_unlike),
        ]
    )


def _balanced(frame: pl.DataFrame, adjusted: _Sums) -> list[pl.Series]:
    charge, has_charge = _counted(frame, "charge")
    paid, has_paid = _counted(frame, "paid")
    is_readable = has_charge & has_paid & (adjusted.unreadable_count == 0)
    return [
        _series("adjusted_cents", adjusted.cents),
        pl.Series("is_readable", is_readable),
        pl.Series("is_balanced", is_readable & (charge - adjusted.cents == paid)),
    ]


def _series(name: str, cents: _Cents) -> pl.Series:
    """Make a column of cents; a part of sums beyond 64 bits has wider ones than its neighbours."""
    return pl.Series(name, cents) if cents.dtype == np.int64 else pl.Series(name, cents.tolist(), pl.Int128)


def payment_totals(claims: pl.DataFrame, provider_adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add up CLP04 and PLB by payment, for one part of a file."""
    frames = {"paid": (claims, "paid"), "withheld": (provider_adjustments, "amount")}
    bounds = [
        bound(frame["payment"].to_numpy())
        for frame, _ in frames.values()
        if len(frame)
        for bound in (np.min, np.max)
    ]
    numbers = np.arange(min(bounds, default=0), max(bounds, default=-1) + 1)
    totals = pl.DataFrame({"payment": numbers}, schema={"payment": pl.Int64})
    for name, (frame, column) in frames.items():
        sums = _added(frame, "payment", column, numbers)
        totals = totals.hstack(
            [
                _series(name, sums.cents).cast(pl.Int128),
                pl.Series(f"{name}_unreadable", sums.unreadable_count),
            ]
        )
    return totals


def balance_payments(payments: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: the sum of CLP04 less the sum of PLB is BPR02."""
    by_payment = totals.group_by("payment").agg(pl.exclude("payment").sum())
    cents = pl.col("paid").fill_null(0) - pl.col("withheld").fill_null(0)
    unreadable = pl.col("paid_unreadable").fill_null(0) + pl.col("withheld_unreadable").fill_null(0)
    return (
        payments.join(by_payment, on="payment", how="left", maintain_order="left")
        .with_columns(
            computed_text=in_money(cents),
            is_readable=pl.col("amount").is_not_null() & (unreadable == 0),
        )
        .with_columns(
            is_balanced=(pl.col("is_readable") & (pl.col("computed_text") == pl.col("amount"))).fill_null(
                value=False
            )
        )
        .drop("paid", "withheld", "paid_unreadable", "withheld_unreadable")
    )
