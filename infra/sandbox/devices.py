"""Devices: what cuffs, scales, meters and oximeters sent in the sample month and the one before.

`infra.sandbox.month` writes it as device-readings. Times of day and gaps are made up, or taken from a file
of real readings.
"""

from calendar import monthrange
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

# What a patient's device measures: metric, unit, mean, spread.
_METRICS: Final = (
    ("systolic_blood_pressure", "mmHg", 136.0, 14.0),
    ("body_weight", "kg", 82.0, 1.5),
    ("glucose", "mg/dL", 152.0, 38.0),
    ("oxygen_saturation", "%", 95.5, 1.4),
)
_SCHEMA: Final = (
    "reading_id",
    "patient_id",
    "device_id",
    "measured_at",
    "received_at",
    "metric",
    "value",
    "unit",
    "capture",
)


def make_readings(rng: np.random.Generator, patients: pl.DataFrame, month: date) -> pl.DataFrame:
    """Make readings of the month and of the one before.

    Returns:
        The columns of `device-readings`, with utc_offset (a Duration) and is_in_month besides.
    """
    before = (month - timedelta(days=1)).replace(day=1)
    lengths = [monthrange(start.year, start.month)[1] for start in (before, month)]
    days = np.datetime64(before) + np.arange(sum(lengths))
    # Most people measure on most days; some hardly ever, but never on no day at all.
    adherence = np.where(
        rng.random(len(patients)) < 0.8,
        rng.uniform(0.6, 1.0, len(patients)),
        rng.uniform(0.05, 0.5, len(patients)),
    )
    measures = rng.random((len(patients), len(days))) < adherence[:, None]
    measures[np.arange(len(patients)), lengths[0] + rng.integers(0, lengths[1], len(patients))] = True
    owner, day = np.nonzero(measures)
    again = rng.random(len(owner)) < 0.08  # and once more in the evening
    owner, day, hour = (
        np.concatenate([owner, owner[again]]),
        np.concatenate([day, day[again]]),
        np.concatenate([rng.normal(7.8, 0.8, len(owner)), rng.normal(20.5, 0.9, int(again.sum()))]),
    )
    seconds = np.clip(hour * 3600, 4 * 3600, 23.9 * 3600).astype(np.int64)
    local = days[day].astype("datetime64[us]") + seconds.astype("timedelta64[s]")
    return _shape(rng, patients, pl.DataFrame({"owner": owner, "local": local}), month)


def take_readings(rng: np.random.Generator, patients: pl.DataFrame, file: Path, month: date) -> pl.DataFrame:
    """Give the first patients the spacing of a file of real readings, shifted by whole days into the month.

    A file without a column `subject` is of one person. The last day of each person's readings becomes the
    last day of the month; what then lies before the previous month is left out. The file's clock is read
    as the patient's own.
    """
    found = pl.read_csv(file)
    clock, subject = (
        next(name for name in found.columns if name.startswith("reading_time")),
        pl.col("subject") if "subject" in found.columns else pl.lit("only"),
    )
    value = next(name for name in found.columns if name not in {clock, "subject"})
    last = month.replace(day=monthrange(month.year, month.month)[1])
    before = (month - timedelta(days=1)).replace(day=1)
    read = found.select(
        subject=subject,
        local=pl.col(clock).str.to_datetime(time_unit="us"),
        value=pl.col(value).cast(pl.Float64),
    ).with_columns(owner=pl.col("subject").rank("dense").cast(pl.Int64) - 1)
    shift = pl.lit(last) - pl.col("local").dt.date().max().over("subject")
    placed = read.with_columns(local=pl.col("local") + shift).filter(
        pl.col("local") >= before, pl.col("owner") < len(patients)
    )
    return _shape(rng, patients, placed.drop("subject"), month)


def _shape(
    rng: np.random.Generator, patients: pl.DataFrame, placed: pl.DataFrame, month: date
) -> pl.DataFrame:
    owner = placed["owner"].to_numpy()
    device = owner % len(_METRICS)
    mean, spread = (np.array([row[at] for row in _METRICS])[device] for at in (2, 3))
    made = pl.Series("value", np.round(rng.normal(mean, spread), 1))
    who = patients.select("patient_id", "timezone")[owner.tolist()]
    named = placed.with_columns(
        device_id=pl.format("D{}", pl.col("owner").cast(pl.String).str.zfill(7)),
        metric=pl.Series([row[0] for row in _METRICS]).gather(device),
        unit=pl.Series([row[1] for row in _METRICS]).gather(device),
        value=pl.col("value") if "value" in placed.columns else made,
        capture=pl.Series(np.where(rng.random(len(placed)) < 0.97, "automatic", "manual")),
        delay=pl.Series(rng.integers(2, 900, len(placed))),
        is_in_month=pl.col("local") >= month,
    ).hstack(who)  # fmt: skip
    zones = [
        part.with_columns(
            measured_at=pl.col("local")
            .dt.replace_time_zone(str(zone), ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
        )
        for (zone,), part in named.partition_by("timezone", as_dict=True).items()
    ]
    return (
        pl.concat(zones)
        .drop_nulls("measured_at")
        .sort("measured_at", "patient_id")
        .with_columns(
            reading_id=pl.format("R{}", pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(10)),
            received_at=pl.col("measured_at") + pl.duration(seconds="delay"),
            utc_offset=pl.col("local") - pl.col("measured_at").dt.replace_time_zone(None),
        )
        .select(*_SCHEMA, "utc_offset", "is_in_month")
    )
