"""The month: everything the judgement says about one bucket of patients, stage after stage.

`tasks.judging` runs it once for each bucket. The body of `bill_month` reads as the list of stages; each
stage is a pure function of its own module, and nothing here reads a file, a clock or the ledger.
"""

from dataclasses import dataclass, field
from datetime import date

import polars as pl
from pandera.typing.polars import DataFrame

from billing.claims import Assembled, assemble_claims, candidate_lines, without_unpriced_supply
from billing.counted_time import CountedTime, count_time
from billing.device_days import device_days, supply_periods
from billing.gates import standing_reasons
from billing.holds import decide_holds
from billing.local_days import month_windows
from billing.reference.tables import Reference
from billing.releases import no_releases
from billing.supply import reasons_against_supply, supply_left_out
from billing.units import Earned, count_units
from schemas.errors import require_equal
from schemas.outputs import columns_of
from schemas.stages import PatientTotals, People, SupplyPeriods

# The holds that say a patient could be billed, if only more or other work had been done.
SHORT_OF_WORK = ("BELOW_THRESHOLD", "NO_LIVE_INTERACTION")


@dataclass(frozen=True)
class MonthSources:
    """The accepted frames of one bucket of patients; the small tables are whole.

    `entries` holds the bucket's time of every program from three months' folders, each entry_id once;
    `clashes` what `billing.staff_clashes` found for those entries.
    """

    entries: pl.DataFrame
    clashes: pl.DataFrame
    readings: pl.DataFrame
    patients: pl.DataFrame
    coverage: pl.DataFrame
    practitioners: pl.DataFrame
    providers: pl.DataFrame
    payers: pl.DataFrame
    charges: pl.DataFrame
    releases: pl.DataFrame = field(default_factory=no_releases)


@dataclass(frozen=True)
class BilledMonth:
    """What one bucket comes to; the shapes are in `schemas.stages`."""

    claims: pl.DataFrame
    lines: pl.DataFrame
    holds: pl.DataFrame
    evidence: pl.DataFrame
    patients: pl.DataFrame
    released: pl.DataFrame
    supply_left_out: pl.DataFrame


def bill_month(sources: MonthSources, month: date, reference: Reference, *, today: date) -> BilledMonth:
    """Bill one bucket of patients for one month.

    Args:
        sources: The bucket.
        month: Any day of the service month.
        reference: The dated tables.
        today: The day of the run; only timely filing looks at it.

    Raises:
        MissingReference: If no fee schedule is loaded for the month.
        ControlBreak: If the seconds of a stage do not add up to those of the stage before.
    """
    people = describe_people(sources, month)
    time = count_time(sources.entries, sources.clashes, sources.coverage, people, month)
    earned = count_units(time, people, reference, month)
    day_bits = device_days(sources.readings, people, month)
    supply = supply_periods(day_bits, people, reference, month)
    against = reasons_against_supply(supply, people, sources.coverage, reference, month=month, today=today)
    clear = SupplyPeriods.validate(supply.join(against, on=["patient_id", "date_of_service"], how="anti"))
    offered = candidate_lines(earned.units, clear, people, sources.charges, reference)
    candidates = without_unpriced_supply(offered)
    cases = _cases(time, earned, people)
    standing = standing_reasons(cases, sources.coverage, reference, month, today)
    decided = decide_holds(
        cases, standing, candidates, people, day_bits, month=month, releases=sources.releases
    )
    billed = assemble_claims(candidates, decided.billable, earned.funding, people, month)
    patients = _patient_totals(time, earned, billed, decided.holds, people)
    _require_whole(patients, billed)
    return BilledMonth(
        billed.claims,
        billed.lines,
        decided.holds,
        billed.evidence,
        patients,
        decided.released,
        supply_left_out(supply, against, offered, decided),
    )


