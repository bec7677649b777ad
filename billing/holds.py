"""Holds: who may not be billed, why, and what a person can do about it.

`billing.month` decides them once the month's units and prices are known. A hold stops the patient's claim,
a note stops nothing; every reason that applies is listed. The words are rows of `hold_reasons.csv`.

Source: CONTRACT §3 and §4; RPM_BILLING_RULES §2 and §8.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache, reduce
from typing import Final

import polars as pl
from pandera.typing.polars import DataFrame

from billing.device_days import has_data_in_month
from billing.gates import PART_B, listed
from billing.reference.tables import PACKAGED
from billing.releases import unreleased
from schemas.outputs import columns_of
from schemas.stages import Candidates, Holds, People

LIVE_INTERACTION_SECONDS: Final = 600


@dataclass(frozen=True)
class Decided:
    """The hold rows, and the patients who are billed."""

    holds: DataFrame[Holds]
    billable: pl.DataFrame  # patient_id
    released: pl.DataFrame  # patient_id, reason: holds that a person let through
    repeated: pl.DataFrame  # patient_id, reason: whose member is billed from another patient record


@cache
def hold_reasons() -> pl.DataFrame:
    """Read the reasons: reason, is_note, message (with places for {facts}), next_step."""
    return pl.read_csv(PACKAGED / "hold_reasons.csv", schema_overrides={"is_note": pl.Boolean})


def hold_rows(patients: pl.DataFrame, reason: str) -> DataFrame[Holds]:
    """Hold patients for a reason found elsewhere, one whose words need no facts (`ALREADY_BILLED`).

    Args:
        patients: patient_id and counted_seconds, one row per patient.
        reason: A code of `hold_reasons.csv`.
    """
    words = hold_reasons().filter(pl.col("reason") == reason)
    rows = patients.select("patient_id", "counted_seconds").join(words, how="cross")
    return Holds.validate(rows.select(columns_of(Holds)).sort("patient_id"))


def decide_holds(
    cases: pl.DataFrame,
    standing: pl.DataFrame,
    candidates: DataFrame[Candidates],
    people: DataFrame[People],
    day_bits: pl.DataFrame,
    *,
    month: date,
    releases: pl.DataFrame,
) -> Decided:
    """List every reason of every patient with RPM time, and pick the patients who are billed.

    Args:
        cases: One row per patient with RPM time: totals, units and `People`, `gate_on`, `is_reached`,
            `is_lost_to_stay` (an inpatient stay alone keeps the patient off the ladder).
        standing: What `standing_reasons` found for these cases.
        candidates: Every line the month would bring, of patients with and without RPM time.
        people: All patients of the bucket.
        day_bits: What `device_days` marked.
        month: Any day of the service month.
        releases: What people let through; see `billing.releases`.
    """
    facts = cases.join(_missing_amounts(candidates), on="patient_id", how="left")
    given = pl.concat([standing, _reasons_of_the_month(facts)]).select("patient_id", "reason").unique()
    found = unreleased(given, releases)
    reasons = hold_reasons()
    blocked = found.join(reasons.filter(~pl.col("is_note")), on="reason", how="semi")
    claimants = _first_dates(candidates).join(blocked, on="patient_id", how="anti")
    repeated = _repeated_members(claimants.join(people, on="patient_id"))
    billable = claimants.join(repeated, on="patient_id", how="anti")
    # Patients without RPM time are enrolled, not held.
    held_repeats = repeated.join(cases, on="patient_id", how="semi")
    without_data = (
        cases.filter("is_reached")
        .join(billable, on="patient_id", how="semi")
        .join(day_bits, on="patient_id", how="left")
        .filter(~has_data_in_month())
        .select("patient_id", reason=pl.lit("NO_DEVICE_DATA"))
    )
    rows = (
        pl.concat([found, held_repeats, without_data]).join(facts, on="patient_id").join(reasons, on="reason")
    )
    return Decided(
        _worded(rows, month),
        billable.select("patient_id").sort("patient_id"),
        given.join(found, on=["patient_id", "reason"], how="anti").sort("patient_id", "reason"),
        repeated,
    )


def _reasons_of_the_month(facts: pl.DataFrame) -> pl.DataFrame:
    """Find the reasons that lie in the month's own time and money, notes included."""
    is_lost = pl.col("is_lost_to_stay")
    has_count = pl.col("counted_us") > 0
    return listed(
        facts,
        INPATIENT=is_lost,
        BELOW_THRESHOLD=has_count & ~pl.col("is_reached") & ~is_lost,
        NO_LIVE_INTERACTION=(pl.col("counted_seconds") >= LIVE_INTERACTION_SECONDS)
        & ~pl.col("has_live_interaction"),
        NO_CHARGE=pl.col("is_reached") & pl.col("uncharged").is_not_null(),
        # Where the provider is unknown, so is the place, and the NPI is what people must fix.
        NO_RATE=pl.col("is_reached") & pl.col("unrated").is_not_null() & pl.col("has_known_provider"),
        UNDOCUMENTED_TIME=pl.col("undocumented_us") > 0,
        OVERLAPPING_PROGRAMS=pl.col("overlapping_us") > 0,
        STAFF_DOUBLE_BOOKED=pl.col("double_booked_us") > 0,
        UNITS_OVER_CAP=pl.col("over_cap_units") > 0,
    )


