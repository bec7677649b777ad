"""Balance: whether the money of an 835 adds up, and the findings where it does not.

`edi.remittance` calls it on the tables of each part of a file, and for payments on the totals of all parts.
An absent amount counts as nothing and is reported; an unreadable one balances with nothing. No value is
changed.

Source: ASC X12N 005010X221A1, balancing: SVC02 - CAS = SVC03; CLP03 - all CAS = CLP04, and the sum of SVC03
is CLP04 when no CAS stands at claim level; sum of CLP04 - PLB = BPR02.
"""

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


def _counted(column: str) -> pl.Expr:
    """Take an absent amount as nothing; an unreadable one stays null."""
    value = pl.when(pl.col(f"{column}_text").is_null()).then(pl.lit(0, AMOUNT)).otherwise(pl.col(column))
    return value.cast(pl.Decimal(38, 2))


def _with_sums(
    owners: pl.DataFrame, frame: pl.DataFrame, owner: str, column: str, total: str
) -> pl.DataFrame:
    """Put beside each owner the sum of its rows of `frame`, and how many of its amounts cannot be read.

    The sum is null for an owner without rows.

    Both frames stand in file order, so an owner has one stretch of rows, and its sum is the difference of two
    running sums: much cheaper than to group and to join.
    """
    owned = frame if not frame[owner].null_count() else frame.filter(pl.col(owner).is_not_null())
    amounts = owned[column]
    numbers, of_rows = owners[owner].to_numpy(), owned[owner].to_numpy()
    start, end = (np.searchsorted(of_rows, numbers, side=side) for side in ("left", "right"))
    sums = _between(_cents(amounts), start, end)
    unreadable: pl.Series | pl.Expr = pl.lit(0, pl.Int64)
    if amounts.null_count():
        is_unreadable = amounts.is_null() & owned[f"{column}_text"].is_not_null()
        unreadable = _between(is_unreadable.to_numpy(), start, end)
    return owners.with_columns(
        pl.when(pl.Series(end > start)).then(sums.cast(pl.Decimal(38, 0)) * _CENT).alias(total),
        unreadable.alias(f"{total}_unreadable"),
    )


def _cents(amounts: pl.Series) -> npt.NDArray[Any]:
    """Take amounts as integers, none as 0; as Python's own where their sum could outgrow 64 bits."""
    cents = amounts.fill_null(0).to_physical().cast(pl.Int64).to_numpy()
    largest = int(np.abs(cents).max(initial=0))
    return cents.astype(object) if largest * len(cents) > np.iinfo(np.int64).max else cents


def _between(values: npt.NDArray[Any], start: Rows, end: Rows) -> pl.Series:
    """Add up the values of each stretch."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
    sums = running[end] - running[start]
    return pl.Series(sums) if sums.dtype == np.int64 else pl.Series(sums.tolist(), dtype=pl.Int128)


def balance_lines(lines: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: SVC02 less the adjustments of the line is SVC03."""
    return _with_sums(lines, adjustments, "line", "amount", "adjusted").with_columns(*_balanced())


