"""Units: what a patient's month earned on the ladder, and which seconds fund each unit.

`billing.month` makes them from counted time; `billing.claims` turns them into lines. Nothing here knows
a dollar, and nothing here asks whether the patient may be billed.

Source: RPM_BILLING_RULES §1.1 (ladder), §3.2 (allocation), §5 (caps); the figures are dated reference rows.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl
from pandera.typing.polars import DataFrame

from billing.counted_time import CountedTime
from billing.intervals import END, START, intersect
from billing.local_days import local_date, month_bounds
from billing.reference.tables import MissingReference, Reference, in_effect
from schemas.outputs import columns_of
from schemas.stages import CountedStretches, Funding, People, Units

# X12 takes fifty service lines a claim; two supply periods can end in one month.
LINES_PER_CLAIM: Final = 50
SUPPLY_LINES: Final = 2
SECOND_US: Final = 1_000_000


@dataclass(frozen=True)
class Earned:
    """Units per patient, and the stretches of time that fund the ones within the cap."""

    units: DataFrame[Units]
    funding: DataFrame[Funding]


def count_units(time: CountedTime, people: DataFrame[People], reference: Reference, month: date) -> Earned:
    """Put each patient's counted seconds on the ladder and find the date of service.

    Seconds are walked in time order: the base code takes the first ones, each add-on the next. The date
    of service is the local date of the last funded instant, or the month's last day if the payer wants
    that or no unit was reached.

    Raises:
        MissingReference: If ladder or caps change inside the month: a month has one ladder.
    """
    who = people.select("patient_id", "zone", "payer_kind", "is_dated_month_end", "bills_supply")
    rungs = _rungs(reference, month)
    lowest_us = rungs.select(pl.col("minutes_from").min() * 60 * SECOND_US).item()
    with_stay = pl.col("counted_us") + pl.col("inpatient_us")
    counted = time.totals.select(
        "patient_id",
        "counted_seconds",
        is_lost_to_stay=(pl.col("counted_us") < lowest_us) & (with_stay >= lowest_us),
    ).join(who, on="patient_id")
    earned = _on_the_ladder(counted, rungs).pipe(_capped, reference, month)
    funding = _fund(time.stretches, earned)
    return Earned(Units.validate(_dated(earned, funding, month)), funding)


def _rungs(reference: Reference, month: date) -> pl.DataFrame:
    """Lay out the ladder: a row per base code, with its add-on where it has one."""
    ladder = _in_effect_all_month(reference.ladder, month, "ladder")
    pairs = _in_effect_all_month(reference.add_ons, month, "list of add-on codes")
    seconds = pl.col("unit_minutes") * 60
    bases = ladder.filter(~pl.col("is_add_on")).select(
        "minutes_from", "minutes_to", base_code="code", base_seconds=seconds
    )
    add_ons = ladder.filter("is_add_on").select(
        add_on_code="code", add_on_from=pl.col("minutes_from") * 60, add_on_seconds=seconds
    )
    known = pairs.select("add_on_code", base_code="primary_code").join(add_ons, on="add_on_code")
    return bases.join(known, on="base_code", how="left")


def _on_the_ladder(counted: pl.DataFrame, rungs: pl.DataFrame) -> pl.DataFrame:
    """Add base and add-on units reached, before any cap; patients below the ladder keep nulls and zeros."""
    seconds = pl.col("counted_seconds")
    beyond = (seconds - pl.col("add_on_from")) // pl.col("add_on_seconds") + 1
    reached = (
        counted.select("patient_id", "counted_seconds")
        .join(rungs, how="cross")
        .filter(
            seconds >= pl.col("minutes_from") * 60,
            (seconds < pl.col("minutes_to") * 60).fill_null(value=True),
        )
        .select(
            "patient_id",
            "base_code",
            "base_seconds",
            "add_on_code",
            pl.col("add_on_seconds").fill_null(0),
            reached_add_ons=pl.max_horizontal(beyond, pl.lit(0)),
        )
    )
    numbers = pl.col("base_seconds", "add_on_seconds", "reached_add_ons")
    return counted.join(reached, on="patient_id", how="left").with_columns(numbers.fill_null(0))


def _capped(earned: pl.DataFrame, reference: Reference, month: date) -> pl.DataFrame:
    """Split add-on units at the payer's cap; the seconds of whole units above it are documented, unbilled."""
    caps = _in_effect_all_month(reference.caps, month, "table of caps")
    caps = caps.select("payer_kind", add_on_code="code", cap="units")
    room = LINES_PER_CLAIM - 1 - pl.when("bills_supply").then(SUPPLY_LINES).otherwise(0)
    # An unknown payer has no known cap, and is held for another reason.
    cap = pl.min_horizontal("cap", room)
    return (
        earned.join(caps, on=["payer_kind", "add_on_code"], how="left")
        .with_columns(add_on_units=pl.min_horizontal("reached_add_ons", cap).cast(pl.Int64))
        .with_columns(over_cap_units=pl.col("reached_add_ons") - pl.col("add_on_units"))
        .with_columns(
            over_cap_seconds=pl.col("over_cap_units") * pl.col("add_on_seconds"),
            funded_seconds=pl.col("base_seconds") + pl.col("add_on_units") * pl.col("add_on_seconds"),
        )
    )


