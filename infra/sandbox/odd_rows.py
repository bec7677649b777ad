"""Odd rows: rows as text that no screening may let pass, each with one fault, beside rows that are fine.

`infra.sandbox.faults` plants them; the table row_faults.csv says which cell holds what and which rule it
breaks. Patients that are well as rows and held all the same are planted there.
"""

from datetime import date
from typing import Final

import polars as pl

from infra.sandbox import practices
from infra.sandbox.practices import Practices

NOBODY_NPI: Final = practices.npi("198765432")  # a right NPI of no one in the month


def make_odd_rows(
    month: date, patients: pl.DataFrame, world: Practices
) -> tuple[dict[str, list[pl.DataFrame]], list[tuple[str, str, str]]]:
    """Make rows as text, each with one fault, after a row without any."""
    well = _well_rows(month, patients, world)
    faults = practices.table("row_faults.csv").with_columns(pl.col("value").fill_null(""))
    files: dict[str, list[pl.DataFrame]] = {}
    planted: list[tuple[str, str, str]] = []
    for dataset, (key, base) in well.items():
        rows = []
        for number, fault in enumerate(faults.filter(dataset=dataset).to_dicts(), 1):
            value = fault["value"].format(year=month.year, month=f"{month:%Y-%m}")
            row = {**base, **({key: f"{base[key]}-{number:02}"} if key else {}), fault["column"]: value}
            rows.append(row)
            planted.append((fault["rule"], dataset, row[key] if key else f"row {number}"))
        files[dataset] = [_text(rows)]
    base = well["time-entries"][1]
    future = {
        **base,
        "entry_id": "ROW-FUTURE",
        "started_at": "2099-01-05T10:00:00Z",
        "ended_at": "2099-01-05T10:05:00Z",
    }
    nameless = {**base, "entry_id": ""}
    twice = [{**base, "entry_id": "ROW-TWICE", "note_ref": note} for note in ("NOTE-A", "NOTE-B")]
    apart = [{**base, "entry_id": "ROW-APART", "method": method} for method in ("phone", "video")]
    repeat = {**base, "entry_id": "ROW-REPEAT"}
    first = files["time-entries"][0]
    files["time-entries"] = [
        pl.concat([_text([nameless]), first, _text([future, *twice, apart[0], repeat, repeat])]),
        _text([apart[1], repeat]),
    ]
    planted += [
        ("missing", "time-entries", "row 1"),
        ("in_the_future", "time-entries", "ROW-FUTURE"),
        ("duplicate_id", "time-entries", "ROW-TWICE"),
        ("duplicate_id", "time-entries", "ROW-APART"),
        ("repeat", "time-entries", "ROW-REPEAT"),
    ]
    return files, planted


def _text(rows: list[dict[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))


def _well_rows(
    month: date, patients: pl.DataFrame, world: Practices
) -> dict[str, tuple[str | None, dict[str, str]]]:
    """Make a row as text of each dataset, with nothing wrong, and say which column names it."""
    patient = patients.filter(pl.col("patient_id").str.ends_with("among_faulty_rows"))
    patient_id = patient["patient_id"].item()
    day = f"{month:%Y-%m}-05"
    entry = {
        "entry_id": "ROW", "patient_id": patient_id, "program": "RPM",
        "staff_id": "NURSE-OF-ROWS", "staff_role": "clinical_staff",
        "started_at": f"{day}T10:00:00-05:00", "ended_at": f"{day}T10:05:00-05:00",
        "activity": "data_review", "method": "none", "live_interaction": "false", "note_ref": "NOTE-ROW",
        "care_plan_updated_at": "", "capture": "timer", "recorded_at": f"{day}T10:06:00-05:00",
    }  # fmt: skip
    reading = {
        "reading_id": "ROW", "patient_id": patient_id, "device_id": "D-ROW",
        "measured_at": f"{day}T07:00:00-05:00", "received_at": f"{day}T07:01:00-05:00",
        "metric": "body_weight", "value": "81.5", "unit": "kg", "capture": "automatic",
    }  # fmt: skip
    window = {
        "patient_id": patient_id,
        "kind": "rtm",
        "starts_on": "2020-01-01",
        "ends_on": "2020-01-31",
    }
    charge = {"billing_npi": NOBODY_NPI, "code": "99457", "amount": "95.00", "effective_from": "2026-01-01"}
    first = {
        "patients": patient.drop("timezone", "ordinal"),
        "practitioners": world.practitioners.drop("billing_npi").head(1),
        "billing-providers": world.practices.drop("place_of_service", "facility_share", "patient_share").head(
            1
        ),
        "payers": world.payers.head(1),
    }
    # No two rows may share a key, not even two that are broken.
    unique = {
        "patients": "patient_id",
        "practitioners": "npi",
        "billing-providers": "npi",
        "payers": "payer_id",
    }
    texts = {
        name: frame.select(pl.all().cast(pl.String).fill_null("")).to_dicts()[0]
        for name, frame in first.items()
    }
    return {
        "time-entries": ("entry_id", entry),
        "device-readings": ("reading_id", reading),
        "coverage-windows": (None, window),
        "charges": (None, charge),
        **{name: (unique[name], {**text, unique[name]: f"ROW-{name}"}) for name, text in texts.items()},
    }
