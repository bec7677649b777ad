"""A made-up bucket of patients: one that is billed as it stands, and ways to change it.

The cases in `cases/*.csv` are written in its small notations, so that a billing analyst can read them:
an entry is `05 09:00:00-09:20:00 method=video` (day of the month and wall clock of the practice, then what
differs from a documented live phone call by nurse S1 for patient P1), several are separated by ` + `.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from billing.month import BilledMonth, MonthSources, bill_month
from billing.reference import tables
from billing.staff_clashes import staff_clashes
from schemas.columns import MONEY
from schemas.columns import UTC as INSTANT

OCTOBER: Final = date(2026, 10, 1)
TODAY: Final = date(2026, 11, 23)
CHICAGO: Final = "America/Chicago"
CASES: Final = Path(__file__).parent / "cases"

Schema = dict[str, pl.DataType | type[pl.DataType]]

ENTRIES: Final[Schema] = {
    "entry_id": pl.String,
    "patient_id": pl.String,
    "program": pl.String,
    "staff_id": pl.String,
    "staff_role": pl.String,
    "started_at": INSTANT,
    "ended_at": INSTANT,
    "activity": pl.String,
    "method": pl.String,
    "live_interaction": pl.Boolean,
    "note_ref": pl.String,
    "object": pl.String,
}
READINGS: Final[Schema] = {"patient_id": pl.String, "measured_at": INSTANT, "capture": pl.String}
COVERAGE: Final[Schema] = {
    "patient_id": pl.String,
    "kind": pl.String,
    "starts_on": pl.Date,
    "ends_on": pl.Date,
}
CHARGES: Final[Schema] = {
    "billing_npi": pl.String,
    "code": pl.String,
    "amount": MONEY,
    "effective_from": pl.Date,
}
PATIENT: Final[dict[str, Any]] = {
    "patient_id": "P1",
    "member_id": "1EG4TE5MK73",
    "payer_id": "PARTB",
    "billing_npi": "1234567893",
    "rendering_npi": "1245319599",
    "place_of_service": "11",
    "diagnosis_codes": "I10;E11.9",
    "consent_date": date(2026, 1, 5),
    "order_date": date(2026, 1, 5),
    "prior_visit_date": date(2026, 1, 5),
    "care_plan_id": "CP-1",
    "enrolled_on": date(2026, 1, 5),
    "disenrolled_on": None,
    "died_on": None,
}
PROVIDER: Final[dict[str, Any]] = {
    "npi": "1234567893",
    "mac_contract": "04412",
    "locality": "11",
    "timezone": CHICAGO,
    "participating": True,
    "qualifying_apm": False,
}
PAYER: Final[dict[str, Any]] = {
    "payer_id": "PARTB",
    "kind": "medicare_part_b",
    "add_on_lines": "per_unit",
    "repeat_modifier": None,
    "date_of_service": "threshold_date",
    "bill_device_supply": False,
    "count_messages": True,
}
AMOUNTS: Final = {"99445": "70.00", "99454": "70.00", "99457": "80.00", "99458": "60.00", "99470": "40.00"}
DATES: Final = ("consent_date", "order_date", "prior_visit_date", "enrolled_on", "disenrolled_on", "died_on")


def cases(name: str) -> list[dict[str, str]]:
    """Read a table of cases."""
    with (CASES / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def reference() -> tables.Reference:
    """The packaged reference tables."""
    return tables.load()


def at(day: date, clock: str, zone: str = CHICAGO) -> datetime:
    """Turn a wall clock into an instant; `24:00` is the next midnight, `01:30*` the second such hour."""
    hour, *rest = (float(part) for part in clock.rstrip("*").split(":"))
    minute, second = rest[0], rest[1] if len(rest) > 1 else 0.0
    start = datetime.combine(day, time(), ZoneInfo(zone))
    naive = start.replace(tzinfo=None) + timedelta(hours=hour, minutes=minute, seconds=second)
    return naive.replace(tzinfo=ZoneInfo(zone), fold=int(clock.endswith("*"))).astimezone(UTC)


def entry(started_at: datetime, ended_at: datetime, **changes: Any) -> dict[str, Any]:
    """One documented live call of nurse S1 with P1, changed as asked."""
    return {
        "entry_id": f"{started_at:%m%dT%H%M%S}-{changes.get('patient_id', 'P1')}",
        "patient_id": "P1",
        "program": "RPM",
        "staff_id": "S1",
        "staff_role": "clinical_staff",
        "started_at": started_at,
        "ended_at": ended_at,
        "activity": "patient_contact",
        "method": "phone",
        "live_interaction": True,
        "note_ref": "N-1",
        "object": "time-entries/2026-10/a.csv",
        **changes,
    }


def parse_entries(text: str, month: date = OCTOBER, zone: str = CHICAGO) -> pl.DataFrame:
    """Read entries in the notation of the cases; a day may be written in full (`2026-11-01`)."""
    rows = []
    for number, one in enumerate(part for part in text.split(" + ") if part.strip()):
        when, clocks, *changes = one.split()
        day = date.fromisoformat(when) if "-" in when else month.replace(day=int(when))
        start, end = clocks.split("-")
        wishes: dict[str, Any] = dict(change.split("=") for change in changes)
        if "live_interaction" in wishes:
            wishes["live_interaction"] = wishes["live_interaction"] == "true"
        if wishes.get("note_ref") == "none":
            wishes["note_ref"] = None
        wishes.setdefault("entry_id", f"E{number + 1}")
        rows.append(entry(at(day, start, zone), at(day, end, zone), **wishes))
    return entries(rows)


def entries(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Bring entries into their accepted shape."""
    return pl.DataFrame(list(rows), schema=ENTRIES)


