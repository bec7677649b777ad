"""Months: which service month a run is for, given by a person or left to the calendar.

The flows' first steps ask. A run that the calendar starts bills the month before its scheduled start, in the
zone of its deployment, so that a run which starts late or is retried in the next month stays with its own.
"""

from datetime import date, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import Refused
from schemas.settings import load_settings


def first_day(month: str) -> date:
    """Read a month as people write it, `2026-10`."""
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Refused(f"A month is written like 2026-10; {month!r} is not one.") from None


def service_month(month: str | None, zone: str) -> date:
    """Give the first day of the month a run is for: the one that is named, else the previous one.

    Args:
        zone: The zone (IANA) whose calendar tells the previous month.

    Raises:
        Refused: If the month or the zone is malformed.
    """
    if month:
        return first_day(month)
    # Whoever names the month need not wait for Prefect.
    from prefect import runtime

    start = load_settings().now or runtime.flow_run.scheduled_start_time
    try:
        today = start.astimezone(ZoneInfo(zone)).date()
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused(f"A time zone is written like America/New_York; {zone!r} is not one.") from None
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


def month_after(first: date) -> date:
    """Give the first day of the next month."""
    return (first + timedelta(days=32)).replace(day=1)
