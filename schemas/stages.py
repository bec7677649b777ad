"""Stages: the shapes of the frames that the rules of a month hand to each other.

`billing` validates a frame at the border of each stage; a broken promise here is a fault of ours and stops
the month. What arrives is described in `schemas.sources`, what leaves in `schemas.outputs`.
"""

from datetime import date
from typing import Annotated

import pandera.polars as pa
import polars as pl

Instant = Annotated[pl.Datetime, "us", "UTC"]
Dollars = Annotated[pl.Decimal, 12, 2]


class Clashes(pa.DataFrameModel):
    """Seconds of an entry that its staff member also logged for another patient."""

    entry_id: str
    started_at: Instant
    ended_at: Instant


class People(pa.DataFrameModel):
    """One row per patient of the bucket: who they are, who bills them, who pays, and their month.

    `person` numbers the rows, for joins and sorts that need not compare texts.
    """

    person: pl.UInt32 = pa.Field(unique=True)
    patient_id: str = pa.Field(unique=True)
    zone: str
    month_starts_at: Instant
    month_ends_at: Instant
    has_known_provider: bool
    has_known_practitioner: bool
    payer_kind: str = pa.Field(nullable=True)
    counts_messages: bool
    is_dated_month_end: bool
    has_add_on_units: bool
    bills_supply: bool


class MonthTotals(pa.DataFrameModel):
    """One row per patient with RPM time in the month: what was logged, what counts, what was lost.

    Columns in `_us` are exact microseconds; seconds are the patient's sum, floored once.
    """

    person: pl.UInt32
    patient_id: str
    logged_us: int = pa.Field(gt=0)
    counted_us: int = pa.Field(ge=0)
    overlapping_us: int = pa.Field(ge=0)
    double_booked_us: int = pa.Field(ge=0)
    inpatient_us: int = pa.Field(ge=0)
    undocumented_us: int = pa.Field(ge=0)
    logged_seconds: int = pa.Field(ge=0)
    counted_seconds: int = pa.Field(ge=0)
    has_live_interaction: bool


class CountedStretches(pa.DataFrameModel):
    """Disjoint stretches of counted time, sorted by person and start.

    `clock_starts_us` and `clock_ends_us` place a stretch on the patient's clock of counted time.
    """

    person: pl.UInt32
    patient_id: str
    entry_id: str
    object: str
    started_at: Instant
    ended_at: Instant
    clock_starts_us: int = pa.Field(ge=0)
    clock_ends_us: int = pa.Field(gt=0)


class Units(pa.DataFrameModel):
    """One row per patient with RPM time: what the month earned, billed or not.

    Seconds of the ladder: funded + over the cap + stranded = counted. No unit: `base_code` is null and
    `date_of_service` the month's last day; `is_lost_to_stay` if only an inpatient stay is to blame.
    """

    patient_id: str
    base_code: str = pa.Field(nullable=True)
    base_seconds: int = pa.Field(ge=0)
    add_on_code: str = pa.Field(nullable=True)
    add_on_units: int = pa.Field(ge=0)
    add_on_seconds: int = pa.Field(ge=0)
    over_cap_units: int = pa.Field(ge=0)
    over_cap_seconds: int = pa.Field(ge=0)
    funded_seconds: int = pa.Field(ge=0)
    is_lost_to_stay: bool
    date_of_service: date


class Funding(pa.DataFrameModel):
    """Which counted stretch funds which unit: disjoint, and each unit funded in full."""

    patient_id: str
    code: str
    unit_number: int = pa.Field(ge=1)
    entry_id: str
    object: str
    started_at: Instant
    ended_at: Instant
    funded_us: int = pa.Field(gt=0)


class SupplyPeriods(pa.DataFrameModel):
    """Thirty-day periods that end in the month with enough days of data for a supply code."""

    patient_id: str
    code: str
    date_of_service: date
    days: int = pa.Field(ge=1, le=30)


class Candidates(pa.DataFrameModel):
    """Lines a month would bring, priced, before holds decide: one row per line.

    `unit_from` to `unit_to` number the units of its code that the line carries. `charge` is null where we
    have none, the estimates where CMS has no rate.
    """

    patient_id: str
    position: int
    is_supply: bool
    code: str
    modifiers: str
    units: int = pa.Field(ge=1)
    unit_from: int = pa.Field(ge=1)
    unit_to: int = pa.Field(ge=1)
    counted_seconds: int = pa.Field(ge=0)
    date_of_service: date
    charge: Dollars = pa.Field(nullable=True)
    allowed_estimate: Dollars = pa.Field(nullable=True)
    medicare_estimate: Dollars = pa.Field(nullable=True)
    patient_estimate: Dollars = pa.Field(nullable=True)


class Holds(pa.DataFrameModel):
    """One row per patient and reason, sorted by both; a note stops nothing."""

    patient_id: str
    reason: str
    message: str
    next_step: str
    counted_seconds: int = pa.Field(ge=0)
    is_note: bool

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True
        unique = ("patient_id", "reason")


class Lines(pa.DataFrameModel):
    """One row per claim line, sorted by claim and line number."""

    claim_number: str
    line_number: int = pa.Field(ge=1, le=50)
    patient_id: str
    billing_npi: str
    rendering_npi: str
    payer_id: str
    mac_contract: str
    locality: str
    code: str
    modifiers: str
    units: int = pa.Field(ge=1)
    date_of_service: date
    place_of_service: str
    charge: Dollars = pa.Field(gt=0)
    allowed_estimate: Dollars = pa.Field(ge=0)
    medicare_estimate: Dollars = pa.Field(ge=0)
    patient_estimate: Dollars = pa.Field(ge=0)
    counted_seconds: int = pa.Field(ge=0)
    line_control_number: str = pa.Field(unique=True)

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True


class Claims(pa.DataFrameModel):
    """One row per claim, sorted by claim number; money is the sum of its lines."""

    claim_number: str = pa.Field(unique=True, str_matches=r"^[A-Z0-9]{17}$")
    patient_id: str = pa.Field(unique=True)
    member_id: str
    billing_npi: str
    rendering_npi: str
    payer_id: str
    mac_contract: str
    locality: str
    place_of_service: str
    service_month: date
    code_family: str
    version: int = pa.Field(ge=1)
    date_of_service: date
    total_charge: Dollars = pa.Field(gt=0)
    allowed_estimate: Dollars = pa.Field(ge=0)
    medicare_estimate: Dollars = pa.Field(ge=0)
    patient_estimate: Dollars = pa.Field(ge=0)
    line_count: int = pa.Field(ge=1, le=50)
    diagnosis_codes: pl.List(pl.String)  # type: ignore[valid-type]
    evidence_sha256: str

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True


class Evidence(pa.DataFrameModel):
    """What funds each unit of each line: disjoint stretches of entries, in microseconds."""

    claim_number: str
    line_number: int = pa.Field(ge=1)
    unit_number: int = pa.Field(ge=1)
    code: str
    entry_id: str
    object: str
    started_at: Instant
    ended_at: Instant
    funded_us: int = pa.Field(gt=0)

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True


class PatientTotals(pa.DataFrameModel):
    """One row per patient with RPM time in the month or a claim; counted = billed + stranded + over cap."""

    patient_id: str = pa.Field(unique=True)
    logged_seconds: int = pa.Field(ge=0)
    counted_seconds: int = pa.Field(ge=0)
    billed_seconds: int = pa.Field(ge=0)
    stranded_seconds: int = pa.Field(ge=0)
    over_cap_seconds: int = pa.Field(ge=0)
    is_eligible: bool
    is_billed: bool
    mac_contract: str = pa.Field(nullable=True)

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True