def patients(*changes: Mapping[str, Any]) -> pl.DataFrame:
    """One patient per set of changes to PATIENT."""
    return pl.DataFrame(
        [{**PATIENT, **change} for change in changes],
        schema={name: pl.Date if name in DATES else pl.String for name in PATIENT},
    )


def readings(days: Iterable[date], zone: str = CHICAGO, **changes: str) -> pl.DataFrame:
    """One automatic reading at noon of each day."""
    row = {"patient_id": "P1", "capture": "automatic", **changes}
    return pl.DataFrame([{**row, "measured_at": at(day, "12:00", zone)} for day in days], schema=READINGS)


def days(first: date, count: int) -> list[date]:
    """Consecutive days."""
    return [first + timedelta(days=n) for n in range(count)]


def coverage(*windows: tuple[str, str, str]) -> pl.DataFrame:
    """Windows of P1: kind, first day, last day (empty: open)."""
    rows = [
        ("P1", kind, date.fromisoformat(start), date.fromisoformat(end) if end else None)
        for kind, start, end in windows
    ]
    return pl.DataFrame(rows, schema=COVERAGE, orient="row")


def charges(amounts: Mapping[str, str] = AMOUNTS, **changes: Any) -> pl.DataFrame:
    """A charge for all providers and each code, in force since 2025."""
    row = {"billing_npi": "*", "effective_from": date(2025, 1, 1), **changes}
    return pl.DataFrame(
        [{**row, "code": code, "amount": Decimal(amount)} for code, amount in amounts.items()], schema=CHARGES
    )


def providers(*changes: Mapping[str, Any]) -> pl.DataFrame:
    """One billing provider per set of changes."""
    return pl.DataFrame([{**PROVIDER, **change} for change in changes])


def payers(*changes: Mapping[str, Any]) -> pl.DataFrame:
    """One payer per set of changes."""
    return pl.DataFrame(
        [{**PAYER, **change} for change in changes], schema_overrides={"repeat_modifier": pl.String}
    )


def sources(
    time_entries: pl.DataFrame | str = "05 09:00:00-09:20:00", **changes: pl.DataFrame
) -> MonthSources:
    """P1's bucket: one twenty-minute call in October 2026, a reading a day, everything in order."""
    worked = parse_entries(time_entries) if isinstance(time_entries, str) else time_entries
    whole = MonthSources(
        entries=worked,
        clashes=staff_clashes(worked),
        readings=readings(days(OCTOBER, 31)),
        patients=patients({}),
        coverage=coverage(),
        practitioners=pl.DataFrame({"npi": ["1245319599"]}),
        providers=providers({}),
        payers=payers({}),
        charges=charges(),
    )
    return replace(whole, **changes)


def bill(bucket: MonthSources, month: date = OCTOBER, today: date = TODAY) -> BilledMonth:
    """Bill a bucket by the packaged reference tables."""
    return bill_month(bucket, month, reference(), today=today)


def reasons(billed: BilledMonth, patient_id: str = "P1") -> list[str]:
    """List a patient's holds and notes."""
    return billed.holds.filter(pl.col("patient_id") == patient_id)["reason"].to_list()


def carried(billed: BilledMonth, patient_id: str = "P1") -> str:
    """Write a patient's lines as `99457 + 99458 x 2`, a plain sum of lines."""
    lines = billed.lines.filter(pl.col("patient_id") == patient_id)
    words = lines.select(
        pl.when(pl.col("units") > 1).then(pl.format("{} x {}", "code", "units")).otherwise("code")
    )
    return " + ".join(words.to_series())
