"""Releases: which holds and refused rows a person may let through, and what the person vouches for.

`tasks.releases` asks before it writes a release down; the month's stages leave released reasons out. What is
a fact about the patient (a consent, an order, a coverage) is mended at the source and never released.
"""

from functools import cache
from typing import Final

import polars as pl

from billing.reference.tables import PACKAGED

RELEASE_COLUMNS: Final = ("kind", "subject", "reason_code")


@cache
def releasable() -> pl.DataFrame:
    """Read what may be released: kind (hold or row), code, and what a person vouches for."""
    return pl.read_csv(PACKAGED / "releasable.csv")


def no_releases() -> pl.DataFrame:
    """Return a frame of releases without any."""
    return pl.DataFrame(schema=dict.fromkeys(RELEASE_COLUMNS, pl.String()))


def unreleased(reasons: pl.DataFrame, releases: pl.DataFrame) -> pl.DataFrame:
    """Leave out the hold reasons of patients (patient_id, reason) that a person released."""
    released = releases.filter(pl.col("kind") == "hold").select(patient_id="subject", reason="reason_code")
    return reasons.join(released, on=["patient_id", "reason"], how="anti")
