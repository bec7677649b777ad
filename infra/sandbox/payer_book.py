"""The payer's book: what the sandbox payer thinks a service is worth.

`infra.sandbox.payer_judgement` asks it. It works the fee schedule out for itself, one fee at a time in
plain decimals, from its own copy of CMS's figures in `book/`, and finds the locality by the ZIP code on the
claim. It must never use `billing`: a payer that prices with our code cannot catch our mistakes.
"""

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib.resources import files
from typing import Final

CENT: Final = Decimal("0.01")
_NONPARTICIPATING: Final = Decimal("0.95")
# Places of service that are paid at the facility rate (CMS).
_FACILITIES: Final = frozenset(
    {"02", "19", "21", "22", "23", "24", "26", "31", "34", "41", "42", "51", "52", "53", "56", "61"}
)
# Who the payer knows to take part in an advanced payment model.
_QUALIFYING: Final = frozenset({"1203456730"})


class NotPayable(LookupError):
    """The book has no fee for the service: in that place, on that day, or at all."""


def cents(amount: Decimal) -> Decimal:
    """Round to the cent, half up."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def unit_fee(
    code: str, on: date, *, place_of_service: str, billing_zip: str, billing_npi: str, is_assigned: bool
) -> Decimal:
    """Work out what one unit is worth.

    Raises:
        NotPayable: If there is no fee.

    Source: 42 CFR 414.20: each relative value times its locality's index, summed, times the factor.
    """
    is_facility = place_of_service in _FACILITIES
    values = _relative_values().get((str(on.year), code))
    practice = values and values["practice_facility" if is_facility else "practice_office"]
    place = _zip_codes().get(billing_zip[:5])
    indexes = place and _localities().get((str(on.year), *place))
    if not values or not practice or not indexes:
        raise NotPayable(code)
    factor = _factors()[str(on.year), "true" if billing_npi in _QUALIFYING else "false"]
    total = sum(
        (
            Decimal(values["work"]) * Decimal(indexes["work"]),
            Decimal(practice) * Decimal(indexes["practice"]),
            Decimal(values["malpractice"]) * Decimal(indexes["malpractice"]),
        ),
        Decimal(0),
    )
    fee = cents(total * Decimal(factor))
    return fee if is_assigned else cents(fee * _NONPARTICIPATING)


def _rows(name: str) -> Iterator[dict[str, str]]:
    data = files("infra.sandbox").joinpath("book", name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    return csv.DictReader(io.StringIO(text))


@cache
def _relative_values() -> dict[tuple[str, str], dict[str, str]]:
    return {(row["year"], row["code"]): row for row in _rows("relative_values.csv")}


@cache
def _localities() -> dict[tuple[str, ...], dict[str, str]]:
    return {(row["year"], row["contract"], row["locality"]): row for row in _rows("localities.csv")}


@cache
def _factors() -> dict[tuple[str, str], str]:
    return {(row["year"], row["is_qualifying"]): row["factor"] for row in _rows("conversion_factors.csv")}


@cache
def _zip_codes() -> dict[str, tuple[str, str]]:
    return {row["zip"]: (row["contract"], row["locality"]) for row in _rows("zip_codes.csv.gz")}
