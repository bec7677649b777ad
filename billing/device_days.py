"""Device days: on which local days a patient's device reported, and which supply periods that earns.

`billing.month` counts them from the readings; `billing.claims` bills the periods, `billing.holds` notes
months without data. Readings typed in by hand are not days of data, and minutes are not counted here.

Source: CONTRACT §4 (device supply); RPM_BILLING_RULES §1.2.
"""

from datetime import date, timedelta
from typing import Final

import polars as pl
from pandera.typing.polars import DataFrame

from billing.local_days import local_days, month_bounds
from billing.reference.tables import Reference, covers
from schemas.stages import People, SupplyPeriods

PERIOD_DAYS: Final = 30
_DAY_US: Final = 86_400_000_000
# A period that ends in the month begins at most this many days before it: 29 + 31 days fit one Int64.
_DAYS_BEFORE: Final = PERIOD_DAYS - 1
_FIRST_OF_MONTH_BIT: Final[int] = 1 << _DAYS_BEFORE
_PERIOD_BITS: Final[int] = 1 << PERIOD_DAYS
# Looking a power of two up is ten times as fast as raising it.
_BIT_OF_DAY: Final = pl.Series([1 << day for day in range(_DAYS_BEFORE + 31)], dtype=pl.Int64)
_NO_BIT: Final = pl.Series([0], dtype=pl.Int64)


def device_days(
    readings: pl.DataFrame | pl.LazyFrame, people: DataFrame[People], month: date
) -> pl.DataFrame:
    """Mark the local days with an automatic reading, one bit a day, in the billing provider's zone.

    Returns:
        One row per patient with such a reading: patient_id, `day_bits` (Int64). Bit 29 is the first day of
        the month, bit 0 the day 29 days before it.
    """
    if people.is_empty():
        return pl.DataFrame(schema={"patient_id": pl.String, "day_bits": pl.Int64})
    first, last = month_bounds(month)
    base = first - timedelta(days=_DAYS_BEFORE)
    days = local_days(people["zone"].unique(), base, last)
    clocks = _clocks(days)
    kinds = clocks.drop("zone").unique(maintain_order=True)
    # Whose clock a reading is told by would be a join of every reading. There are few clocks, so every
    # reading is told by each of them, and a patient's own is picked when only patients are left.
    bits = {f"bits_{kind}": _day_bit(clock, base, last) for kind, clock in enumerate(kinds.to_dicts())}
    own = pl.coalesce(pl.when(pl.col("bits") == name).then(name) for name in bits)
    located = clocks.join(
        kinds.with_columns(bits=pl.Series(list(bits), dtype=pl.String)), on=kinds.columns, nulls_equal=True
    )
    within = pl.col("measured_at").is_between(days["started_at"].min(), days["ended_at"].max(), closed="left")
    return (
        readings.lazy()
        .filter(pl.col("capture") == "automatic", within)
        .select("patient_id", pl.col("measured_at").to_physical())
        .select("patient_id", **bits)
        .group_by("patient_id")
        .agg(pl.col(name).bitwise_or() for name in bits)
        .join(people.lazy().select("patient_id", "zone"), on="patient_id")
        .join(located.lazy().select("zone", "bits"), on="zone")
        .select("patient_id", day_bits=own)
        .filter(pl.col("day_bits") != 0)
        .collect()
    )


def _day_bit(clock: dict[str, int | None], base: date, last: date) -> pl.Expr:
    """Tell the local day of `measured_at` (microseconds, UTC) by one clock, as a bit; 0 outside the days."""
    local = pl.col("measured_at") + clock["offset_us"]
    for name, change in clock.items():
        if name.startswith("changes_at_") and change is not None:
            shift = clock[name.replace("changes_at", "shift_us")]
            local = local + pl.when(pl.col("measured_at") >= change).then(shift).otherwise(0)
    # Calendar functions cost three times an integer division, so a local day is whole days since the base.
    day = (local - (base - date(1970, 1, 1)).days * _DAY_US) // _DAY_US
    known = (last - base).days + 1
    # A day beyond either end, as another clock may see it, has no bit.
    table = pl.concat([_NO_BIT, _BIT_OF_DAY.head(known), _NO_BIT])
    return pl.lit(table).gather(day + 1)


def has_data_in_month() -> pl.Expr:
    """Tell from `day_bits` whether any day of the month has data; no row (null) means none."""
    return pl.col("day_bits").fill_null(0) >= _FIRST_OF_MONTH_BIT


def supply_periods(
    day_bits: pl.DataFrame, people: DataFrame[People], reference: Reference, month: date
) -> DataFrame[SupplyPeriods]:
    """Find the 30-day periods that end in the month, and the supply code their days of data earn.

    Periods run from `enrolled_on` without a gap; one is dated its thirtieth day. Only patients whose
    payer is billed for the device have any. A 31-day month can end two periods.
    """
    first, last = month_bounds(month)
    ends = pl.DataFrame({"date_of_service": pl.date_range(first, last, eager=True)})
    since = (pl.col("date_of_service") - pl.col("enrolled_on")).dt.total_days()
    opens = (pl.col("date_of_service") - pl.lit(first)).dt.total_days()
    period = (pl.col("day_bits") // pl.lit(2, pl.Int64).pow(opens)) % _PERIOD_BITS
    counted = (
        people.filter("bills_supply")
        .select("patient_id", "enrolled_on")
        .join(day_bits, on="patient_id")
        .join(ends, how="cross")
        .filter(since >= _DAYS_BEFORE, since % PERIOD_DAYS == _DAYS_BEFORE)
        .select("patient_id", "date_of_service", days=period.bitwise_count_ones().cast(pl.Int64))
    )
    return SupplyPeriods.validate(
        counted.join(reference.supply, how="cross")
        .filter(covers(pl.col("date_of_service")))
        .filter(pl.col("days").is_between("days_from", "days_to"))
        .select("patient_id", "code", "date_of_service", "days")
        .sort("patient_id", "date_of_service")
    )


def _clocks(days: pl.DataFrame) -> pl.DataFrame:
    """Describe each zone's clock: offset_us on the first day, then changes_at_N and shift_us_N.

    All in microseconds. A zone without an Nth change of clocks has nulls there.
    """
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds()
    midnight = pl.col("day").cast(pl.Datetime("us")).to_physical()
    clocks = days.group_by("zone").agg(offset_us=(midnight - pl.col("started_at").to_physical()).first())
    # Only the civil day matters here, so a change may as well take effect in the middle of its day:
    # an hour more or less around noon never leaves the day, whenever the clocks were really changed.
    changes = days.filter(length != _DAY_US).select(
        "zone",
        number=pl.int_range(pl.len()).over("zone").cast(pl.String),
        changes_at=pl.col("started_at").to_physical() + length // 2,
        shift_us=_DAY_US - length,
    )
    for number in changes["number"].unique().sort():
        nth = changes.filter(pl.col("number") == number).drop("number")
        clocks = clocks.join(
            nth.rename({"changes_at": f"changes_at_{number}", "shift_us": f"shift_us_{number}"}),
            on="zone",
            how="left",
        )
    return clocks
