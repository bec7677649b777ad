"""Pricing: what Medicare allows for a unit, and what of it Medicare and the patient pay.

`billing.month` prices its lines here; the command line shows `rates`. All money is exact decimals,
rounded half up, and never rounded before the cent it is rounded to. Nothing here decides what is billed.

Source: 42 CFR 414.20 to 414.26 (the fee formula), 42 CFR 414.21 and section 1848(a)(3) of the Act
(95 % for non-participating practitioners), CMS's sequestration of 2 % of the Medicare share by line.
"""

import calendar
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from billing.reference.tables import RATIO, Reference, covers, in_effect, missing_schedule
from schemas.columns import MONEY

SETTINGS: Final = ("nonfacility", "facility")
# Active, restricted coverage, and paid-when-alone; every other status has no fee-schedule rate.
PAYABLE_STATUSES: Final = ("A", "R", "T")
NONPARTICIPATING_SHARE: Final = Decimal("0.95")
COINSURANCE_SHARE: Final = Decimal("0.20")
SEQUESTRATION_SHARE: Final = Decimal("0.02")

_LINE_KEY: Final = (
    "code",
    "mac_contract",
    "locality",
    "place_of_service",
    "qualifying_apm",
    "date_of_service",
)
_FEE_KEY: Final = ("code", "mac_contract", "locality", "setting", "factor")


class UnknownRate(LookupError):
    """No such code, contractor or jurisdiction; the sentence names the known ones."""


def fees(reference: Reference, on: date, codes: Sequence[str] | None = None) -> pl.DataFrame:
    """Price one unit of every code everywhere, on one day.

    Returns:
        One row per code, mac_contract, locality, setting and factor, with `fee` in dollars and cents.
        There is no row where CMS pays no rate: not payable, contractor priced, not paid in that setting.

    Raises:
        MissingReference: If no fee schedule is loaded for that day.
    """
    _require_schedule(reference, pl.Series("date_of_service", [on]))
    book = in_effect(fee_book(reference), on).select(*_FEE_KEY, "fee").sort(_FEE_KEY)
    return book if codes is None else book.filter(pl.col("code").is_in(list(codes)))


