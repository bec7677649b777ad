"""A month: a sample source of any size, as practices would deliver it, for `rpmclaims month-end`.

`python -m infra.sandbox.month --month 2026-10 --patients 600 --seed 7 --out s3://bucket/prefix` (or a
folder) writes the eight datasets of the contract, in every file format, a few files each. The same
arguments give the same bytes. This module composes and writes; who and what is in the month is made
in `practices`, `people`, `timelogs` and `devices`, and what is wrong with it in `faults`.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from infra.sandbox import devices, people, practices, timelogs
from infra.sandbox.faults import FAULTS, Planted, plant
from infra.sandbox.files import FORMATS, to_bytes
from infra.sandbox.places import place

CHOICES_OF_FORMAT: Final = (*FORMATS, "mixed")
# Below this many rows a dataset is one file; above, several.
_ROWS_IN_ONE_FILE: Final = 40
_NOT_OF_THE_CONTRACT: Final = {
    "device-readings": ("is_in_month",),
    "patients": ("timezone", "ordinal"),
    "practitioners": ("billing_npi",),
    "billing-providers": ("place_of_service", "facility_share", "patient_share"),
}


@dataclass(frozen=True)
class MonthMade:
    """What was made.

    Attributes:
        totals: Rows by dataset, and `files`.
        planted: kind, dataset, key of each planted fault: `kind` is a quarantine rule and `key` the row's
            key there, or `dataset` is `holds`, `kind` a hold reason and `key` a patient_id. Kinds that are no
            faults (repeat, days_in_hospital, clipped_at_both_ends, among_faulty_rows) are here too.
        counted_seconds: patient_id, counted_seconds: what must count, for every patient of a payer that
            lets messages count and who has such time.
    """

    totals: dict[str, int]
    planted: pl.DataFrame
    counted_seconds: pl.DataFrame


def make_month(
    month: date,
    *,
    patients: int,
    seed: int,
    out: str | os.PathLike[str],
    people_folder: Path | None = None,
    readings_file: Path | None = None,
    file_format: str = "mixed",
    has_faults: bool = True,
) -> MonthMade:
    """Make a month and write it.

    Args:
        month: Its first day.
        patients: How many, besides the planted ones.
        seed: Same seed and arguments, same bytes.
        out: `s3://bucket/prefix` or a folder.
        people_folder: A Synthea export whose people become the first patients.
        readings_file: Real device readings whose spacing the first patients get.
        file_format: One of `CHOICES_OF_FORMAT`.
        has_faults: Whether to plant faults.
    """
    rng = np.random.default_rng(seed)
    pool = people.name_pool(seed)
    world = practices.make_practices(rng, patients, pool)
    everyone = people.make_patients(rng, patients, month, world, pool)
    if people_folder is not None:
        everyone = people.take_synthea(everyone, people_folder)
    logs = timelogs.make_time_logs(rng, everyone, month)
    readings = devices.make_readings(rng, everyone, month)
    if readings_file is not None:
        real = devices.take_readings(rng, everyone, readings_file, month)
        readings = pl.concat([readings.join(real, on="patient_id", how="anti"), real])
    months = ((month - timedelta(days=1)).replace(day=1), month, (month + timedelta(days=31)).replace(day=1))
    frames = _of_time(rng, everyone, logs.entries, readings, months) | {
        "patients": everyone,
        "coverage-windows": people.make_coverage(rng, everyone, month),
        "practitioners": world.practitioners,
        "billing-providers": world.practices,
        "payers": world.payers,
        "charges": world.charges,
    }
    counts = world.payers.filter(~pl.col("count_messages").eq_missing(pl.lit(value=False)))
    counting = everyone.join(counts, on="payer_id", how="semi")
    counted = logs.counted_seconds.join(counting, on="patient_id", how="semi", maintain_order="left")
    faults, odd_rows = pl.DataFrame(schema=FAULTS), {}
    if has_faults:
        planted = plant(rng, month, world, pool)
        frames = _mix_in(frames, planted, months)
        counted = pl.concat([counted, planted.counted_seconds.filter(pl.col("counted_seconds") > 0)])
        faults, odd_rows = planted.faults, planted.rows
    totals = _write(out, list(_files(frames, odd_rows, file_format, f"{month:%Y-%m}")))
    return MonthMade(totals, faults, counted)


def _of_time(
    rng: np.random.Generator,
    patients: pl.DataFrame,
    entries: pl.DataFrame,
    readings: pl.DataFrame,
    months: tuple[date, date, date],
) -> dict[str, pl.DataFrame]:
    """Lay entries and readings in their months' folders, beside work of the months before and after."""
    before, month, after = months
    some, few = (patients.filter(rng.random(len(patients)) < share) for share in (0.15, 0.10))
    days_before, days_after = timelogs.working_days(before), timelogs.working_days(after)[:3]
    return {
        f"time-entries/{before:%Y-%m}": timelogs.make_stray_logs(rng, some, days_before, "B"),
        f"time-entries/{month:%Y-%m}": entries,
        f"time-entries/{after:%Y-%m}": timelogs.make_stray_logs(rng, few, days_after, "A"),
        f"device-readings/{before:%Y-%m}": readings.filter(~pl.col("is_in_month")),
        f"device-readings/{month:%Y-%m}": readings.filter("is_in_month"),
    }


