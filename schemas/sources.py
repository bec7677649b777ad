"""Sources: the eight datasets as they must arrive, column by column.

`schemas.quarantine` screens rows against these models; `tasks.intake` finds the folders by `DATASETS`.
How text becomes a type belongs to `schemas.casting`; rules that need today's date or another dataset
belong to `schemas.quarantine`.

A check is named for the quarantine rule it stands for. A column that may be empty may also be absent
from a file; any other column must be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final
from zoneinfo import available_timezones

import pandera.polars as pa
import polars as pl

from schemas import columns

# Where a row was found: its object's key, and its number there; the first row has number 1.
PLACE: Final[Mapping[str, pl.DataType]] = {"object": pl.String(), "row_number": pl.Int64()}

LONGEST_ENTRY: Final = pl.duration(hours=4)
# Not places, although the zone database lists them.
_NOT_ZONES: Final = {"Factory", "localtime", "posixrules"}
TIME_ZONES: Final = tuple(sorted(available_timezones() - _NOT_ZONES))

_ADD_ON_LINES: Final = ("per_unit", "units")
_DATES_OF_SERVICE: Final = ("threshold_date", "last_day_of_month")
_USAGES: Final = ("T", "P")


class TimeEntries(pa.DataFrameModel):
    """One row per uninterrupted piece of work by one staff member for one patient."""

    entry_id: str
    patient_id: str
    program: str = pa.Field(isin=columns.PROGRAMS)
    staff_id: str
    staff_role: str = pa.Field(isin=columns.STAFF_ROLES)
    started_at: Annotated[pl.Datetime, "us", "UTC"]
    ended_at: Annotated[pl.Datetime, "us", "UTC"]
    activity: str = pa.Field(isin=columns.ACTIVITIES)
    method: str = pa.Field(isin=columns.METHODS)
    live_interaction: bool
    note_ref: str = pa.Field(nullable=True)
    care_plan_updated_at: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(nullable=True)
    capture: str = pa.Field(isin=columns.CAPTURES_OF_TIME)
    recorded_at: Annotated[pl.Datetime, "us", "UTC"]

    @pa.check("ended_at", name="end_not_after_start")
    @classmethod
    def ends_after_it_starts(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """An interval is half-open, so one of no length holds no second."""
        return data.lazyframe.select(pl.col("ended_at") > pl.col("started_at"))

    @pa.check("ended_at", name="longer_than_four_hours")
    @classmethod
    def lasts_at_most_four_hours(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Nobody works four hours on end for one patient; a forgotten timer does."""
        return data.lazyframe.select(pl.col("ended_at") - pl.col("started_at") <= LONGEST_ENTRY)


class DeviceReadings(pa.DataFrameModel):
    """One row per reading."""

    reading_id: str
    patient_id: str
    device_id: str = pa.Field(nullable=True)
    measured_at: Annotated[pl.Datetime, "us", "UTC"]
    received_at: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(nullable=True)
    metric: str = pa.Field(nullable=True)
    value: float
    unit: str = pa.Field(nullable=True)
    capture: str = pa.Field(isin=columns.CAPTURES_OF_READINGS)