def price_lines(lines: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Add what each line should bring: allowed_estimate, medicare_estimate and patient_estimate.

    Needs code, units, charge (of the whole line), date_of_service, place_of_service, mac_contract,
    locality, qualifying_apm and participating. Tables are chosen by each line's date of service.

    Returns:
        The lines in their order. The estimates assume that the deductible is met. They are null where
        CMS pays no rate and for that reason only: a missing charge does not limit the allowed amount.

    Raises:
        MissingReference: If a date of service lies in a year without a loaded fee schedule.
    """
    _require_schedule(reference, lines["date_of_service"])
    fee = pl.col("fee")
    unit_fee = pl.when("participating").then(fee).otherwise(share_of(fee, NONPARTICIPATING_SHARE))
    line_fee = (unit_fee.cast(RATIO) * pl.col("units").cast(RATIO)).cast(MONEY)
    charge = pl.col("charge")
    return (
        lines.join(_line_fees(lines, reference), on=_LINE_KEY, how="left", maintain_order="left")
        .with_columns(allowed_estimate=line_fee)
        .with_columns(
            allowed_estimate=pl.when(charge < pl.col("allowed_estimate"))
            .then(charge.cast(MONEY))
            .otherwise("allowed_estimate")
        )
        .with_columns(**shares(pl.col("allowed_estimate"), "medicare_estimate", "patient_estimate"))
        .drop("fee")
    )


def rates(
    reference: Reference, month: date, *, code: str | None = None, mac: str | None = None
) -> pl.DataFrame:
    """Show the estimate per unit for every code, place, setting and conversion factor.

    A month is priced by its last day; where CMS changed a figure inside the month, the lines
    of the earlier days are priced by their own dates in `price_lines`.

    Args:
        reference: The loaded tables.
        month: Any day of the month.
        code: One procedure code.
        mac: A contract number (05102), a jurisdiction (J5 or 5, JH or H) or part of a contractor's name.

    Raises:
        MissingReference: If no fee schedule is loaded for the month.
        UnknownRate: If the code or the contractor is not in the tables.
    """
    on = month.replace(day=calendar.monthrange(month.year, month.month)[1])
    book = fees(reference, on)
    macs = in_effect(reference.macs, on)
    if code is not None:
        book = _of_code(book, code, on)
    if mac is not None:
        book = book.join(_of_contractor(macs, mac), on="mac_contract", how="semi")
    places = in_effect(reference.gpcis, on).select("mac_contract", "locality", "state", "locality_name")
    return (
        book.join(macs.select("mac_contract", "jurisdiction", "mac_name"), on="mac_contract", how="left")
        .join(places, on=["mac_contract", "locality"], how="left")
        .with_columns(allowed=pl.col("fee"), **shares(pl.col("fee"), "medicare", "patient"))
        # Non-facility before facility, standard before apm: the usual case first.
        .sort(_FEE_KEY, descending=[False, False, False, True, True])
        .select(
            "code",
            "mac_contract",
            "jurisdiction",
            "mac_name",
            "state",
            "locality",
            "locality_name",
            "setting",
            "factor",
            "allowed",
            "medicare",
            "patient",
        )
    )


def share_of(money: pl.Expr, share: Decimal) -> pl.Expr:
    """Take a share of an amount, rounded half up to the cent."""
    exact = money.cast(RATIO) * pl.lit(share).cast(RATIO)
    return exact.round(2, mode="half_away_from_zero").cast(MONEY)


def shares(allowed: pl.Expr, medicare: str, patient: str) -> dict[str, pl.Expr]:
    """Split an allowed amount; each step is rounded half up, and sequestration is nobody's income."""
    coinsurance = share_of(allowed, COINSURANCE_SHARE)
    rest = (allowed - coinsurance).cast(MONEY)
    return {medicare: (rest - share_of(rest, SEQUESTRATION_SHARE)).cast(MONEY), patient: coinsurance}


def fee_book(reference: Reference) -> pl.DataFrame:
    """Work out every dated fee: one row per code, place, setting, factor and stretch of time.

    Each row's dates are those on which its RVUs, its GPCIs and its conversion factor are all in force.
    """
    payable = reference.rvus.filter(pl.col("status").is_in(PAYABLE_STATUSES)).drop("source")
    by_setting = pl.concat(
        payable.filter(~pl.col(f"is_{setting}_na")).with_columns(
            setting=pl.lit(setting), pe_rvu=pl.col(f"{setting}_pe_rvu")
        )
        for setting in SETTINGS
    )
    work = pl.col("work_rvu") * pl.col("work_gpci")
    practice_expense = pl.col("pe_rvu") * pl.col("pe_gpci")
    malpractice = pl.col("mp_rvu") * pl.col("mp_gpci")
    exact = (work + practice_expense + malpractice) * pl.col("conversion_factor")
    return (
        by_setting.pipe(_while_both, reference.gpcis.drop("source"))
        .pipe(_while_both, reference.factors.drop("source"))
        .with_columns(fee=exact.round(2, mode="half_away_from_zero").cast(MONEY))
        .select(*_FEE_KEY, "fee", "effective_from", "effective_to")
    )


def _while_both(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """Pair the rows of two dated tables for as long as both are in force."""
    # An open end (null) gives way to the other table's end: min_horizontal passes over nulls.
    return (
        left.join(right, how="cross", suffix="_other")
        .with_columns(
            effective_from=pl.max_horizontal("effective_from", "effective_from_other"),
            effective_to=pl.min_horizontal("effective_to", "effective_to_other"),
        )
        .filter((pl.col("effective_from") <= pl.col("effective_to")).fill_null(value=True))
        .drop("effective_from_other", "effective_to_other")
    )


def _line_fees(lines: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Find the fee of one unit for every distinct kind of line; kinds without a rate are absent."""
    settings = reference.places_of_service.drop("source")
    in_force = covers(pl.col("date_of_service"))
    return (
        lines.select(_LINE_KEY)
        .unique()
        .join(settings, on="place_of_service")
        .filter(in_force)
        .drop("effective_from", "effective_to")
        .with_columns(factor=pl.when("qualifying_apm").then(pl.lit("apm")).otherwise(pl.lit("standard")))
        .join(fee_book(reference), on=_FEE_KEY)
        .filter(in_force)
        .select(*_LINE_KEY, "fee")
    )


def _require_schedule(reference: Reference, days: pl.Series) -> None:
    """Refuse the first day for which no conversion factor is loaded."""
    wanted = days.unique().drop_nulls().to_frame("day")
    loaded = wanted.join(reference.factors, how="cross").filter(covers(pl.col("day")))
    missing: date | None = wanted.join(loaded, on="day", how="anti")["day"].min()  # type: ignore[assignment]
    if missing is not None:
        raise missing_schedule(missing)


def _of_code(book: pl.DataFrame, code: str, on: date) -> pl.DataFrame:
    known = book["code"].unique().sort().to_list()
    if code not in known:
        raise UnknownRate(f"Medicare has no rate for {code} in {on:%Y-%m}; rated codes: {', '.join(known)}.")
    return book.filter(pl.col("code") == code)


def _of_contractor(macs: pl.DataFrame, mac: str) -> pl.DataFrame:
    """Pick contractors by contract number, else by jurisdiction, else by a part of the name."""
    wanted = mac.strip().upper()
    tests = (
        pl.col("mac_contract") == wanted.zfill(5),
        pl.col("jurisdiction").is_in([wanted, f"J{wanted}"]),
        pl.col("mac_name").str.to_uppercase().str.contains(wanted, literal=True),
    )
    for test in tests:
        found = macs.filter(test)
        if wanted and not found.is_empty():
            return found
    raise UnknownRate(
        f"No Medicare contractor is called {mac!r}; jurisdictions: "
        f"{', '.join(macs['jurisdiction'].unique().sort())}; names: "
        f"{', '.join(macs['mac_name'].unique().sort())}; or give a contract number such as 05102."
    )
