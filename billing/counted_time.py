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

from billing.intervals import END, START, subtract, union
from billing.local_days import local_days, month_bounds
from schemas.columns import COUNTED_ACTIVITIES, UTC
from schemas.outputs import columns_of
from schemas.stages import CountedStretches, MonthTotals, People

MESSAGE_METHODS: Final = ("message", "portal")
LIVE_METHODS: Final = ("phone", "video", "in_person")
INPATIENT_KINDS: Final = ("inpatient", "snf_part_a")
# Longer than a month in any zone; two million people so placed side by side fit an Int64.
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
    known = _judged(entries, people)
    elsewhere = known.filter(~pl.col("is_rpm")).select("person", START, END)
    worked, other_programs = pl.collect_all([_in_month(known), elsewhere])
    worked = _in_order(worked, people)
    countable = worked.filter("is_countable").drop("is_countable")
    holes = (
        ("overlapping", "person", other_programs),
        ("double_booked", "entry_id", clashes),
        ("inpatient", "person", inpatient_stretches(coverage, people, month)),
    )
    losses: list[pl.DataFrame] = []
    remaining = countable
    for name, by, stretches in holes:
        before, remaining = remaining, subtract(remaining, stretches, [by])
        losses.append(_lost(before, remaining, stretches.select(by).unique(), name))
    remaining = remaining.sort("person", START, "entry_id")
    counted = union(remaining.filter("is_documented"), ["person"], ["entry_id"])
    sums = [
        _measure(counted, "counted"),
        *losses,
        _spent(remaining, "remaining"),
        countable.filter("is_live", "is_documented")
        .select("person", has_live_interaction=pl.lit(value=True))
        .unique(),
    ]
    return CountedTime(_totals(worked, sums, people), _on_the_clock(counted, people))


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


def _judged(entries: pl.DataFrame, people: pl.DataFrame) -> pl.LazyFrame:
    """Say of each entry of the patients whether its kind counts; the texts stay behind."""
    who = people.lazy().select("patient_id", "person", "month_starts_at", "month_ends_at", "counts_messages")
    is_message = pl.col("method").is_in(MESSAGE_METHODS)
    return (
        entries.lazy()
        .join(who, on="patient_id")
        .select(
            "person",
            "entry_id",
            "object",
            START,
            END,
            "month_starts_at",
            "month_ends_at",
            is_rpm=pl.col("program") == "RPM",
            is_countable=(pl.col("staff_role") != "administrative")
            & pl.col("activity").is_in(COUNTED_ACTIVITIES)
            & (~is_message | pl.col("counts_messages")),
            is_documented=pl.col("note_ref").is_not_null(),
            is_live=pl.col("live_interaction") & pl.col("method").is_in(LIVE_METHODS),
        )
    )


def _in_month(entries: pl.LazyFrame) -> pl.LazyFrame:
    """Clip RPM entries to their patient's month."""
    return (
        entries.filter("is_rpm")
        .with_columns(
            pl.max_horizontal(START, "month_starts_at").alias(START),
            pl.min_horizontal(END, "month_ends_at").alias(END),
        )
        .filter(pl.col(START) < pl.col(END))
        .select("person", "entry_id", "object", START, END, "is_countable", "is_documented", "is_live")
    )


def _in_order(worked: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Sort by person, start and entry, once for all the unions to come."""
    # One number sorts three times as fast as three columns, and puts nearly in order what those then settle.
    since = pl.col(START) - pl.lit(people["month_starts_at"].min(), UTC)
    place = pl.col("person").cast(pl.Int64) * _ROOM_FOR_A_MONTH_US + since.dt.total_microseconds()
    return worked.sort(place).sort("person", START, "entry_id")


def _measure(disjoint: pl.DataFrame, name: str) -> pl.DataFrame:
    """Sum disjoint stretches per person, in microseconds."""
    length = (pl.col(END) - pl.col(START)).dt.total_microseconds()
    return disjoint.group_by("person").agg(length.sum().alias(f"{name}_us"))


def _spent(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Measure the union of stretches per person, in microseconds."""
    return _measure(union(frame.select("person", START, END), ["person"]), name)


def _lost(before: pl.DataFrame, after: pl.DataFrame, touched: pl.DataFrame, name: str) -> pl.DataFrame:
    """Measure what the holes took from each person's documented time, as the difference of two unions."""
    # Only people whom a hole touches can have lost anything.
    people = before.join(touched, on=touched.columns, how="semi").select("person").unique()
    had, has = (
        _spent(frame.filter("is_documented").join(people, on="person", how="semi"), label)
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


def _on_the_clock(counted: pl.DataFrame, people: pl.DataFrame) -> DataFrame[CountedStretches]:
    """Place each counted stretch on its patient's own clock, which runs only while time counts."""
    length = (pl.col(END) - pl.col(START)).dt.total_microseconds()
    # The stretches are sorted by person and start, as the union left them.
    return CountedStretches.validate(
        counted.with_columns(clock_ends_us=length.cum_sum().over("person"))
        .with_columns(clock_starts_us=pl.col("clock_ends_us") - length)
        .join(people.select("person", "patient_id"), on="person", how="left", maintain_order="left")
        .select(columns_of(CountedStretches))
    )
