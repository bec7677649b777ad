"""Datasets: where each of the eight lies, what names its rows, and what an empty cell stands for.

`tasks.intake` finds the folders here, `schemas.quarantine` and `schemas.settling` the keys. The columns and
their checks are the models of `schemas.sources`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pandera.polars as pa
import polars as pl

from schemas import columns
from schemas.sources import (
    BillingProviders,
    Charges,
    CoverageWindows,
    DeviceReadings,
    Patients,
    Payers,
    Practitioners,
    TimeEntries,
)

# Where a row was found: its object's key, and its number there; the first row has number 1.
PLACE: Final[Mapping[str, pl.DataType]] = {"object": pl.String(), "row_number": pl.Int64()}


@dataclass(frozen=True)
class Dataset:
    """One dataset: its folder and model, what identifies a row, and what an empty cell stands for.

    Attributes:
        months: The months a run reads, counted from the billed one; empty where a folder has no months.
        key: Columns that name a row: one key with different contents is an error. Empty: not looked at.
        row_key: The column that names a row in the quarantine; None where none does.
        instants: The columns that say when the row's work or reading took place.
        defaults: What an empty cell means; such a column may be absent too.
        widths: Codes of digits that lose their leading zeros in spreadsheets, and how many digits they have.
        has_identifiers: Whether cells may hold names or birth dates, so that no message may quote them.
    """

    name: str
    model: type[pa.DataFrameModel]
    months: tuple[int, ...] = ()
    key: tuple[str, ...] = ()
    row_key: str | None = None
    instants: tuple[str, ...] = ()
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
        """Say what refused rows look like: key, place, what people call the row, when, and all as text."""
        return {
            **dict.fromkeys(self.key, pl.String()),
            **PLACE,
            "row_key": pl.String(),
            **dict.fromkeys(self.instants, columns.UTC),
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
        Dataset(
            "time-entries",
            TimeEntries,
            months=(-1, 0, 1),
            key=("entry_id",),
            row_key="entry_id",
            instants=("started_at", "ended_at"),
        ),
        Dataset(
            # A 30-day period of device supply that ends in the month may start two months earlier.
            "device-readings",
            DeviceReadings,
            months=(-2, -1, 0, 1),
            row_key="reading_id",
            instants=("measured_at",),
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