def balance_claims(claims: pl.DataFrame, lines: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: CLP03 less all adjustments of the claim and of its lines is CLP04.

    `lines_paid` is the sum of SVC03, null where it need not be CLP04: without lines, or beside a CAS of the
    claim itself.
    """
    at_claim = adjustments["claim"].filter(adjustments["line"].is_null()).unique()
    with_adjusted = _with_sums(claims, adjustments, "claim", "amount", "adjusted")
    return _with_sums(with_adjusted, lines, "claim", "paid", "lines_paid").with_columns(
        *_balanced(), lines_paid=pl.when(~pl.col("claim").is_in(at_claim.implode())).then("lines_paid")
    )


def _balanced() -> list[pl.Expr]:
    adjusted = pl.col("adjusted").fill_null(_NOTHING)
    is_readable = (
        _counted("charge").is_not_null()
        & _counted("paid").is_not_null()
        & (pl.col("adjusted_unreadable") == 0)
    )
    adds_up = _counted("charge") - adjusted == _counted("paid")
    return [
        adjusted.alias("adjusted"),
        is_readable.alias("is_readable"),
        (adds_up & is_readable).fill_null(value=False).alias("is_balanced"),
    ]


def payment_totals(claims: pl.DataFrame, provider_adjustments: pl.DataFrame) -> pl.DataFrame:
    """Add up CLP04 and PLB by payment, for one part of a file."""
    owners = pl.concat([claims["payment"], provider_adjustments["payment"]]).unique().sort().to_frame()
    paid = _with_sums(owners, claims, "payment", "paid", "paid")
    return _with_sums(paid, provider_adjustments, "payment", "amount", "withheld")


def balance_payments(payments: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Add `is_balanced`: the sum of CLP04 less the sum of PLB is BPR02."""
    by_payment = totals.group_by("payment").agg(pl.exclude("payment").sum())
    computed = pl.col("paid").fill_null(_NOTHING) - pl.col("withheld").fill_null(_NOTHING)
    unreadable = pl.col("paid_unreadable").fill_null(0) + pl.col("withheld_unreadable").fill_null(0)
    return (
        payments.join(by_payment, on="payment", how="left", maintain_order="left")
        .with_columns(
            computed_text=computed,
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
        *_amount_faults(payments, "amount", None, pl.lit("BPR02")),
        *_amount_faults(
            provider_adjustments, "amount", None, pl.format("PLB{}", _two_digits(pl.col("position") + 1))
        ),
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
    unlike = (pl.col("lines_paid") != _counted("paid")) & (pl.col("lines_paid_unreadable") == 0)
    return [
        *_amount_faults(claims, "charge", "2100", pl.lit("CLP03")),
        *_amount_faults(claims, "paid", "2100", pl.lit("CLP04")),
        *_amount_faults(lines, "charge", "2110", pl.lit("SVC02")),
        *_amount_faults(lines, "paid", "2110", pl.lit("SVC03")),
        *_amount_faults(adjustments, "amount", None, pl.format("CAS{}", _two_digits(pl.col("position") + 1))),
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
        findings(
            claims.filter(unlike),
            "claim_lines_balance",
            pl.format("The lines of the claim are paid {} together, CLP04 says {}.", "lines_paid", "paid"),
            loop="2100",
            element="CLP04",
            found=pl.col("paid").cast(pl.String),
            expected=pl.col("lines_paid").cast(pl.String),
        ),
    ]


def value_faults(dates: pl.DataFrame, amounts: pl.DataFrame) -> list[pl.DataFrame]:
    """Report dates and amounts beside the money that cannot be read."""
    loop = pl.when(pl.col("line").is_null()).then(pl.lit("2100")).otherwise(pl.lit("2110"))
    return [
        findings(
            dates.filter(pl.col("date").is_null() & pl.col("date_text").is_not_null()),
            "unreadable_date",
            "The date is not a date of the form CCYYMMDD.",
            loop=loop,
            element="DTM02",
        ),
        findings(
            amounts.filter(pl.col("amount").is_null() & pl.col("amount_text").is_not_null()),
            "unreadable_amount",
            "AMT02 is not an amount of at most two decimals.",
            loop=loop,
            element="AMT02",
        ),
    ]


def _balance_faults(frame: pl.DataFrame, rule: str, loop: str, charge: str, paid: str) -> pl.DataFrame:
    if frame["is_balanced"].all():
        return NONE
    expected = _counted("charge") - pl.col("adjusted")
    return findings(
        frame.filter(pl.col("is_readable") & ~pl.col("is_balanced")),
        rule,
        pl.format(
            f"{charge} {{}} less adjustments of {{}} is {{}}, but {paid} says {{}}. Do not post it.",
            _counted("charge"),
            "adjusted",
            expected,
            _counted("paid"),
        ),
        loop=loop,
        element=paid,
        found=pl.col("paid").cast(pl.String),
        expected=expected.cast(pl.String),
    )


def _amount_faults(
    frame: pl.DataFrame, column: str, loop: str | None, element: pl.Expr
) -> list[pl.DataFrame]:
    """Report amounts that are missing or unreadable; `element` names the place."""
    if not frame[column].null_count():
        return []
    if loop is None and "line" in frame.columns:
        place = pl.when(pl.col("line").is_null()).then(pl.lit("2100")).otherwise(pl.lit("2110"))
    else:
        place = pl.lit(loop)
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


def _without(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Keep the rows that lack a value; nearly always there is none."""
    return frame.filter(pl.col(column).is_null()) if frame[column].null_count() else frame.head(0)


def _two_digits(position: pl.Expr) -> pl.Expr:
    return position.cast(pl.String).str.zfill(2)
