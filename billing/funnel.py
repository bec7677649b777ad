"""Funnel: how many patients, minutes and dollars come through a month, and where the rest stays.

`tasks.judging` counts every bucket of patients by itself (`partial_funnel`), and `combine` adds the
counts up to the contract's funnel. Counts are small tables of whole numbers (people, seconds, cents)
without anything of a patient, so they may travel as JSON. Who is eligible and what is billed was
decided in `billing.month`; how the figures look belongs to `tasks.report`.
"""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast

import polars as pl

from billing.month import BilledMonth
from billing.reference.tables import in_effect
from schemas.errors import require_equal
from schemas.outputs import Funnel
from schemas.shards import RowTotals

Counts = dict[str, list[dict[str, Any]]]

MONEY: Final = ("charge", "allowed_estimate", "medicare_estimate", "patient_estimate")
SECONDS: Final = (
    "logged_seconds",
    "counted_seconds",
    "billed_seconds",
    "stranded_seconds",
    "over_cap_seconds",
)
ROSTER: Final = ("patients_enrolled", "patients_held")
PEOPLE: Final = ("patients_with_time", "patients_eligible", "patients_billed")


@dataclass(frozen=True)
class CountTable:
    """What a row of a table of counts is about, and the whole numbers that are added up."""

    keys: Mapping[str, type[pl.DataType]]
    measures: tuple[str, ...]


TABLES: Final = {
    "roster": CountTable({}, ROSTER),
    "patients": CountTable({"mac_contract": pl.String}, (*PEOPLE, *SECONDS)),
    "minutes": CountTable(
        {"minutes_from": pl.Int64}, ("patients", "patients_billed", "counted_seconds", "stranded_seconds")
    ),
    "holds": CountTable({"reason": pl.String, "is_note": pl.Boolean}, ("patients", "counted_seconds")),
    "supply_left_out": CountTable({"reason": pl.String}, ("periods",)),
    "claims": CountTable({"mac_contract": pl.String}, ("claims", "lines", "units", *MONEY)),
    "codes": CountTable({"code": pl.String}, ("lines", "units", *MONEY)),
    "patterns": CountTable({"pattern": pl.String}, ("claims", "allowed_estimate")),
}

# Where a band of counted minutes begins: nothing, too little for a unit, then the ladder's steps.
MINUTES_BANDS: Final = (0, 1, 10, 20, 40, 60, 80, 100)


def partial_funnel(billed: BilledMonth, patients: pl.DataFrame, month: date) -> Counts:
    """Count one bucket: people, seconds, holds, and what is claimed (money in cents)."""
    return {
        "roster": [{"patients_enrolled": _enrolled(patients, month), "patients_held": _held(billed.holds)}],
        **_count_people(billed.patients),
        "holds": _count_holds(billed.holds),
        "supply_left_out": _count_left_out(billed.supply_left_out),
        **count_lines(billed.lines),
    }


def count_lines(lines: pl.DataFrame) -> Counts:
    """Count claim lines by contractor, by code and by what a whole claim carries (money in cents)."""
    cents = [_cents(name) for name in MONEY]
    size = pl.len().cast(pl.Int64).alias("lines")
    claims = pl.col("claim_number").n_unique().cast(pl.Int64).alias("claims")
    carried = (
        lines.group_by("claim_number", "code", maintain_order=True)
        .agg(pl.col("units").sum(), _cents("allowed_estimate"), first_line=pl.col("line_number").min())
        .sort("claim_number", "first_line")
        .with_columns(
            item=pl.when(pl.col("units") > 1).then(pl.format("{} x {}", "units", "code")).otherwise("code")
        )
        .group_by("claim_number")
        .agg(pl.col("item").str.join(" + ").alias("pattern"), pl.col("allowed_estimate").sum())
    )
    return {
        "claims": lines.group_by("mac_contract").agg(claims, size, pl.col("units").sum(), *cents).to_dicts(),
        "codes": lines.group_by("code").agg(size, pl.col("units").sum(), *cents).to_dicts(),
        "patterns": carried.group_by("pattern")
        .agg(pl.len().cast(pl.Int64).alias("claims"), pl.col("allowed_estimate").sum())
        .to_dicts(),
    }


