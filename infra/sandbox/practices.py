"""Practices: who bills in the sample month, who sees the patients, who pays and what is charged.

`infra.sandbox.month` writes them out as the four small datasets; `infra.sandbox.people` deals patients
to them. The tables beside this module are made up, except for contract numbers, localities and ZIP codes,
which must be real for the claims to be priced.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np
import polars as pl

_TAXONOMIES: Final = ("207R00000X", "207Q00000X", "207RC0000X", "363LF0000X", "363A00000X")
# A practitioner stands behind about this many monitored patients.
PATIENTS_PER_PRACTITIONER: Final = 250


@dataclass(frozen=True)
class Practices:
    """The small datasets.

    Attributes:
        practices: `billing-providers`, with patient_share, facility_share and place_of_service besides.
        practitioners: `practitioners`, with billing_npi besides.
        payers: `payers`.
        charges: `charges`.
    """

    practices: pl.DataFrame
    practitioners: pl.DataFrame
    payers: pl.DataFrame
    charges: pl.DataFrame


def table(name: str) -> pl.DataFrame:
    """Read one of the tables beside this module, as text."""
    return pl.read_csv(files("infra.sandbox").joinpath("tables", name).read_bytes(), infer_schema=False)


def npi(first_nine: str) -> str:
    """Complete an NPI with its check digit.

    Source: the Luhn digit over the prefix 80840 and the number (CMS).
    """
    digits = [int(digit) for digit in reversed(f"80840{first_nine}")]
    total = sum(sum(divmod(digit * 2, 10)) for digit in digits[::2]) + sum(digits[1::2])
    return f"{first_nine}{-total % 10}"


def make_practices(rng: np.random.Generator, patients: int, names: pl.DataFrame) -> Practices:
    """Make the practices of a month of so many patients.

    Args:
        rng: Where chance comes from.
        patients: How many patients the practices will share.
        names: A pool of last_name, first_name to take practitioners from.
    """
    practices = table("practices.csv").with_columns(
        pl.col("participating", "qualifying_apm") == "true",
        pl.col("patient_share", "facility_share").cast(pl.Float64),
    )
    needed = (practices["patient_share"] * patients / PATIENTS_PER_PRACTITIONER).ceil().cast(pl.Int64)
    billing_npi = practices["npi"].gather(np.repeat(np.arange(len(practices)), needed.to_numpy()))
    count = len(billing_npi)
    people = names.sample(count, with_replacement=True, seed=int(rng.integers(2**31)))
    practitioners = pl.DataFrame(
        {
            "billing_npi": billing_npi,
            "npi": [npi(f"19{number:07}") for number in range(count)],
            "last_name": people["last_name"],
            "first_name": people["first_name"],
            "taxonomy_code": rng.choice(_TAXONOMIES, count),
        }
    )
    payers = table("payers.csv").with_columns(
        pl.col("max_claims_per_transaction").cast(pl.Int64),
        pl.col("bill_device_supply", "count_messages") == "true",
    )
    charges = table("charges.csv").with_columns(
        pl.col("amount").cast(pl.Decimal(12, 2)), pl.col("effective_from").str.to_date()
    )
    return Practices(practices, practitioners, payers, charges)
