"""Outputs: the shapes of what a month leaves behind, column by column as the contract fixes them.

`tasks.outputs` writes the files and `tasks.report` the page; people and other systems read them.
How a figure comes about belongs to `billing`, how a file is written to `tasks.outputs`.
"""

from datetime import date
from typing import Annotated, Final, TypedDict

import pandera.polars as pa
import polars as pl


class LinesFile(pa.DataFrameModel):
    """`lines.csv`: one row per claim line, sorted by claim and line number."""

    claim_number: str
    line_number: int = pa.Field(ge=1)
    patient_id: str
    billing_npi: str
    rendering_npi: str
    payer_id: str
    mac_contract: str
    locality: str
    code: str
    modifiers: str = pa.Field(nullable=True)
    units: int = pa.Field(ge=1)
    date_of_service: date
    place_of_service: str
    charge: Annotated[pl.Decimal, 12, 2] = pa.Field(ge=0)
    allowed_estimate: Annotated[pl.Decimal, 12, 2] = pa.Field(ge=0)
    medicare_estimate: Annotated[pl.Decimal, 12, 2] = pa.Field(ge=0)
    patient_estimate: Annotated[pl.Decimal, 12, 2] = pa.Field(ge=0)
    counted_seconds: int = pa.Field(ge=0)

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True
        unique = ("claim_number", "line_number")


class HoldsFile(pa.DataFrameModel):
    """`holds.csv`: one row per patient and reason, sorted by both."""

    patient_id: str
    reason: str
    message: str
    next_step: str
    counted_seconds: int = pa.Field(ge=0)

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True
        unique = ("patient_id", "reason")


class SupplyLeftOutFile(pa.DataFrameModel):
    """`supply_left_out.csv`: earned device periods on no claim of a patient who is not held, by reason."""

    patient_id: str
    code: str
    date_of_service: date
    reason: str
    next_step: str

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True


class QuarantineFile(pa.DataFrameModel):
    """`quarantine.csv`: one row per rejected input row and failed rule, sorted by dataset, object and row.

    `row_key` and `column` are empty where a whole object was refused.
    """

    dataset: str
    object: str
    row_key: str = pa.Field(nullable=True)
    column: str = pa.Field(nullable=True)
    rule: str
    message: str

    class Config:
        """The columns, in this order, and no other."""

        strict = True
        ordered = True


def columns_of(model: type[pa.DataFrameModel]) -> tuple[str, ...]:
    """List a file's columns in the contract's order."""
    return tuple(model.to_schema().columns)


LINES: Final = columns_of(LinesFile)
HOLDS: Final = columns_of(HoldsFile)
QUARANTINE: Final = columns_of(QuarantineFile)


class CodeTotals(TypedDict):
    """What one code brought: `by_code` of the funnel."""

    code: str
    lines: int
    units: int
    charge: str
    allowed_estimate: str
    medicare_estimate: str
    patient_estimate: str


class MacTotals(TypedDict):
    """One contractor's share of the month: `by_mac` of the funnel (null: the provider is unknown)."""

    mac_contract: str | None
    jurisdiction: str | None
    mac_name: str | None
    patients_with_time: int
    patients_eligible: int
    patients_billed: int
    claims: int
    lines: int
    charge: str
    allowed_estimate: str
    medicare_estimate: str
    patient_estimate: str


class HoldTotals(TypedDict):
    """One reason why patients are not billed, or are billed for less: `holds` of the funnel."""

    reason: str
    is_note: bool
    patients: int
    counted_minutes: float
    next_step: str | None


class LeftOutTotals(TypedDict):
    """Device periods that were earned and are on no claim, by reason: `supply_left_out` of the funnel."""

    reason: str
    periods: int
    next_step: str


class MinutesBand(TypedDict):
    """Patients whose counted minutes fall into one band, both ends included (open: null)."""

    minutes_from: int
    minutes_to: int | None
    patients: int
    patients_billed: int
    counted_minutes: float
    stranded_minutes: float


class UnitsPattern(TypedDict):
    """Claims that carry the same codes and units, e.g. `99457 + 2 x 99458`."""

    pattern: str
    claims: int
    allowed_estimate: str


class SourceTotals(TypedDict):
    """What arrived of one dataset: rows read = accepted + quarantined + repeats dropped + elsewhere."""

    dataset: str
    rows_read: int
    rows_accepted: int
    rows_quarantined: int
    repeats_dropped: int
    # Rejected rows in a neighbouring month's folder and of that month, whose own run lists them.
    rows_elsewhere: int


class QuarantineTotals(TypedDict):
    """How many rows of one dataset failed one rule."""

    dataset: str
    rule: str
    rows: int


class Funnel(TypedDict):
    """`funnel.json`: patients, minutes and money from enrolment to claim.

    Minutes are rounded to two places for people; the seconds beside them are exact and add up:
    counted = billed + stranded + over the cap. Money is decimal text with two places.
    """

    month: str
    patients_enrolled: int
    patients_held: int
    patients_with_time: int
    patients_eligible: int
    patients_billed: int
    minutes_logged: float
    minutes_counted: float
    minutes_billed: float
    minutes_stranded: float
    minutes_over_cap: float
    logged_seconds: int
    counted_seconds: int
    billed_seconds: int
    stranded_seconds: int
    over_cap_seconds: int
    claims: int
    lines: int
    units: int
    charge: str
    allowed_estimate: str
    medicare_estimate: str
    patient_estimate: str
    by_code: list[CodeTotals]
    by_mac: list[MacTotals]
    holds: list[HoldTotals]
    supply_left_out: list[LeftOutTotals]
    minutes_distribution: list[MinutesBand]
    units_distribution: list[UnitsPattern]
    sources: list[SourceTotals]
    quarantine: list[QuarantineTotals]
    extra_columns: dict[str, list[str]]
