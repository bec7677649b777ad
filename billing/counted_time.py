"""Counted time: which seconds of a month count for a patient, and why others do not.

`billing.month` makes it from the accepted entries; `billing.units` cuts the counted stretches into units,
`billing.holds` explains the seconds that were lost. Nothing here knows a code or a dollar.

Source: CONTRACT §4 (what counts); CPT's rule that no minute is counted twice.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl
from pandera.typing.polars import DataFrame

from billing.intervals import END, START, subtract
from billing.local_days import local_days, month_bounds
from schemas.columns import COUNTED_ACTIVITIES, UTC
from schemas.outputs import columns_of
from schemas.stages import CountedStretches, MonthTotals, People

MESSAGE_METHODS: Final = ("message", "portal")
LIVE_METHODS: Final = ("phone", "video", "in_person")
INPATIENT_KINDS: Final = ("inpatient", "snf_part_a")
# Longer than a month in any zone; two million people so placed end to end fit an Int64.
_ROOM_FOR_A_MONTH_US: Final = 1 << 42


@dataclass(frozen=True)
class CountedTime:
    """The month's time: a row of totals per patient with RPM time, and the stretches that count."""

    totals: DataFrame[MonthTotals]
    stretches: DataFrame[CountedStretches]


def count_time(
    entries: pl.DataFrame,
    clashes: pl.DataFrame,
    coverage: pl.DataFrame,
    people: DataFrame[People],
    month: date,
) -> CountedTime:
    """Count each patient's seconds of the month, once each, and tell what was left out.

    Holes are cut in this order: the patient's time under other programs, the staff member's double-booked
    time, inpatient days. A second that falls into two holes is attributed to the first; a second that
    another entry still covers is not lost. Time of patients not in `people` is ignored.

    Args:
        entries: Accepted time entries of every program, each entry_id once.
        clashes: What `staff_clashes` found for these entries.
        coverage: Accepted coverage windows.
        people: The patients, with their month in the billing provider's zone.
        month: Any day of the service month.
    """
    origin = _origin(people)
    known = _judged(entries, people, origin)
    worked = _in_order(known.filter("is_rpm").drop("is_rpm"))
    countable = worked.filter("is_countable").drop("is_countable")
    holes = (
        ("overlapping", "person", known.filter(~pl.col("is_rpm"))),
        (
            "double_booked",
            "entry_id",
            _placed(clashes.join(worked.select("entry_id", "person"), on="entry_id"), origin),
        ),
        ("inpatient", "person", _placed(inpatient_stretches(coverage, people, month), origin)),
    )
    losses: list[pl.DataFrame] = []
    remaining = countable
    for name, by, stretches in holes:
        before, remaining = remaining, _without(remaining, stretches, by)
        losses.append(_lost(before, remaining, stretches.select(by).unique(), name))
    counted = _disjoint(remaining.filter("is_documented"))
    sums = [
        _spent(counted, "counted"),
        *losses,
        _spent(remaining, "remaining"),
        countable.filter("is_live", "is_documented")
        .select("person", has_live_interaction=pl.lit(value=True))
        .unique(),
    ]
    return CountedTime(_totals(worked, sums, people), _on_the_clock(counted, people, origin))


def inpatient_stretches(coverage: pl.DataFrame, people: pl.DataFrame, month: date) -> pl.DataFrame:
    """Turn inpatient and SNF windows into instants of the month: person, started_at, ended_at.

    Windows take in both of their dates, from local midnight to local midnight; no end date means open.
    """
    first, last = month_bounds(month)
    stays = (
        coverage.filter(pl.col("kind").is_in(INPATIENT_KINDS))
        .join(people.select("patient_id", "person", "zone"), on="patient_id")
        .select(
            "person",
            "zone",
            from_day=pl.max_horizontal("starts_on", pl.lit(first)),
            to_day=pl.min_horizontal(pl.col("ends_on").fill_null(last), pl.lit(last)),
        )
        .filter(pl.col("from_day") <= pl.col("to_day"))
    )
    days = local_days(stays["zone"].unique(), first, last)
    return (
        stays.join(days.select("zone", START, from_day="day"), on=["zone", "from_day"])
        .join(days.select("zone", END, to_day="day"), on=["zone", "to_day"])
        .select("person", START, END)
    )


def _origin(people: DataFrame[People]) -> pl.Expr:
    """Say what leads from an instant to its place on the line, for each person.

    The line has everybody's month end to end, in microseconds: one sort and one running maximum serve all.
    """
    opening = pl.lit(people["month_starts_at"].min(), UTC).to_physical()
    return pl.col("person").cast(pl.Int64) * _ROOM_FOR_A_MONTH_US - opening


def _placed(stretches: pl.DataFrame, origin: pl.Expr) -> pl.DataFrame:
    return stretches.with_columns(pl.col(START, END).to_physical() + origin)