def _missing_amounts(candidates: pl.DataFrame) -> pl.DataFrame:
    """Name, per patient, the codes without a charge and those without a rate."""

    def named(missing: str) -> pl.Expr:
        codes = pl.col("code").filter(pl.col(missing).is_null()).unique().sort()
        return pl.when(codes.len() > 0).then(codes.str.join(", "))

    return candidates.group_by("patient_id").agg(uncharged=named("charge"), unrated=named("allowed_estimate"))


def _first_dates(candidates: pl.DataFrame) -> pl.DataFrame:
    """Take each patient's claim by the date of its first line."""
    return (
        candidates.sort("patient_id", "position")
        .group_by("patient_id", maintain_order=True)
        .agg(pl.col("date_of_service").first())
    )


def _repeated_members(claimants: pl.DataFrame) -> pl.DataFrame:
    """Find claims for a member who has one already: the first patient record keeps it.

    Within one billing provider the claims would have one natural key; under two of our providers,
    only the one with the earlier date of service is paid.
    """
    claimants = claimants.sort("patient_id")
    within = claimants.filter(~pl.struct("billing_npi", "member_id").is_first_distinct())
    kept = claimants.join(within, on="patient_id", how="anti")
    # A Medicare number is one person wherever it is filed; other ids mean something only to their payer.
    issuer = pl.when(pl.col("payer_kind") == PART_B).then(pl.lit(PART_B)).otherwise("payer_id")
    across = kept.with_columns(issuer=issuer).sort("date_of_service", "patient_id")
    across = across.filter(~pl.struct("issuer", "member_id").is_first_distinct())
    return pl.concat(
        [
            within.select("patient_id", reason=pl.lit("ALREADY_BILLED")),
            across.select("patient_id", reason=pl.lit("OTHER_PRACTITIONER")),
        ]
    )


def _worded(rows: pl.DataFrame, month: date) -> DataFrame[Holds]:
    """Fill the facts into the reasons' words."""
    facts = {
        "date": pl.col("gate_on").cast(pl.String),
        "month": pl.lit(f"{month:%Y-%m}"),
        "counted": _spoken("counted_us"),
        "undocumented": _spoken("undocumented_us"),
        "overlapping": _spoken("overlapping_us"),
        "double_booked": _spoken("double_booked_us"),
        "inpatient": _spoken("inpatient_us"),
        "over_cap_units": pl.col("over_cap_units").cast(pl.String),
        "uncharged": pl.col("uncharged").fill_null(""),
        "unrated": pl.col("unrated").fill_null(""),
    }
    message = reduce(
        lambda text, name: text.str.replace(f"{{{name}}}", facts[name], literal=True),
        facts,
        pl.col("message"),
    )
    return Holds.validate(
        rows.with_columns(message=message).select(columns_of(Holds)).sort("patient_id", "reason")
    )


def _spoken(column: str) -> pl.Expr:
    """Write microseconds as people say them, `12 min 34 s`; less than a second is said as such."""
    seconds = pl.col(column) // 1_000_000
    return (
        pl.when(pl.col(column).is_between(1, 999_999))
        .then(pl.lit("less than 1 s"))
        .otherwise(pl.format("{} min {} s", seconds // 60, seconds % 60))
    )
