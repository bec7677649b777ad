"""Findings: what is wrong with a file, as a frame; one row per fault.

Every reader and every edit of this room makes them with `findings`, and `collect` puts them in file order. A
finding says what, where and what to do in plain words. It carries codes, counts, amounts and control numbers,
never a name, an address or a member id: what is not plainly a number stays out of `found` (see `number`).
"""

from typing import Literal

import polars as pl

Severity = Literal["error", "warning"]

SCHEMA: dict[str, pl.DataType] = {
    "severity": pl.String(),
    "rule": pl.String(),
    "transaction": pl.Int64(),  # counts from 1 in file order; null outside a transaction
    "segment": pl.Int64(),  # counts from 1 in file order; null for the file as a whole
    "loop": pl.String(),
    "element": pl.String(),
    "found": pl.String(),
    "expected": pl.String(),
    "message": pl.String(),
}

NONE = pl.DataFrame(schema=SCHEMA)
# A place that is not in a frame: the file as a whole.
FILE = pl.DataFrame({"segment": [None]}, schema={"segment": pl.Int64})


def findings(
    places: pl.DataFrame,
    rule: str,
    message: str | pl.Expr,
    *,
    severity: Severity | pl.Expr = "error",
    loop: str | pl.Expr | None = None,
    element: str | pl.Expr | None = None,
    found: str | pl.Expr | None = None,
    expected: str | pl.Expr | None = None,
) -> pl.DataFrame:
    """Make one finding per row of `places`.

    Args:
        places: The faulty places. Its columns `transaction` and `segment`, where it has them, say where; the
            expressions in the other arguments may use any of its columns.
    """
    if places.is_empty():
        return NONE
    texts = {
        "severity": severity,
        "rule": rule,
        "loop": loop,
        "element": element,
        "found": found,
        "expected": expected,
        "message": message,
    }
    columns = {
        name: (text if isinstance(text, pl.Expr) else pl.lit(text)).cast(pl.String)
        for name, text in texts.items()
    } | {
        name: (pl.col(name) if name in places.columns else pl.lit(None)).cast(pl.Int64)
        for name in ("transaction", "segment")
    }
    return places.with_columns(**columns).select(SCHEMA.keys())


def collect(*frames: pl.DataFrame) -> pl.DataFrame:
    """Put findings together in file order, those about the file as a whole first."""
    told = [frame for frame in frames if len(frame)]
    return pl.concat(told).sort("segment", nulls_last=False, maintain_order=True) if told else NONE


def number(column: str) -> pl.Expr:
    """Show a value only when it is plainly a short number; anything else might be a name."""
    return pl.when(pl.col(column).str.contains(r"^-?[0-9]{1,9}(\.[0-9]{1,4})?$")).then(pl.col(column))
