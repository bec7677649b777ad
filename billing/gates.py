"""Gates: what stands against billing a patient on a given date, whatever the service.

`billing.month` asks it for the date of service of the month's time and of each supply period;
`billing.holds` adds what lies in the time and the money, and finds the words.

Source: CONTRACT §4 (gates look at the date of service); RPM_BILLING_RULES §2 and §8.
"""

from datetime import date
from typing import Final

import polars as pl

from billing.counted_time import INPATIENT_KINDS
from billing.local_days import month_bounds
from billing.reference.tables import Reference, in_effect
from schemas.columns import MBI_PATTERN, is_npi

PART_B: Final = "medicare_part_b"
OTHER_MEMBER_ID: Final = r"^[A-Z0-9-]{2,80}$"
# Kinds of payer that Medicare's hospice and ACCESS rules do not bind.
OUTSIDE_MEDICARE: Final = ("commercial", "medicaid")

# What a verdict is about: a patient, on the date that is looked at.
CASE: Final = ("patient_id", "gate_on")


def standing_reasons(
    cases: pl.DataFrame, coverage: pl.DataFrame, reference: Reference, month: date, today: date
) -> pl.DataFrame:
    """Find what stands against billing a patient on a date, whatever the service.

    Args:
        cases: Columns of `People` with `gate_on`, the date that is looked at, and `is_reached`, whether
            there is something to bill; one row per patient_id and gate_on.
        coverage: Accepted coverage windows; both dates inclusive, no end date means open.
        reference: The dated tables of diagnoses and filing limits.
        month: Any day of the service month.
        today: The day of the run.

    Returns:
        patient_id, gate_on, reason: every one that applies.
    """
    first, last = month_bounds(month)
    gate = pl.col("gate_on")
    limits = in_effect(reference.filing, last).select("payer_kind", "limit_months")
    known = (
        cases.join(_unknown_diagnoses(cases, reference, last), on="patient_id", how="left")
        .join(_windows(cases, coverage, first, last), on=CASE, how="left")
        .join(limits, on="payer_kind", how="left")
        .with_columns(pl.col("kinds_on_gate", "kinds_in_month").fill_null([]))
    )
    is_part_b = (pl.col("payer_kind") == PART_B).fill_null(value=False)
    is_bound_by_medicare = ~pl.col("payer_kind").is_in(OUTSIDE_MEDICARE).fill_null(value=False)
    on_gate = pl.col("kinds_on_gate").list
    in_month = pl.col("kinds_in_month").list
    filing_ends = gate.dt.offset_by(pl.format("{}mo", pl.col("limit_months").fill_null(0)))
    member_id = pl.col("member_id").str
    is_mbi, is_other_id = member_id.contains(MBI_PATTERN), member_id.contains(OTHER_MEMBER_ID)
    has_member_id = pl.when(is_part_b).then(is_mbi).otherwise(is_other_id)
    return listed(
        known,
        NO_CONSENT=_is_not_by("consent_date"),
        NO_ORDER=_is_not_by("order_date"),
        NO_PRIOR_VISIT=_is_not_by("prior_visit_date"),
        NO_CARE_PLAN=pl.col("care_plan_id").is_null(),
        NOT_ENROLLED=_is_not_by("enrolled_on") | (pl.col("disenrolled_on") < gate),
        DECEASED=pl.col("died_on") < gate,
        NO_DIAGNOSIS=(pl.col("diagnosis_codes").list.len() == 0) | pl.col("has_unknown_diagnosis"),
        BAD_MEMBER_ID=~has_member_id.fill_null(value=False),
        BAD_NPI=~(
            is_npi(pl.col("billing_npi"))
            & is_npi(pl.col("rendering_npi"))
            & pl.col("has_known_provider")
            & pl.col("has_known_practitioner")
        ),
        NO_COVERAGE=pl.col("payer_kind").is_null(),
        MEDICARE_ADVANTAGE=is_part_b & on_gate.contains("medicare_advantage"),
        HOSPICE=is_bound_by_medicare & on_gate.contains("hospice"),
        ACCESS_ALIGNED=is_bound_by_medicare & on_gate.contains("access_aligned"),
        INPATIENT=on_gate.set_intersection(list(INPATIENT_KINDS)).list.len().gt(0),
        RTM_SAME_PERIOD=in_month.contains("rtm"),
        OTHER_PRACTITIONER=in_month.contains("other_rpm_practitioner"),
        TIMELY_FILING=pl.col("is_reached")
        & pl.col("limit_months").is_not_null()
        & (pl.lit(today) > filing_ends),
    )


def listed(cases: pl.DataFrame, **rules: pl.Expr) -> pl.DataFrame:
    """Evaluate rules named for their reason, and list the ones that hold (null does not)."""
    verdicts = cases.select(*CASE, **rules)
    return (
        verdicts.unpivot(index=CASE, variable_name="reason", value_name="applies")
        .filter("applies")
        .drop("applies")
    )


def _is_not_by(column: str) -> pl.Expr:
    """Tell whether a date is missing or comes after the gate."""
    return pl.col(column).is_null() | (pl.col(column) > pl.col("gate_on"))


def _unknown_diagnoses(cases: pl.DataFrame, reference: Reference, on: date) -> pl.DataFrame:
    """List patients with a code that is not in the ICD-10-CM set."""
    book = in_effect(reference.diagnoses, on).select("code")
    codes = cases.select("patient_id", code="diagnosis_codes").explode("code", empty_as_null=False)
    unknown = codes.join(book, on="code", how="anti").select("patient_id").unique()
    return unknown.with_columns(has_unknown_diagnosis=pl.lit(value=True))


def _windows(cases: pl.DataFrame, coverage: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """Collect the kinds of window that take in the gate, and those that touch the month."""
    until = pl.col("ends_on").fill_null(date.max)
    on_gate = pl.col("gate_on").is_between("starts_on", until)
    in_month = (pl.col("starts_on") <= last) & (until >= first)
    return (
        cases.select(CASE)
        .join(coverage, on="patient_id")
        .group_by(CASE)
        .agg(
            kinds_on_gate=pl.col("kind").filter(on_gate),
            kinds_in_month=pl.col("kind").filter(in_month),
        )
    )
