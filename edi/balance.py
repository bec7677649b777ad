"""Balance: whether the money of an 835 adds up, and the findings where it does not.

`edi.remittance` calls it on the tables of each part of a file, and for payments on the totals of all parts.
An absent amount counts as nothing and is reported; an unreadable one balances with nothing. No value is
changed.

Source: ASC X12N 005010X221A1, balancing: SVC02 - CAS = SVC03; CLP03 - all CAS = CLP04, and the sum of SVC03
is CLP04 when no CAS stands at claim level; sum of CLP04 - PLB = BPR02.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edi.findings import NONE, findings, number
from edi.nesting import Rows
from edi.values import AMOUNT

_NOTHING = pl.lit(0, pl.Decimal(38, 2))
_CENT = Decimal("0.01")
_LOOP = pl.when(pl.col("line").is_null()).then(pl.lit("2100")).otherwise(pl.lit("2110"))
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


def _money(cents: str) -> pl.Expr:
    return pl.col(cents).cast(pl.Decimal(38, 0)) * _CENT


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
            computed_text=cents.cast(pl.Decimal(38, 0)) * _CENT,
            is_readable=pl.col("amount").is_not_null() & (unreadable == 0),
        )
        .with_columns(
            is_balanced=(pl.col("is_readable") & (pl.col("computed_text") == pl.col("amount"))).fill_null(
                value=False
            )
        )
        .drop("paid", "withheld", "paid_unreadable", "withheld_unreadable")
    )


def payment_balance_faults(payments: pl.DataFrame) -> pl.DataFrame:
    """Report payments that are readable and do not add up."""
    return findings(
        payments.filter(pl.col("is_readable") & ~pl.col("is_balanced")),
        "payment_balance",
        pl.format(
            "The claims less the provider adjustments come to {}, but BPR02 says {}. Do not post it.",
            "computed_text",
            "amount",
        ),
        element="BPR02",
        found=pl.col("amount").cast(pl.String),
        expected=pl.col("computed_text").cast(pl.String),
    )


def payment_faults(payments: pl.DataFrame, provider_adjustments: pl.DataFrame) -> list[pl.DataFrame]:
    """Report what a payment lacks or what cannot be read in it."""
    if payments.is_empty() and provider_adjustments.is_empty():
        return []  # as in the middle of a large file
    return [
        *_amount_faults(payments, "amount", None, "BPR02"),
        *_amount_faults(provider_adjustments, "amount", None, "PLB{}"),
        findings(
            payments.filter(pl.col("trace_number").is_null()),
            "missing_trace_number",
            "The payment has no trace number, so it cannot be matched with a deposit.",
            element="TRN02",
        ),
        findings(
            payments.filter(pl.col("payment_date").is_null() & pl.col("payment_date_text").is_not_null()),
            "unreadable_date",
            "The payment date is not a date of the form CCYYMMDD.",
            element="BPR16",
        ),
    ]


def claim_faults(claims: pl.DataFrame, lines: pl.DataFrame, adjustments: pl.DataFrame) -> list[pl.DataFrame]:
    """Report claims and lines that lack something, cannot be read or do not add up."""
    return [
        *_amount_faults(claims, "charge", "2100", "CLP03"),
        *_amount_faults(claims, "paid", "2100", "CLP04"),
        *_amount_faults(lines, "charge", "2110", "SVC02"),
        *_amount_faults(lines, "paid", "2110", "SVC03"),
        *_amount_faults(adjustments, "amount", None, "CAS{}"),
        *(
            findings(
                _without(claims, column),
                f"missing_{column}",
                f"The claim has no {name}.",
                loop="2100",
                element=element,
            )
            for column, name, element in (
                ("claim_number", "claim number of ours, so a person must match it", "CLP01"),
                ("status_code", "status code", "CLP02"),
            )
        ),
        findings(
            _without(lines, "claim"),
            "line_without_claim",
            "The service line stands in no claim.",
            loop="2110",
            element="SVC",
        ),
        _balance_faults(lines, "line_balance", "2110", "SVC02", "SVC03"),
        _balance_faults(claims, "claim_balance", "2100", "CLP03", "CLP04"),
        *_lines_faults(claims),
    ]


def _lines_faults(claims: pl.DataFrame) -> list[pl.DataFrame]:
    """Report claims that are not paid what their lines are."""
    if not claims["is_unlike_lines"].any():
        return []
    together = _money("lines_paid_cents")
    message = "The lines of the claim are paid {} together, CLP04 says {}."
    return [
        findings(
            claims.filter("is_unlike_lines"),
            "claim_lines_balance",
            pl.format(message, together, "paid"),
            loop="2100",
            element="CLP04",
            found=pl.col("paid").cast(pl.String),
            expected=together.cast(pl.String),
        )
    ]


def value_faults(dates: pl.DataFrame, amounts: pl.DataFrame) -> list[pl.DataFrame]:
    """Report dates and amounts beside the money that cannot be read."""
    return [
        findings(
            _unread(dates, "date"),
            "unreadable_date",
            "The date is not a date of the form CCYYMMDD.",
            loop=_LOOP,
            element="DTM02",
        ),
        findings(
            _unread(amounts, "amount"),
            "unreadable_amount",
            "AMT02 is not an amount of at most two decimals.",
            loop=_LOOP,
            element="AMT02",
        ),
    ]


def _balance_faults(frame: pl.DataFrame, rule: str, loop: str, charge: str, paid: str) -> pl.DataFrame:
    if frame["is_balanced"].all():
        return NONE
    charged, adjusted = _or_nothing("charge"), _money("adjusted_cents")
    return findings(
        frame.filter(pl.col("is_readable") & ~pl.col("is_balanced")),
        rule,
        pl.format(
            f"{charge} {{}} less adjustments of {{}} is {{}}, but {paid} says {{}}. Do not post it.",
            charged,
            adjusted,
            charged - adjusted,
            _or_nothing("paid"),
        ),
        loop=loop,
        element=paid,
        found=pl.col("paid").cast(pl.String),
        expected=(charged - adjusted).cast(pl.String),
    )


def _or_nothing(column: str) -> pl.Expr:
    """Show an absent amount as nothing."""
    value = pl.when(pl.col(f"{column}_text").is_null()).then(pl.lit(0, AMOUNT)).otherwise(pl.col(column))
    return value.cast(pl.Decimal(38, 2))


def _amount_faults(frame: pl.DataFrame, column: str, loop: str | None, name: str) -> list[pl.DataFrame]:
    """Report amounts that are missing or unreadable; `name` is the element, {} that of its position."""
    if not frame[column].null_count():
        return []
    place = _LOOP if loop is None and "line" in frame.columns else pl.lit(loop)
    at_position = (pl.col("position") + 1).cast(pl.String).str.zfill(2)
    element = pl.format(name, at_position) if "{}" in name else pl.lit(name)
    text = f"{column}_text"
    return [
        findings(
            frame.filter(pl.col(text).is_null()),
            "missing_amount",
            pl.format("{} is empty; it is taken as 0.", element),
            loop=place,
            element=element,
        ),
        findings(
            frame.filter(pl.col(text).is_not_null() & pl.col(column).is_null()),
            "unreadable_amount",
            pl.format("{} is not an amount of at most two decimals; nothing balances with it.", element),
            loop=place,
            element=element,
            found=number(text),
        ),
    ]


def _unread(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Keep the rows whose text is there and could not be read."""
    if not frame[column].null_count():
        return frame.head(0)
    return frame.filter(pl.col(column).is_null() & pl.col(f"{column}_text").is_not_null())


def _without(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Keep the rows that lack a value; nearly always there is none."""
    return frame.filter(pl.col(column).is_null()) if frame[column].null_count() else frame.head(0)