def _fund(stretches: DataFrame[CountedStretches], earned: pl.DataFrame) -> DataFrame[Funding]:
    """Hand the patient's clock of counted time out to the units, in time order."""
    bases = earned.filter(pl.col("base_code").is_not_null()).select(
        "patient_id",
        code="base_code",
        unit_number=pl.lit(1, pl.Int64),
        opens=pl.lit(0, pl.Int64),
        closes=pl.col("base_seconds"),
    )
    numbered = earned.filter(pl.col("add_on_units") > 0).with_columns(
        unit_number=pl.int_ranges(1, pl.col("add_on_units") + 1)
    )
    opens = pl.col("base_seconds") + (pl.col("unit_number") - 1) * pl.col("add_on_seconds")
    add_ons = numbered.explode("unit_number", empty_as_null=False).select(
        "patient_id",
        code="add_on_code",
        unit_number="unit_number",
        opens=opens,
        closes=opens + pl.col("add_on_seconds"),
    )
    units = pl.concat([bases, add_ons]).select(
        "patient_id",
        "code",
        "unit_number",
        (pl.col("opens") * SECOND_US).alias(START),
        (pl.col("closes") * SECOND_US).alias(END),
    )
    # On the clock of counted time, stretches and units are plain intervals of microseconds.
    on_clock = stretches.select(
        "patient_id",
        "entry_id",
        "object",
        (pl.col(START) - pl.duration(microseconds="clock_starts_us")).alias("clock_zero"),
        pl.col("clock_starts_us").alias(START),
        pl.col("clock_ends_us").alias(END),
    )
    funded = intersect(on_clock, units, ["patient_id"])
    return Funding.validate(
        funded.select(
            "patient_id",
            "code",
            "unit_number",
            "entry_id",
            "object",
            (pl.col("clock_zero") + pl.duration(microseconds=START)).alias(START),
            (pl.col("clock_zero") + pl.duration(microseconds=END)).alias(END),
            funded_us=pl.col(END) - pl.col(START),
        ).sort("patient_id", START)
    )


def _dated(earned: pl.DataFrame, funding: pl.DataFrame, month: date) -> pl.DataFrame:
    """Add the date of service."""
    # The instant at which the last unit was full belongs to the next moment: step back inside the unit.
    last_funded = pl.col(END).max() - pl.duration(microseconds=1)
    reached = funding.group_by("patient_id").agg(last_funded_at=last_funded)
    dated = local_date(earned.join(reached, on="patient_id", how="left"), "last_funded_at", month)
    last_day = pl.lit(month_bounds(month)[1])
    return dated.with_columns(
        date_of_service=pl.when("is_dated_month_end").then(last_day).otherwise("day").fill_null(last_day)
    ).select(columns_of(Units))


def _in_effect_all_month(table: pl.DataFrame, month: date, what: str) -> pl.DataFrame:
    first, last = month_bounds(month)
    rows = in_effect(table, last)
    if not rows.equals(in_effect(table, first)):
        raise MissingReference(
            f"The {what} changes inside {month:%Y-%m}: give its rows dates that begin with a month."
        )
    return rows