def _mix_in(
    frames: dict[str, pl.DataFrame], planted: Planted, months: tuple[date, date, date]
) -> dict[str, pl.DataFrame]:
    """Add what was planted to the frames of the well."""
    more = {
        "patients": planted.patients,
        "coverage-windows": planted.coverage,
        "billing-providers": planted.providers,
        "charges": planted.charges,
    }
    for folder, month in enumerate(months, -1):
        more[f"time-entries/{month:%Y-%m}"] = planted.entries.filter(folder=folder).drop("folder")
    for is_in_month, month in enumerate(months[:2]):
        more[f"device-readings/{month:%Y-%m}"] = planted.readings.filter(is_in_month=bool(is_in_month))
    return {
        name: pl.concat([frame, more[name].select(frame.columns)]) if name in more else frame
        for name, frame in frames.items()
    }


def _files(
    frames: dict[str, pl.DataFrame], odd_rows: dict[str, list[pl.DataFrame]], file_format: str, month: str
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Cut the frames into files: key, format, rows."""
    formats = FORMATS if file_format == "mixed" else (file_format,) * 3
    for folder, whole in frames.items():
        dataset = folder.partition("/")[0]
        frame = whole.drop(_NOT_OF_THE_CONTRACT.get(dataset, ())).with_columns(_extra_column(dataset))
        parts = formats if len(frame) > _ROWS_IN_ONE_FILE else formats[1:2]
        size = -(-len(frame) // len(parts))
        for number, part in enumerate(parts):
            yield f"{folder}/part-{number + 1}.{part}", part, frame.slice(number * size, size)
    odd_format = "csv" if file_format == "mixed" else file_format
    for dataset, found in odd_rows.items():
        folder = f"{dataset}/{month}" if dataset in {"time-entries", "device-readings"} else dataset
        for number, frame in enumerate(found, 1):
            yield f"{folder}/odd-{number}.{odd_format}", odd_format, frame


def _extra_column(dataset: str) -> list[pl.Expr]:
    """Add what the systems that feed a source also say, and nobody asked for."""
    extra = {
        "time-entries": pl.lit("4.2.1").alias("app_version"),
        "device-readings": pl.lit(87).alias("battery_percent"),
    }
    return [extra[dataset]] if dataset in extra else []


def _write(out: str | os.PathLike[str], files: list[tuple[str, str, pl.DataFrame]]) -> dict[str, int]:
    """Write the files and count: rows by dataset, and files."""
    totals: Counter[str] = Counter()
    with place(out) as source:
        for key, file_format, frame in files:
            source.put(key, to_bytes(frame, file_format))
            totals[key.partition("/")[0]] += len(frame)
    return {**totals, "files": len(files)}


def main(arguments: list[str] | None = None) -> None:
    """Make a month from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.sandbox.month", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--month", type=lambda text: date.fromisoformat(f"{text}-01"), default=date(2026, 10, 1)
    )
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", required=True, metavar="S3_OR_FOLDER")
    parser.add_argument("--people", type=Path, metavar="SYNTHEA_FOLDER")
    parser.add_argument("--readings", type=Path, metavar="CSV_FILE")
    parser.add_argument("--format", choices=CHOICES_OF_FORMAT, default="mixed")
    parser.add_argument("--faults", choices=("none", "all"), default="all")
    given = parser.parse_args(arguments)
    made = make_month(
        given.month,
        patients=given.patients,
        seed=given.seed,
        out=given.out,
        people_folder=given.people,
        readings_file=given.readings,
        file_format=given.format,
        has_faults=given.faults == "all",
    )
    counts = ", ".join(f"{count:,} {name}" for name, count in made.totals.items())
    print(f"{given.month:%Y-%m} in {given.out}: {counts}; {len(made.planted)} faults planted")


if __name__ == "__main__":
    main()
