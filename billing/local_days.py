"""Local days: when a civil day begins and ends, in every zone a month needs.

The rules work on UTC instants; this is the one place where an IANA zone becomes instants, a few dozen
rows a zone, which the other modules join. A day lasts 23 to 25 hours where clocks change.
"""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from schemas.columns import UTC as UTC_INSTANT

DAY: dict[str, pl.DataType | type[pl.DataType]] = {
    "zone": pl.String,
    "day": pl.Date,
    "started_at": UTC_INSTANT,
    "ended_at": UTC_INSTANT,
}


def month_bounds(month: date) -> tuple[date, date]:
    """Name the first and the last day of the month that a date lies in."""
    return month.replace(day=1), month.replace(day=monthrange(month.year, month.month)[1])


def local_days(zones: Iterable[str], first: date, last: date) -> pl.DataFrame:
    """List the civil days of each zone, both ends included, as half-open stretches of instants."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    rows = [
        (zone, day, _midnight(day, zone), _midnight(day + timedelta(days=1), zone))
        for zone in sorted(set(zones))
        for day in days
    ]
    return pl.DataFrame(rows, schema=DAY, orient="row")


def month_windows(zones: Iterable[str], month: date) -> pl.DataFrame:
    """Say when the month begins and ends in each zone: zone, month_starts_at, month_ends_at."""
    days = local_days(zones, *month_bounds(month))
    return days.group_by("zone").agg(
        month_starts_at=pl.col("started_at").min(), month_ends_at=pl.col("ended_at").max()
    )


def local_date(frame: pl.DataFrame, instant: str, month: date) -> pl.DataFrame:
    """Add `day`, the civil date of an instant inside the month; the frame needs `zone`."""
    days = local_days(frame["zone"].unique(), *month_bounds(month)).select("zone", "day", "started_at")
    dated = frame.sort(instant).join_asof(
        days.sort("started_at"),
        left_on=instant,
        right_on="started_at",
        by="zone",
        strategy="backward",
        check_sortedness=False,
    )
    return dated.drop("started_at")


def _midnight(day: date, zone: str) -> datetime:
    # Where clocks skip midnight, the offset before the change gives its instant, which begins the day.
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