def _judged(entries: pl.DataFrame, people: DataFrame[People], origin: pl.Expr) -> pl.DataFrame:
    """Place each entry of the patients' months on the line, and say whether its kind counts."""
    # A patient's number is the place of the id among all ids, which is cheaper to ask than a join.
    person = pl.col("patient_id").cast(pl.Enum(people["patient_id"]), strict=False)
    opens, closes, counts_messages = (
        pl.lit(people[name]).gather("person")
        for name in ("month_starts_at", "month_ends_at", "counts_messages")
    )
    is_message = pl.col("method").is_in(MESSAGE_METHODS)
    return (
        entries.lazy()
        .with_columns(person=person.to_physical().cast(pl.UInt32))
        .filter(pl.col("person").is_not_null())
        .select(
            "person",
            "entry_id",
            "object",
            pl.max_horizontal(START, opens).to_physical().alias(START) + origin,
            pl.min_horizontal(END, closes).to_physical().alias(END) + origin,
            is_rpm=pl.col("program") == "RPM",
            is_countable=(pl.col("staff_role") != "administrative")
            & pl.col("activity").is_in(COUNTED_ACTIVITIES)
            & (~is_message | counts_messages),
            is_documented=pl.col("note_ref").is_not_null(),
            is_live=pl.col("live_interaction") & pl.col("method").is_in(LIVE_METHODS),
        )
        .filter(pl.col(START) < pl.col(END))
        .collect()
    )


def _in_order(stretches: pl.DataFrame) -> pl.DataFrame:
    """Sort by person, start and entry."""
    # Sorting by one number first leaves little to do for the text, which only ties need.
    return stretches.sort(START).sort(START, "entry_id")


def _without(stretches: pl.DataFrame, holes: pl.DataFrame, by: str) -> pl.DataFrame:
    return stretches if holes.is_empty() else _in_order(subtract(stretches, holes, [by]))


def _own_start() -> pl.Expr:
    """Say when a stretch begins to cover what no earlier one covers; the stretches are in order."""
    return pl.max_horizontal(START, pl.col(END).cum_max().shift(1)).alias(START)


def _disjoint(stretches: pl.DataFrame) -> pl.DataFrame:
    return stretches.with_columns(_own_start()).filter(pl.col(START) < pl.col(END))


def _spent(stretches: pl.DataFrame, name: str) -> pl.DataFrame:
    """Measure the union of each person's stretches, which are in order, in microseconds."""
    own = (pl.col(END) - _own_start()).clip(lower_bound=0)
    return (
        stretches.select(pl.col("person").set_sorted(), own.alias(f"{name}_us"))
        .group_by("person")
        .agg(pl.col(f"{name}_us").sum())
    )


def _lost(before: pl.DataFrame, after: pl.DataFrame, touched: pl.DataFrame, name: str) -> pl.DataFrame:
    """Measure what the holes took from each person's documented time, as the difference of two unions."""
    # Only people whom a hole touches can have lost anything.
    people = before.filter(pl.col(touched.columns).is_in(touched.to_series().implode()))["person"].unique()
    had, has = (
        _spent(frame.filter("is_documented", pl.col("person").is_in(people.implode())), label)
        for frame, label in ((before, "had"), (after, "has"))
    )
    return had.join(has, on="person", how="left").select(
        "person", (pl.col("had_us") - pl.col("has_us").fill_null(0)).alias(f"{name}_us")
    )


def _totals(worked: pl.DataFrame, sums: list[pl.DataFrame], people: pl.DataFrame) -> DataFrame[MonthTotals]:
    totals = _spent(worked, "logged").join(people.select("person", "patient_id"), on="person")
    for each in sums:
        totals = totals.join(each, on="person", how="left")
    return MonthTotals.validate(
        totals.with_columns(
            pl.selectors.ends_with("_us").fill_null(0),
            pl.col("has_live_interaction").fill_null(value=False),
        )
        .with_columns(
            # What is left of all countable work, and does not count, lacks only its notes.
            undocumented_us=pl.col("remaining_us") - pl.col("counted_us"),
            logged_seconds=pl.col("logged_us") // 1_000_000,
            counted_seconds=pl.col("counted_us") // 1_000_000,
        )
        .sort("patient_id")
    )


def _on_the_clock(
    counted: pl.DataFrame, people: DataFrame[People], origin: pl.Expr
) -> DataFrame[CountedStretches]:
    """Place each counted stretch on its patient's own clock, which runs only while time counts."""
    length = pl.col(END) - pl.col(START)
    is_first = pl.col("person").ne_missing(pl.col("person").shift(1))
    before = pl.when(is_first).then("clock_starts_us").forward_fill()
    return CountedStretches.validate(
        counted.with_columns(clock_starts_us=length.cum_sum() - length)
        .select(
            "person",
            "entry_id",
            "object",
            (pl.col(START, END) - origin).cast(UTC),
            pl.lit(people["patient_id"]).gather("person").alias("patient_id"),
            clock_starts_us=pl.col("clock_starts_us") - before,
            clock_ends_us=pl.col("clock_starts_us") - before + length,
        )
        .select(columns_of(CountedStretches))
    )
