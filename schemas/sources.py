"""Sources: the rows of the eight datasets as they must arrive, column by column.

`schemas.quarantine` screens rows against these models; where a dataset lies and what names its rows is said
in `schemas.datasets`. How text becomes a type belongs to `schemas.casting`; rules that need today's date or
another dataset belong to `schemas.quarantine`.

A check is named for the quarantine rule it stands for. A column that may be empty may also be absent
from a file; any other column must be there.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

import pandera.polars as pa
import polars as pl

from schemas import columns

LONGEST_ENTRY: Final = pl.duration(hours=4)
# Not places, although the zone database lists them.
_NOT_ZONES: Final = {"Factory", "localtime", "posixrules"}
TIME_ZONES: Final = tuple(sorted(available_timezones() - _NOT_ZONES))

_ADD_ON_LINES: Final = ("per_unit", "units")
_DATES_OF_SERVICE: Final = ("threshold_date", "last_day_of_month")
_USAGES: Final = ("T", "P")


def _writable(*names: str) -> Any:
    """Refuse a name that X12 cannot carry: one such row would stop everybody's file."""
    return _check("unwritable_text", names, columns.is_writable)


def _written(rule: str, name: str, pattern: str) -> Any:
    """Refuse a text of another form."""
    return _check(rule, [name], lambda text: text.str.contains(pattern))


def _check(rule: str, names: Iterable[str], holds: Callable[[pl.Expr], pl.Expr]) -> Any:
    """Make a model's check of some columns, named for the quarantine rule it stands for."""

    def looked_at(cls: type[pa.DataFrameModel], data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(holds(pl.col(data.key)))

    return pa.check(*names, name=rule)(classmethod(looked_at))


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

    has_writable_names = _writable("last_name", "first_name", "address_line", "city")
    # A hyphen is welcome.
    has_postal_code = _written("malformed_postal_code", "postal_code", r"^\d{5}(-?\d{4})?$")


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

    has_writable_names = _writable("last_name", "first_name")


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

    has_writable_names = _writable("name", "address_line", "city", "contact_name")
    # A billing provider's postal code is whole. Hyphens are welcome.
    has_postal_code = _written("malformed_postal_code", "postal_code", r"^\d{5}-?\d{4}$")
    has_tax_id = _written("malformed_tax_id", "tax_id", r"^\d{2}-?\d{7}$")


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