def combine(
    partials: Iterable[Counts],
    *,
    month: date,
    rows: Iterable[RowTotals],
    quarantine: pl.DataFrame,
    extra_columns: Mapping[str, Sequence[str]],
    macs: pl.DataFrame,
    hold_reasons: pl.DataFrame,
) -> Funnel:
    """Add the counts of all buckets up to the month's funnel, with what arrived and what was refused.

    Args:
        partials: What `partial_funnel` or `count_lines` returned, in any order; a table that a partial
            leaves out counts nothing.
        month: Any day of the service month.
        rows: What became of the rows, several records a dataset if need be.
        quarantine: `dataset` and `rule`, one row per rejected row and failed rule.
        extra_columns: Column names the contract does not know, by dataset.
        macs: The dated table of contractors.
        hold_reasons: `reason` and `next_step`, one row per reason.

    Raises:
        ControlBreak: If seconds are lost: counted = billed + stranded + over the cap.
    """
    counts = _added_up(list(partials))
    people, claims = counts["patients"], counts["claims"]
    seconds = _totals(people, SECONDS)
    require_equal(
        f"billed + stranded + over-the-cap seconds of {month:%Y-%m}",
        seconds["counted_seconds"],
        sum(seconds[name] for name in SECONDS[2:]),
    )
    funnel = {
        "month": f"{month:%Y-%m}",
        **_totals(counts["roster"], ROSTER),
        **_totals(people, PEOPLE),
        **{
            f"minutes_{name.removesuffix('_seconds')}": round(total / 60, 2)
            for name, total in seconds.items()
        },
        **seconds,
        **_totals(claims, ("claims", "lines", "units")),
        **_with_dollars(claims.select(pl.col(MONEY).sum())).to_dicts()[0],
        "by_code": _with_dollars(counts["codes"]).to_dicts(),
        "by_mac": _by_mac(people, claims, in_effect(macs, _last_day(month))).to_dicts(),
        "holds": _advised(_with_minutes(counts["holds"]), hold_reasons).to_dicts(),
        "supply_left_out": _advised(counts["supply_left_out"], hold_reasons).to_dicts(),
        "minutes_distribution": _bands(counts["minutes"]).to_dicts(),
        "units_distribution": _with_dollars(counts["patterns"]).to_dicts(),
        "sources": _sources(rows).to_dicts(),
        "quarantine": _failures(quarantine),
        "extra_columns": {
            dataset: sorted(names) for dataset, names in sorted(extra_columns.items()) if names
        },
    }
    return cast(Funnel, funnel)


def _last_day(month: date) -> date:
    return month.replace(day=monthrange(month.year, month.month)[1])


def _enrolled(patients: pl.DataFrame, month: date) -> int:
    """Count the patients whose enrolment covers any day of the month."""
    left_before = (pl.col("disenrolled_on") < month.replace(day=1)).fill_null(value=False)
    return patients.filter((pl.col("enrolled_on") <= _last_day(month)) & ~left_before).height


def _held(holds: pl.DataFrame) -> int:
    """Count the patients with any reason that stops their claim."""
    return holds.filter(~pl.col("is_note"))["patient_id"].n_unique()


def _count_people(people: pl.DataFrame) -> Counts:
    """Count patients and their seconds, by contractor and by band of counted minutes."""
    band = pl.lit(MINUTES_BANDS[0])
    for start in MINUTES_BANDS[1:]:
        band = pl.when(pl.col("counted_seconds") >= start * 60).then(start).otherwise(band)
    by_mac = people.group_by("mac_contract").agg(
        (pl.col("logged_seconds") > 0).sum().cast(pl.Int64).alias("patients_with_time"),
        pl.col("is_eligible").sum().cast(pl.Int64).alias("patients_eligible"),
        pl.col("is_billed").sum().cast(pl.Int64).alias("patients_billed"),
        pl.col(SECONDS).sum(),
    )
    by_band = (
        people.filter(pl.col("logged_seconds") > 0)
        .group_by(band.cast(pl.Int64).alias("minutes_from"))
        .agg(
            pl.len().cast(pl.Int64).alias("patients"),
            pl.col("is_billed").sum().cast(pl.Int64).alias("patients_billed"),
            pl.col("counted_seconds", "stranded_seconds").sum(),
        )
    )
    return {"patients": by_mac.to_dicts(), "minutes": by_band.to_dicts()}


def _count_holds(holds: pl.DataFrame) -> list[dict[str, Any]]:
    """Count the patients of each reason; a patient has one row per reason."""
    seconds = pl.col("counted_seconds").sum()
    return (
        holds.group_by("reason", "is_note").agg(pl.len().cast(pl.Int64).alias("patients"), seconds).to_dicts()
    )


