"""Faults: what is wrong in the sample month, on purpose, each fault on a row or a patient of its own.

`infra.sandbox.month` mixes them into what `people`, `timelogs` and `devices` made, and lists them, so that
a test can demand that each lands where it should. A planted patient is like any other but for one fault:
forty-five documented minutes with a call in them, readings on most days, everything on file.

Two things cannot be planted in a recent month: TIMELY_FILING, which a whole month has or has not, and a
row in the future of every clock, which is dated 2099.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from infra.sandbox import devices, people, practices, timelogs
from infra.sandbox.odd_rows import NOBODY_NPI, make_odd_rows
from infra.sandbox.practices import Practices

FAULTS: Final = {"kind": pl.String(), "dataset": pl.String(), "key": pl.String()}
_ZONE: Final = "America/Chicago"  # of the first practice, which takes in most planted patients
_MBI_NUMBERS: Final = 900_000_001  # beyond those of the patients who are well
_TWIN_MBI: Final = people.member_ids(np.array([_MBI_NUMBERS - 1])).item()
# A practice that charges nothing, and one whose locality CMS does not know.
_UNCHARGED: Final = {"npi": practices.npi("120999001"), "name": "Practice Without Charges"}
_UNRATED: Final = {
    "npi": practices.npi("120999002"),
    "name": "Practice Off The Map",
    "mac_contract": "99999",
    "locality": "99",
}


@dataclass(frozen=True)
class Plan:
    """One planted patient: the fault, what it changes, and the seconds that count all the same."""

    kind: str
    changes: Mapping[str, object] = field(default_factory=dict)
    window: tuple[str, int, int | None] | None = (
        None  # kind; first and last day, counted from the month's first
    )
    entries: tuple[Mapping[str, Any], ...] = ()
    readings: str = "automatic"
    counted_seconds: int = 2700
    is_fault: bool = True


@dataclass(frozen=True)
class Planted:
    """What to mix in.

    Attributes:
        patients, coverage, entries, readings: Typed rows, as the other makers return them; `entries` also
            says in which month's `folder` (counted from the billed month) a row lies.
        providers, charges: Rows of billing-providers and charges that only planted patients use.
        rows: By dataset, rows as text, to be written as files of their own; time-entries has two files.
        faults: kind, dataset (or `holds`), key: what must be found. Kinds that are not faults are here too.
        counted_seconds: patient_id, counted_seconds.
    """

    patients: pl.DataFrame
    coverage: pl.DataFrame
    entries: pl.DataFrame
    readings: pl.DataFrame
    providers: pl.DataFrame
    charges: pl.DataFrame
    rows: dict[str, list[pl.DataFrame]]
    faults: pl.DataFrame
    counted_seconds: pl.DataFrame


def _work(day: int, start: str, minutes: float, **changes: Any) -> dict[str, Any]:
    """Describe one entry: `day` is a day of the month from 0, or beyond its ends."""
    return {"day": day, "start": start, "seconds": round(minutes * 60), **changes}


_CALL: Final = {"activity": "patient_contact", "method": "phone", "live_interaction": True}
_THREE: Final = (_work(5, "10:00", 15, **_CALL), _work(12, "10:00", 15), _work(19, "10:00", 15))
_NO_CALL: Final = tuple({**entry, "live_interaction": False} for entry in _THREE)
_OTHER_NURSE: Final = {"staff_id": "PLANTED-OTHER-NURSE"}


def _plans(month: date, days: int) -> list[Plan]:
    """List every planted patient."""
    second_day, next_month = month + timedelta(days=1), month + timedelta(days=days)
    shared = {"staff_id": "PLANTED-SHARED-NURSE"}
    return [
        Plan("NO_CONSENT", {"consent_date": None}),
        Plan("NO_CONSENT", {"consent_date": next_month}),
        Plan("NO_ORDER", {"order_date": None}),
        Plan("NO_PRIOR_VISIT", {"prior_visit_date": None}),
        Plan("NO_CARE_PLAN", {"care_plan_id": None}),
        Plan("NOT_ENROLLED", {"enrolled_on": next_month}),
        Plan("NOT_ENROLLED", {"disenrolled_on": second_day}),
        Plan("NO_LIVE_INTERACTION", entries=_NO_CALL),
        Plan("NO_LIVE_INTERACTION", entries=({**_THREE[0], "method": "message"}, *_THREE[1:])),
        Plan("BELOW_THRESHOLD", entries=(_work(5, "10:00", 599 / 60, **_CALL),), counted_seconds=599),
        Plan("NO_DIAGNOSIS", {"diagnosis_codes": None}),
        Plan("NO_DIAGNOSIS", {"diagnosis_codes": "I10;Z99.ZZ9"}),
        Plan("BAD_MEMBER_ID", {"member_id": "1EG4TS5MK73"}),
        Plan("BAD_NPI", {"rendering_npi": "1234567890"}),
        Plan("BAD_NPI", {"rendering_npi": NOBODY_NPI}),
        Plan("NO_COVERAGE", {"payer_id": "ZZ999"}),
        Plan("NO_COVERAGE", {"payer_id": None}),
        Plan("MEDICARE_ADVANTAGE", window=("medicare_advantage", 0, None)),
        Plan("HOSPICE", window=("hospice", 2, None)),
        Plan("ACCESS_ALIGNED", window=("access_aligned", -90, 200)),
        Plan("INPATIENT", window=("inpatient", -3, days + 3), counted_seconds=0),
        Plan("INPATIENT", window=("snf_part_a", 0, None), counted_seconds=0),
        Plan("RTM_SAME_PERIOD", window=("rtm", 27, 27)),
        Plan("OTHER_PRACTITIONER", window=("other_rpm_practitioner", -40, 0)),
        Plan("DECEASED", {"died_on": second_day}),
        Plan("NO_CHARGE", {"billing_npi": _UNCHARGED["npi"]}),
        Plan("NO_RATE", {"billing_npi": _UNRATED["npi"]}),
        Plan("UNDOCUMENTED_TIME", entries=(*_THREE, _work(20, "10:00", 5, note_ref=None))),
        Plan(
            "OVERLAPPING_PROGRAMS",
            entries=(*_THREE, _work(19, "10:10", 20, program="CCM", **_OTHER_NURSE)),
            counted_seconds=2400,
        ),
        Plan("STAFF_DOUBLE_BOOKED", entries=(*_THREE[:2], {**_THREE[2], **shared}), counted_seconds=2400),
        Plan(
            "STAFF_DOUBLE_BOOKED",
            entries=(*_THREE[:2], _work(19, "10:10", 15, **shared)),
            counted_seconds=2400,
        ),
        Plan(
            "UNITS_OVER_CAP",
            entries=(*_THREE, _work(20, "10:00", 45), _work(21, "10:00", 35)),
            counted_seconds=125 * 60,
        ),
        Plan("NO_DEVICE_DATA", readings="none"),
        Plan("NO_DEVICE_DATA", readings="manual"),
        # Not faults, but what a month must get right: days in hospital left out, the month's edges.
        Plan("days_in_hospital", window=("inpatient", 19, 19), counted_seconds=1800, is_fault=False),
        Plan(
            "clipped_at_both_ends",
            entries=(
                _work(-1, "23:45", 25, folder=-1, **_CALL),
                _work(days - 1, "23:50", 25, folder=1),
            ),
            counted_seconds=1200,
            is_fault=False,
        ),
        # A repeated row of five minutes counts once; the broken rows around it do not.
        Plan("among_faulty_rows", counted_seconds=2700 + 300, is_fault=False),
        Plan("ALREADY_BILLED", {"member_id": _TWIN_MBI}, is_fault=False),
        Plan("ALREADY_BILLED", {"member_id": _TWIN_MBI}),
    ]  # fmt: skip


def plant(rng: np.random.Generator, month: date, world: Practices, pool: pl.DataFrame) -> Planted:
    """Make every planted patient and row of a month."""
    days = ((month + timedelta(days=31)).replace(day=1) - month).days
    plans = _plans(month, days)
    ids = pl.Series(
        "patient_id", [f"PLANTED-{number:02}-{plan.kind}" for number, plan in enumerate(plans, 1)]
    )
    patients = _change(_well_patients(rng, month, world, pool, ids), plans)
    windows = [
        (key, plan.window[0], _day(month, plan.window[1]), _day(month, plan.window[2]))
        for key, plan in zip(ids, plans, strict=True)
        if plan.window
    ]
    coverage = pl.DataFrame(
        windows,
        schema={"patient_id": pl.String, "kind": pl.String, "starts_on": pl.Date, "ends_on": pl.Date},
        orient="row",
    )
    readings = devices.make_readings(rng, patients, month).join(
        pl.DataFrame({"patient_id": ids, "readings": [plan.readings for plan in plans]}), on="patient_id"
    )
    capture = pl.when(pl.col("readings") == "manual").then(pl.lit("manual")).otherwise("capture")
    rows, row_faults = make_odd_rows(month, patients, world)
    holds = [(plan.kind, "holds", key) for plan, key in zip(plans, ids, strict=True) if plan.is_fault]
    others = [
        (plan.kind, "patients", key)
        for plan, key in zip(plans, ids, strict=True)
        if not plan.is_fault and plan.kind.islower()
    ]
    return Planted(
        patients=patients,
        coverage=coverage,
        entries=_entries(month, plans, ids),
        readings=readings.filter(pl.col("readings") != "none")
        .with_columns(pl.format("PLANTED-{}", "reading_id").alias("reading_id"), capture=capture)
        .drop("readings"),
        providers=_providers(world),
        charges=world.charges.filter(billing_npi=world.practices["npi"].first()).with_columns(
            billing_npi=pl.lit(_UNRATED["npi"])
        ),
        rows=rows,
        faults=pl.DataFrame([*holds, *others, *row_faults], schema=FAULTS, orient="row"),
        counted_seconds=pl.DataFrame(
            {"patient_id": ids, "counted_seconds": [plan.counted_seconds for plan in plans]}
        ),
    )


def _day(month: date, offset: int | None) -> date | None:
    return None if offset is None else month + timedelta(days=offset)


def _well_patients(
    rng: np.random.Generator, month: date, world: Practices, pool: pl.DataFrame, ids: pl.Series
) -> pl.DataFrame:
    """Make patients of the first practice who were enrolled long before the month."""
    home = world.practices.head(1).with_columns(patient_share=1.0, facility_share=0.0)
    staff = world.practitioners.filter(billing_npi=home["npi"].item())
    made = people.make_patients(
        rng, len(ids), month, replace(world, practices=home, practitioners=staff), pool
    )
    return made.with_columns(
        ids,
        people.member_ids(np.arange(_MBI_NUMBERS, _MBI_NUMBERS + len(ids))),
        enrolled_on=pl.lit(month - timedelta(days=120)),
        consent_date=pl.lit(month - timedelta(days=120)),
        order_date=pl.lit(month - timedelta(days=122)),
        prior_visit_date=pl.lit(month - timedelta(days=150)),
        disenrolled_on=pl.lit(None, dtype=pl.Date),
        payer_id=pl.lit(home["mac_contract"].item()),
        medical_record_number=pl.format("MRN-{}", ids),
    )


def _change(patients: pl.DataFrame, plans: list[Plan]) -> pl.DataFrame:
    """Change on each patient what the plan says."""
    rows = patients.to_dicts()
    for row, plan in zip(rows, plans, strict=True):
        row.update(plan.changes)
    return pl.DataFrame(rows, schema=patients.schema)


def _entries(month: date, plans: list[Plan], ids: pl.Series) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for plan, patient in zip(plans, ids, strict=True):
        for entry in plan.entries or _THREE:
            hour, minute = map(int, entry["start"].split(":"))
            local = datetime(month.year, month.month, 1, hour, minute, tzinfo=ZoneInfo(_ZONE)) + timedelta(
                days=entry["day"]
            )
            rows.append(
                {
                    "patient_id": patient, "program": "RPM", "staff_id": f"NURSE-OF-{patient}",
                    "staff_role": "clinical_staff", "activity": "data_review", "method": "none",
                    "live_interaction": False, "note_ref": f"NOTE-{patient}-{len(rows)}", "capture": "timer",
                    "started_at": local.astimezone(ZoneInfo("UTC")), "utc_offset": local.utcoffset(),
                    "folder": 0, **entry,
                }
            )  # fmt: skip
    return (
        pl.DataFrame(rows, infer_schema_length=None)
        .with_columns(
            pl.col("started_at").dt.cast_time_unit("us").dt.convert_time_zone("UTC"),
            entry_id=pl.format("PLANTED-E{}", pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(4)),
            care_plan_updated_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
        )
        .with_columns(ended_at=pl.col("started_at") + pl.duration(seconds="seconds"))
        .with_columns(recorded_at=pl.col("ended_at") + pl.duration(minutes=2))
        .select(*timelogs.COLUMNS, "utc_offset", "folder")
    )


def _providers(world: Practices) -> pl.DataFrame:
    """Make the practices that cannot be billed for, like the first one in all else."""
    first = world.practices.head(1)
    return pl.concat(
        [
            first.with_columns(**{name: pl.lit(value) for name, value in other.items()})
            for other in (_UNCHARGED, _UNRATED)
        ]
    )
