"""The reference tables: read once, typed, dated, and looked up by date of service.

`load` makes a `Reference` from the packaged CSV files and from the CMS releases that were loaded later
(`billing.reference.releases`); `billing.pricing` and the rules read it. No rule and no formula belongs
here, and nothing here asks what day it is today.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

PACKAGED: Final = Path(__file__).parent
# The CMS figures that a loaded release replaces, year by year.
FEE_SCHEDULE: Final = ("rvus", "gpcis", "factors")
# Exact in every product of the fee formula: RVUs carry 2 decimals, GPCIs 3, conversion factors 4.
RATIO: Final = pl.Decimal(38, 10)

# What a column holds follows from its name in every table; a column not named here is text.
_TYPES: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **dict.fromkeys(("work_rvu", "nonfacility_pe_rvu", "facility_pe_rvu", "mp_rvu"), RATIO),
    **dict.fromkeys(("work_gpci", "pe_gpci", "mp_gpci", "conversion_factor"), RATIO),
    **dict.fromkeys(("is_nonfacility_na", "is_facility_na", "is_add_on"), pl.Boolean),
    **dict.fromkeys(("minutes_from", "minutes_to", "unit_minutes", "days_from", "days_to"), pl.Int64),
    **dict.fromkeys(("units", "limit_months"), pl.Int64),
    **dict.fromkeys(("effective_from", "effective_to"), pl.Date),
    **dict.fromkeys(("start_date", "last_modified", "stop_date"), pl.Date),
}


class MissingReference(LookupError):
    """A figure that the month needs has not been loaded; the sentence says how to load it."""


@dataclass(frozen=True)
class Reference:
    """The tables, one frame each; every dated row carries source, effective_from and effective_to.

    Dates are inclusive at both ends; a null effective_to is open. Prices and rules go by date of service.
    """

    rvus: pl.DataFrame  # code, status, work_rvu, {nonfacility,facility}_pe_rvu, is_{...}_na, mp_rvu
    gpcis: pl.DataFrame  # mac_contract, locality, state, locality_name, work_gpci, pe_gpci, mp_gpci
    factors: pl.DataFrame  # factor (standard | apm), conversion_factor in dollars
    macs: pl.DataFrame  # mac_contract, jurisdiction, mac_name, states (;-separated)
    places_of_service: pl.DataFrame  # place_of_service, setting (facility | nonfacility)
    ladder: pl.DataFrame  # code, minutes_from (inclusive), minutes_to (exclusive), unit_minutes, is_add_on
    supply: pl.DataFrame  # code, days_from, days_to: distinct days of data in 30, both inclusive
    add_ons: pl.DataFrame  # primary_code, add_on_code
    caps: pl.DataFrame  # payer_kind, code, units: most units of a code in a month
    filing: pl.DataFrame  # payer_kind, limit_months after the date of service; no row: no limit known
    diagnoses: pl.DataFrame  # code: billable ICD-10-CM, upper case, no dot
    carc: pl.DataFrame
    rarc: pl.DataFrame
    group_codes: pl.DataFrame
    claim_status_category: pl.DataFrame
    claim_status: pl.DataFrame
    plb: pl.DataFrame
    ack_999: pl.DataFrame


def load(overlay: Path | None = None) -> Reference:
    """Read the packaged tables, and over them the CMS releases in the overlay folder.

    A loaded release replaces all packaged fee-schedule rows of its year; of several releases of one
    year the last loaded one counts. The answer is kept in memory until a release is added.
    """
    by_year = releases_by_year(overlay) if overlay else {}
    return _load(tuple(folders[-1] for folders in by_year.values()))


def in_effect(table: pl.DataFrame, on: date) -> pl.DataFrame:
    """Keep the rows that are in force on a day, both ends inclusive."""
    return table.filter(covers(pl.lit(on)))


def covers(on: pl.Expr) -> pl.Expr:
    """Tell whether a row's effective dates take in a date, both ends inclusive."""
    return (pl.col("effective_from") <= on) & (on <= pl.col("effective_to")).fill_null(value=True)


def missing_schedule(on: date) -> MissingReference:
    """Say that a year's fee schedule is absent, and how to load it."""
    return MissingReference(
        f"No physician fee schedule is loaded for {on.year}: load CMS's release with "
        f"`rpmclaims reference load --rvu … --gpci … --year {on.year}`."
    )


def releases_by_year(overlay: Path) -> dict[int, list[Path]]:
    """List the loaded releases of every year, oldest first; their folders are named YEAR-SEQUENCE-SHA."""
    by_year: dict[int, list[Path]] = {}
    for folder in sorted(overlay.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9][0-9]-*")):
        by_year.setdefault(int(folder.name[:4]), []).append(folder)
    return by_year


def read_table(path: Path) -> pl.DataFrame:
    """Read one reference table; a figure or a date that cannot be read raises."""
    return pl.read_csv(path, infer_schema=False, schema_overrides=_TYPES)


@lru_cache(maxsize=4)
def _load(releases: tuple[Path, ...]) -> Reference:
    years = [int(folder.name[:4]) for folder in releases]
    tables = {field.name: _packaged(field.name) for field in fields(Reference)}
    for name in FEE_SCHEDULE:
        tables[name] = _superseded(tables[name], years, (read_table(f / f"{name}.csv") for f in releases))
    return Reference(**tables)


def _packaged(name: str) -> pl.DataFrame:
    path = PACKAGED / f"{name}.csv"
    return read_table(path if path.exists() else path.with_suffix(".csv.gz"))


def _superseded(packaged: pl.DataFrame, years: list[int], loaded: Iterable[pl.DataFrame]) -> pl.DataFrame:
    kept = packaged.filter(~pl.col("effective_from").dt.year().is_in(years))
    return pl.concat([kept, *loaded])
