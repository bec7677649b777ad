"""Intervals: set arithmetic on half-open `[started_at, ended_at)` rows, group by group.

`billing.counted_time`, `billing.staff_clashes` and `billing.units` build on these. Everything is exact to
the microsecond and close to linear in the rows (a sort, then running sums and nearest-row joins), and the
bounds may be instants or plain integers. What a stretch of time means belongs to the callers.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

START: Final = "started_at"
END: Final = "ended_at"


def union(frame: pl.DataFrame, by: Sequence[str], tie: Sequence[str] = ()) -> pl.DataFrame:
    """Keep of each row the part that no earlier row of its group covers.

    Rows are ranked by start, then by the `tie` columns; what is left of them is disjoint, covers the
    same time as the rows did, and comes sorted by group and start.
    """
    if frame.is_empty():
        return frame
    # Rows already in order are sorted at once, so callers who sort before pay only once.
    ranked = frame.sort(*by, START, *tie)
    # Each group gets a part of one long line to itself, and one running maximum serves all groups.
    group = pl.struct(by).rle_id().cast(pl.Int128)
    room = ranked.select(pl.col(END).to_physical().max() - pl.col(START).to_physical().min() + 1).item()
    covered_until = (group * room + pl.col(END).to_physical()).cum_max().shift(1) - group * room
    covered_until = covered_until.cast(pl.Int64).cast(frame.schema[START])
    return ranked.with_columns(pl.max_horizontal(START, covered_until).alias(START)).filter(_is_proper())


def intersect(frame: pl.DataFrame, stretches: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Cut each row to its parts inside the stretches of its group, one row for each stretch it meets.

    The stretches of a group must be disjoint; their further columns go along to the parts.
    """
    places = stretches.filter(_is_proper()).sort(*by, START).with_row_index("place")
    first = places.select(*by, pl.col(END).alias("reach"), pl.col("place").alias("first")).sort("reach")
    last = places.select(*by, pl.col(START).alias("reach"), pl.col("place").alias("last")).sort("reach")
    met = frame.filter(_is_proper()).join(places.select(by).unique(), on=by, how="semi")
    met = _nearest(met, first, START, "forward", by)
    met = _nearest(met, last, END, "backward", by).filter(pl.col("first") <= pl.col("last"))
    parts = met.with_columns(place=pl.int_ranges("first", pl.col("last") + 1, dtype=pl.UInt32))
    return (
        parts.drop("first", "last")
        .explode("place", empty_as_null=False)
        .join(places.drop(by), on="place", how="inner", suffix="_of_stretch")
        .with_columns(
            pl.max_horizontal(START, f"{START}_of_stretch").alias(START),
            pl.min_horizontal(END, f"{END}_of_stretch").alias(END),
        )
        .drop("place", f"{START}_of_stretch", f"{END}_of_stretch")
    )


def subtract(frame: pl.DataFrame, holes: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Take the holes of its group out of each row; a row may lose both ends, fall apart, or vanish."""
    if holes.is_empty() or frame.is_empty():
        return frame.filter(_is_proper())
    merged = union(holes.select(*by, START, END).filter(_is_proper()), by)
    # Rows lie between these bounds, so they serve as the ends of time.
    opening = pl.lit(frame[START].min(), frame.schema[START])
    closing = pl.lit(frame[END].max(), frame.schema[END])
    before_the_first = merged.group_by(by).agg(opening.alias(START), pl.col(START).min().alias(END))
    after_each = merged.select(
        *by,
        pl.col(END).alias(START),
        pl.col(START).shift(-1).over(*by).fill_null(closing).alias(END),
    )
    gaps = pl.concat([before_the_first.select(after_each.columns), after_each])
    whole = frame.filter(_is_proper()).join(merged, on=by, how="anti")
    return pl.concat([whole, intersect(frame.join(merged, on=by, how="semi"), gaps, by)])


def shared(frame: pl.DataFrame, by: Sequence[str], owner: str) -> pl.DataFrame:
    """Find the stretches of a group in which two or more different owners have a row.

    Rows of one owner that overlap each other share nothing. The stretches are disjoint.
    """
    own = union(frame.select(*by, owner, START, END).filter(_is_proper()), [*by, owner])
    # Each row opens with +1 and closes with -1; a group's steps sum to zero, so one running sum serves all.
    steps = pl.concat(
        [
            own.select(*by, at=START, step=pl.lit(1, pl.Int32)),
            own.select(*by, at=END, step=pl.lit(-1, pl.Int32)),
        ]
    )
    depth = steps.group_by(*by, "at").agg(pl.col("step").sum()).sort(*by, "at")
    return (
        depth.with_columns(owners=pl.col("step").cum_sum(), until=pl.col("at").shift(-1))
        .filter(pl.col("owners") >= 2)
        .select(*by, pl.col("at").alias(START), pl.col("until").alias(END))
    )


def _is_proper() -> pl.Expr:
    return pl.col(START) < pl.col(END)


def _nearest(
    frame: pl.DataFrame, places: pl.DataFrame, bound: str, strategy: str, by: Sequence[str]
) -> pl.DataFrame:
    # A stretch that only touches the row's bound shares no time with it: no exact matches.
    return (
        frame.sort(bound)
        .join_asof(
            places,
            left_on=bound,
            right_on="reach",
            by=list(by),
            strategy="forward" if strategy == "forward" else "backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .drop("reach")
    )