def _count_left_out(periods: pl.DataFrame) -> list[dict[str, Any]]:
    """Count the earned device periods that are on no claim; one may have several reasons."""
    return periods.group_by("reason").agg(pl.len().cast(pl.Int64).alias("periods")).to_dicts()


def _advised(counts: pl.DataFrame, hold_reasons: pl.DataFrame) -> pl.DataFrame:
    """Add what a person can do about each reason."""
    advice = hold_reasons.select("reason", "next_step")
    return counts.join(advice, on="reason", how="left", maintain_order="left")


def _added_up(partials: Sequence[Counts]) -> dict[str, pl.DataFrame]:
    """Add each table of counts over all buckets, sorted by its keys."""
    added = {}
    for name, table in TABLES.items():
        schema: dict[str, type[pl.DataType]] = {**table.keys, **dict.fromkeys(table.measures, pl.Int64)}
        stacked = pl.DataFrame([row for partial in partials for row in partial.get(name, ())], schema=schema)
        if table.keys:
            stacked = stacked.group_by(*table.keys).agg(pl.col(table.measures).sum()).sort(*table.keys)
        added[name] = stacked
    return added


def _by_mac(people: pl.DataFrame, claims: pl.DataFrame, macs: pl.DataFrame) -> pl.DataFrame:
    """Put people and money of each contractor side by side, and name it."""
    together = people.drop(SECONDS).join(
        claims.drop("units"), on="mac_contract", how="full", coalesce=True, nulls_equal=True
    )
    named = together.with_columns(pl.exclude("mac_contract").fill_null(0)).join(
        macs.select("mac_contract", "jurisdiction", "mac_name"), on="mac_contract", how="left"
    )
    names = ("mac_contract", "jurisdiction", "mac_name")
    return _with_dollars(named.select(*names, pl.exclude(names)).sort("mac_contract"))


def _bands(minutes: pl.DataFrame) -> pl.DataFrame:
    """Give every band a row, also the empty ones, with its upper end."""
    ends = [start - 1 for start in MINUTES_BANDS[1:]]
    bands = pl.DataFrame(
        {"minutes_from": MINUTES_BANDS, "minutes_to": [*ends, None]},
        schema_overrides={"minutes_to": pl.Int64},
    )
    filled = bands.join(minutes, on="minutes_from", how="left", maintain_order="left")
    return _with_minutes(filled.with_columns(pl.exclude("minutes_to").fill_null(0)))


def _sources(rows: Iterable[RowTotals]) -> pl.DataFrame:
    """Add up what became of the rows of each dataset."""
    names = {
        "read": "rows_read",
        "accepted": "rows_accepted",
        "quarantined": "rows_quarantined",
        "repeats": "repeats_dropped",
        "elsewhere": "rows_elsewhere",
    }
    schema = {"dataset": pl.String, **dict.fromkeys(names, pl.Int64)}
    read = pl.DataFrame([record.model_dump() for record in rows], schema=schema)
    return read.group_by("dataset").agg(pl.col(*names).sum()).rename(names).sort("dataset")


def _failures(quarantine: pl.DataFrame) -> list[dict[str, Any]]:
    """Count rejected rows by dataset and failed rule; a frame without any row may lack its columns."""
    if quarantine.is_empty():
        return []
    return quarantine.group_by("dataset", "rule").agg(rows=pl.len()).sort("dataset", "rule").to_dicts()


def _totals(counts: pl.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """Add columns up."""
    return {name: int(counts[name].sum()) for name in names}


def _cents(name: str) -> pl.Expr:
    """Add up a column of money as a whole number of cents."""
    return (pl.col(name).cast(pl.Decimal(38, 2)).sum() * 100).cast(pl.Int64)


def _with_dollars(counts: pl.DataFrame) -> pl.DataFrame:
    """Write cents as decimal text with two places."""
    dollars = (pl.selectors.by_name(*MONEY, require_all=False).cast(pl.Decimal(38, 2)) / 100).cast(
        pl.Decimal(38, 2)
    )
    return counts.with_columns(dollars.cast(pl.String))


def _with_minutes(counts: pl.DataFrame) -> pl.DataFrame:
    """Turn seconds into minutes with two places."""
    seconds = pl.selectors.ends_with("_seconds")
    minutes = (seconds / 60).round(2).name.map(lambda name: name.replace("_seconds", "_minutes"))
    return counts.with_columns(minutes).drop(seconds)