def describe_people(sources: MonthSources, month: date) -> DataFrame[People]:
    """Bring together who each patient is, who bills them, who pays, and when their month runs.

    An unknown provider leaves the place of billing null and the month in UTC; an unknown payer leaves
    the payer's wishes at the contract's defaults.
    """
    providers = sources.providers.select(
        "mac_contract",
        "locality",
        "participating",
        "qualifying_apm",
        billing_npi="npi",
        zone="timezone",
        has_known_provider=pl.lit(value=True),
    )
    payers = sources.payers.select(
        "payer_id",
        "repeat_modifier",
        payer_kind="kind",
        counts_messages="count_messages",
        bills_supply="bill_device_supply",
        has_add_on_units=pl.col("add_on_lines") == "units",
        is_dated_month_end=pl.col("date_of_service") == "last_day_of_month",
    )
    practitioners = sources.practitioners.select(
        rendering_npi="npi", has_known_practitioner=pl.lit(value=True)
    )
    absent = ("has_known_provider", "has_known_practitioner", "bills_supply")
    wishes = ("has_add_on_units", "is_dated_month_end")
    people = (
        sources.patients.join(providers, on="billing_npi", how="left")
        .join(payers, on="payer_id", how="left")
        .join(practitioners, on="rendering_npi", how="left")
        .with_columns(
            pl.col(*absent, *wishes).fill_null(value=False),
            pl.col("counts_messages").fill_null(value=True),
            pl.col("zone").fill_null("UTC"),
            diagnosis_codes=_diagnoses(),
        )
    )
    return People.validate(
        people.join(month_windows(people["zone"].unique(), month), on="zone")
        .sort("patient_id")
        .with_row_index("person")
    )


def _diagnoses() -> pl.Expr:
    """Split the diagnoses into codes as claims carry them: no dots, upper case, once each, in their order."""
    code = pl.element().str.strip_chars().str.replace_all(".", "", literal=True).str.to_uppercase()
    codes = pl.col("diagnosis_codes").fill_null("").str.split(";").list.eval(code)
    return codes.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)


def _cases(time: CountedTime, earned: Earned, people: DataFrame[People]) -> pl.DataFrame:
    """Lay out what holds look at: one row per patient with RPM time, with the date the gates look at."""
    return (
        time.totals.drop("person")
        .join(earned.units.rename({"date_of_service": "gate_on"}), on="patient_id")
        .join(people, on="patient_id")
        .with_columns(is_reached=pl.col("base_code").is_not_null())
    )


def _patient_totals(
    time: CountedTime, earned: Earned, billed: Assembled, holds: pl.DataFrame, people: DataFrame[People]
) -> DataFrame[PatientTotals]:
    """Sum each patient's month up: what was logged, and where every counted second went."""
    is_blocking = ~pl.col("is_note") & ~pl.col("reason").is_in(SHORT_OF_WORK)
    blocked = holds.filter(is_blocking).select("patient_id", is_blocked=pl.lit(value=True)).unique()
    claimed = billed.lines.group_by("patient_id").agg(
        billed_seconds=pl.col("counted_seconds").sum(), is_billed=pl.lit(value=True)
    )
    counted = time.totals.select(
        "patient_id", "logged_seconds", "counted_seconds", has_time=pl.lit(value=True)
    )
    seconds = pl.col("logged_seconds", "counted_seconds", "billed_seconds", "over_cap_seconds")
    return PatientTotals.validate(
        counted.join(claimed, on="patient_id", how="full", coalesce=True)
        .join(earned.units.select("patient_id", "over_cap_seconds"), on="patient_id", how="left")
        .join(blocked, on="patient_id", how="left")
        .join(people.select("patient_id", "mac_contract"), on="patient_id", how="left")
        .with_columns(
            seconds.fill_null(0), pl.col("has_time", "is_billed", "is_blocked").fill_null(value=False)
        )
        .with_columns(
            stranded_seconds=pl.col("counted_seconds")
            - pl.col("billed_seconds")
            - pl.col("over_cap_seconds"),
            is_eligible=pl.col("has_time") & ~pl.col("is_blocked"),
        )
        .select(columns_of(PatientTotals))
        .sort("patient_id")
    )


def _require_whole(patients: pl.DataFrame, billed: Assembled) -> None:
    """Stop unless the same seconds and the same cents come out of every stage."""
    on_lines = billed.lines["counted_seconds"].sum()
    require_equal("seconds of the billed patients", on_lines, patients["billed_seconds"].sum())
    require_equal("microseconds that fund units", on_lines * 1_000_000, billed.evidence["funded_us"].sum())
    require_equal("charges of the claims", billed.lines["charge"].sum(), billed.claims["total_charge"].sum())