class Patients(pa.DataFrameModel):
    """The current snapshot: demographics, coverage, enrolment, orders.

    What people must fix on a patient may be empty here, because it holds the claim with a reason of its own.
    """

    patient_id: str
    member_id: str = pa.Field(nullable=True)
    last_name: str
    first_name: str
    middle_name: str = pa.Field(nullable=True)
    birth_date: pl.Date
    sex: str = pa.Field(isin=columns.SEXES)
    address_line: str
    city: str
    state: str = pa.Field(isin=columns.STATES)
    postal_code: str
    payer_id: str = pa.Field(nullable=True)
    billing_npi: str = pa.Field(nullable=True)
    rendering_npi: str = pa.Field(nullable=True)
    place_of_service: str
    diagnosis_codes: str = pa.Field(nullable=True)
    consent_date: pl.Date = pa.Field(nullable=True)
    order_date: pl.Date = pa.Field(nullable=True)
    prior_visit_date: pl.Date = pa.Field(nullable=True)
    care_plan_id: str = pa.Field(nullable=True)
    enrolled_on: pl.Date = pa.Field(nullable=True)
    disenrolled_on: pl.Date = pa.Field(nullable=True)
    died_on: pl.Date = pa.Field(nullable=True)
    medical_record_number: str = pa.Field(nullable=True)

    @pa.check("last_name", "first_name", "address_line", "city", name="unwritable_text")
    @classmethod
    def can_stand_on_a_claim(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """One person without a name that X12 can carry would stop everybody else's file."""
        return data.lazyframe.select(columns.is_writable(pl.col(data.key)))

    @pa.check("postal_code", name="malformed_postal_code")
    @classmethod
    def has_five_or_nine_digits(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A hyphen is welcome."""
        return data.lazyframe.select(pl.col(data.key).str.contains(r"^\d{5}(-?\d{4})?$"))


class CoverageWindows(pa.DataFrameModel):
    """Dated facts that change who pays, or whether anyone does."""

    patient_id: str
    kind: str = pa.Field(isin=columns.COVERAGE_KINDS)
    starts_on: pl.Date
    ends_on: pl.Date = pa.Field(nullable=True)

    @pa.check("ends_on", name="end_before_start")
    @classmethod
    def ends_on_or_after_it_starts(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Both days belong to the window, so a window of one day starts and ends on it."""
        return data.lazyframe.select(pl.col("ends_on") >= pl.col("starts_on"))


class Practitioners(pa.DataFrameModel):
    """Rendering practitioners."""

    npi: str
    last_name: str
    first_name: str
    taxonomy_code: str

    @pa.check("last_name", "first_name", name="unwritable_text")
    @classmethod
    def can_stand_on_a_claim(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A practitioner without a name that X12 can carry would stop everybody's file."""
        return data.lazyframe.select(columns.is_writable(pl.col(data.key)))


class BillingProviders(pa.DataFrameModel):
    """Who bills, from where, under which MAC and locality."""

    npi: str
    name: str
    tax_id: str
    taxonomy_code: str
    address_line: str
    city: str
    state: str = pa.Field(isin=columns.STATES)
    postal_code: str
    mac_contract: str
    locality: str
    timezone: str = pa.Field(isin=TIME_ZONES)
    participating: bool
    qualifying_apm: bool
    contact_name: str
    contact_phone: str

    @pa.check("name", "address_line", "city", "contact_name", name="unwritable_text")
    @classmethod
    def can_stand_on_a_claim(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A practice without a name that X12 can carry would stop its receiver's file."""
        return data.lazyframe.select(columns.is_writable(pl.col(data.key)))

    @pa.check("postal_code", name="malformed_postal_code")
    @classmethod
    def has_nine_digits(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A billing provider's postal code is whole; a hyphen is welcome."""
        return data.lazyframe.select(pl.col(data.key).str.contains(r"^\d{5}-?\d{4}$"))

    @pa.check("tax_id", name="malformed_tax_id")
    @classmethod
    def is_a_tax_id(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Nine digits, with the hyphen people write."""
        return data.lazyframe.select(pl.col(data.key).str.contains(r"^\d{2}-?\d{7}$"))


class Payers(pa.DataFrameModel):
    """Trading-partner profiles."""

    payer_id: str
    name: str
    kind: str = pa.Field(isin=columns.PAYER_KINDS)
    claim_filing_code: str
    submitter_id: str
    receiver_id: str
    receiver_name: str
    add_on_lines: str = pa.Field(isin=_ADD_ON_LINES)
    repeat_modifier: str = pa.Field(nullable=True)
    date_of_service: str = pa.Field(isin=_DATES_OF_SERVICE)
    max_claims_per_transaction: int = pa.Field(gt=0)
    usage: str = pa.Field(isin=_USAGES)
    bill_device_supply: bool
    count_messages: bool


class Charges(pa.DataFrameModel):
    """What is charged per code; `*` as billing NPI means all."""

    billing_npi: str
    code: str
    amount: Annotated[pl.Decimal, 12, 2] = pa.Field(gt=0)
    effective_from: pl.Date


@dataclass(frozen=True)
class Dataset:
    """One dataset: its folder and model, what identifies a row, and what an empty cell stands for.

    Attributes:
        months: The months a run reads, counted from the billed one; empty where a folder has no months.
        key: Columns that name a row: one key with different contents is an error. Empty: not looked at.
        row_key: The column that names a row in the quarantine; None where none does.
        defaults: What an empty cell means; such a column may be absent too.
        widths: Codes of digits that lose their leading zeros in spreadsheets, and how many digits they have.
        has_identifiers: Whether cells may hold names or birth dates, so that no message may quote them.
    """

    name: str
    model: type[pa.DataFrameModel]
    months: tuple[int, ...] = ()
    key: tuple[str, ...] = ()
    row_key: str | None = None
    is_required: bool = True
    defaults: Mapping[str, str | int | bool] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    has_identifiers: bool = False

    @property
    def types(self) -> dict[str, pl.DataType]:
        """Say the type of every column, in the order of the contract."""
        kinds = {name: column.dtype.type for name, column in self.model.to_schema().columns.items()}
        return {name: kind() if isinstance(kind, type) else kind for name, kind in kinds.items()}

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Name the columns that may be neither absent nor empty."""
        schema = self.model.to_schema().columns
        return tuple(
            name for name, column in schema.items() if not column.nullable and name not in self.defaults
        )

    @property
    def accepted_schema(self) -> dict[str, pl.DataType]:
        """Say what accepted rows look like: the dataset's columns and where the row was."""
        return {**self.types, **PLACE}

    @property
    def rejected_schema(self) -> dict[str, pl.DataType]:
        """Say what refused rows look like: key, place, what people call the row, and all of it as text."""
        return {
            **dict.fromkeys(self.key, pl.String()),
            **PLACE,
            "row_key": pl.String(),
            "content": pl.String(),
        }

    @property
    def codes(self) -> dict[str, tuple[str, ...]]:
        """Say what each coded column may hold."""
        return {
            name: tuple(check.statistics["allowed_values"])
            for name, column in self.model.to_schema().columns.items()
            for check in column.checks
            if "allowed_values" in check.statistics
        }


DATASETS: Final[Mapping[str, Dataset]] = {
    dataset.name: dataset
    for dataset in (
        Dataset("time-entries", TimeEntries, months=(-1, 0, 1), key=("entry_id",), row_key="entry_id"),
        Dataset(
            # A 30-day period of device supply that ends in the month may start two months earlier.
            "device-readings",
            DeviceReadings,
            months=(-2, -1, 0, 1),
            row_key="reading_id",
            is_required=False,
        ),
        Dataset(
            "patients",
            Patients,
            key=("patient_id",),
            row_key="patient_id",
            widths={"place_of_service": 2},
            has_identifiers=True,
        ),
        Dataset("coverage-windows", CoverageWindows, is_required=False),
        Dataset("practitioners", Practitioners, key=("npi",), row_key="npi", has_identifiers=True),
        Dataset(
            "billing-providers",
            BillingProviders,
            key=("npi",),
            row_key="npi",
            widths={"mac_contract": 5, "locality": 2},
        ),
        Dataset(
            "payers",
            Payers,
            key=("payer_id",),
            row_key="payer_id",
            defaults={
                "add_on_lines": "per_unit",
                "date_of_service": "threshold_date",
                "max_claims_per_transaction": 5000,
                "usage": "T",
                "bill_device_supply": False,
                "count_messages": True,
            },
        ),
        Dataset("charges", Charges, key=("billing_npi", "code", "effective_from")),
    )
}
