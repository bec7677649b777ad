"""Benchmark: counting a month's time and its days of data, beside pandas on the same Parquet files.

Run it as a script for a table (`--entries N --readings N --patients N`); `make bench` collects `run()`.
Both sum the seconds logged, counted and lost for want of a note; ours also keeps every counted stretch.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl

from billing.counted_time import count_time
from billing.device_days import device_days
from billing.month import MonthSources, describe_people
from schemas.columns import COUNTED_ACTIVITIES, UTC

MONTH: Final = date(2026, 10, 1)
ZONE: Final = "America/Chicago"
ENTRIES: Final = 5_000_000
READINGS: Final = 50_000_000
PATIENTS: Final = 100_000
DAY_US: Final = 86_400_000_000

_FIRST_US: Final = int(datetime(2026, 9, 30).timestamp()) * 1_000_000  # noqa: DTZ001  (only a place to begin)
_ENTRY: Final = (
    "entry_id",
    "object",
    "patient_id",
    "program",
    "staff_role",
    "started_at",
    "ended_at",
    "activity",
    "method",
    "live_interaction",
    "note_ref",
)
_SUMS: Final = ("logged_us", "counted_us", "undocumented_us")
_READING: Final = ("patient_id", "measured_at", "capture")


def run(
    entries: int = ENTRIES, readings: int = READINGS, patients: int = PATIENTS
) -> list[dict[str, str | float]]:
    """Measure both sums; a value is seconds, a ratio how many times faster than pandas."""
    people = describe_people(_sources(patients), MONTH)
    none = pl.DataFrame(schema={"entry_id": pl.String, "started_at": UTC, "ended_at": UTC})
    windows = pl.DataFrame(
        schema={"patient_id": pl.String, "kind": pl.String, "starts_on": pl.Date, "ends_on": pl.Date}
    )
    with tempfile.TemporaryDirectory() as folder:
        time_file, data_file = Path(folder) / "entries.parquet", Path(folder) / "readings.parquet"
        _write_entries(time_file, entries, patients)
        _write_readings(data_file, readings, patients)

        def count() -> int:
            worked = pl.read_parquet(time_file, columns=list(_ENTRY))
            totals = count_time(worked, none, windows, people, MONTH).totals
            return int(totals.select(pl.sum_horizontal(pl.col(_SUMS).sum())).item())

        def mark() -> int:
            read = pl.scan_parquet(data_file).select(_READING)
            words = device_days(read, people, MONTH)["day_bits"]
            return int((words // 2**29).bitwise_count_ones().sum())

        return [
            _compare("count the time", entries, 3.0, count, lambda: _pandas_seconds(time_file)),
            _compare("distinct days of data", readings, 8.0, mark, lambda: _pandas_days(data_file)),
        ]


def _compare(
    name: str, rows: int, goal: float, ours: Callable[[], int], theirs: Callable[[], int]
) -> dict[str, str | float]:
    our_time, our_answer = _timed(ours, repeats=3)
    their_time, their_answer = _timed(theirs, repeats=1)
    if our_answer != their_answer:
        raise AssertionError(f"{name}: we say {our_answer}, pandas says {their_answer}")
    ratio = round(their_time / our_time, 1)
    return {
        "name": f"{name}, {rows:,} rows",
        "value": round(our_time, 2),
        "unit": "s",
        "goal": goal,
        "ratio": ratio,
    }


def _timed(task: Callable[[], int], repeats: int) -> tuple[float, int]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = task()
        times.append(time.perf_counter() - start)
    return min(times), answer


def _pandas_seconds(path: Path) -> int:
    """Sum the unions of each patient's logged, counted and undocumented time, in microseconds."""
    columns = ["patient_id", "program", "staff_role", "started_at", "ended_at", "activity", "note_ref"]
    rows = pd.read_parquet(path, columns=columns)
    first, last = (pd.Timestamp(day, tz=ZONE).tz_convert("UTC") for day in ("2026-10-01", "2026-11-01"))
    rows["started_at"] = rows["started_at"].clip(lower=first)
    rows["ended_at"] = rows["ended_at"].clip(upper=last)
    rows = rows[(rows["program"] == "RPM") & (rows["started_at"] < rows["ended_at"])]
    rows = rows.sort_values(["patient_id", "started_at"])
    countable = (rows["staff_role"] != "administrative") & rows["activity"].isin(COUNTED_ACTIVITIES)
    counted = _pandas_union(rows[countable & rows["note_ref"].notna()])
    with_notes_missing = _pandas_union(rows[countable])
    sums = (_pandas_union(rows), counted, with_notes_missing.sub(counted, fill_value=0))
    return int(sum(each.sum() for each in sums))


def _pandas_union(rows: pd.DataFrame) -> "pd.Series[int]":
    started, ended = rows["started_at"].astype("int64"), rows["ended_at"].astype("int64")
    covered = ended.groupby(rows["patient_id"]).cummax().groupby(rows["patient_id"]).shift(fill_value=0)
    own = (ended - np.maximum(started, covered)).clip(lower=0)
    return own.groupby(rows["patient_id"]).sum()


def _pandas_days(path: Path) -> int:
    """Count the distinct local days of October with an automatic reading."""
    rows = pd.read_parquet(path, columns=list(_READING))
    rows = rows[rows["capture"] == "automatic"]
    local = rows["measured_at"].dt.tz_convert(ZONE).dt.tz_localize(None)
    rows = pd.DataFrame({"patient_id": rows["patient_id"], "day": local.dt.normalize()})
    rows = rows[(rows["day"] >= "2026-10-01") & (rows["day"] < "2026-11-01")]
    return int(rows.groupby("patient_id")["day"].nunique().sum())


def _names(numbers: np.ndarray[Any, Any], letter: str) -> pl.Series:
    return pl.select(
        pl.format(f"{letter}{{}}", pl.lit(pl.Series(numbers)).cast(pl.String).str.zfill(8))
    ).to_series()


def _pick(random: np.random.Generator, count: int, choices: tuple[str | None, ...]) -> pl.Series:
    return pl.Series(choices, dtype=pl.String).gather(random.integers(0, len(choices), count))


def _write_entries(path: Path, count: int, patients: int) -> None:
    """Write entries of a minute to half an hour, a few of them of other kinds than count."""
    random = np.random.default_rng(7)
    started = _FIRST_US + random.integers(0, 33 * 86_400, count) * 1_000_000
    frame = pl.DataFrame(
        {
            "entry_id": _names(np.arange(count), "E"),
            "object": pl.repeat("time-entries/2026-10/a.parquet", count, eager=True),
            "patient_id": _names(random.integers(0, patients, count), "P"),
            "program": pl.repeat("RPM", count, eager=True),
            "staff_role": _pick(random, count, ("clinical_staff",) * 8 + ("physician", "administrative")),
            "started_at": started,
            "ended_at": started + random.integers(60, 1800, count) * 1_000_000,
            "activity": _pick(random, count, (*COUNTED_ACTIVITIES, "scheduling")),
            "method": _pick(random, count, ("phone", "video", "none", "message")),
            "live_interaction": random.integers(0, 2, count) == 1,
            "note_ref": _pick(random, count, ("N-1",) * 9 + (None,)),
        }
    )
    frame.with_columns(pl.col("started_at", "ended_at").cast(UTC)).write_parquet(path)


def _write_readings(path: Path, count: int, patients: int) -> None:
    """Write readings of two months, one in ten typed in by hand."""
    random = np.random.default_rng(11)
    numbers = random.integers(0, patients, count, dtype=np.int32)
    frame = pl.DataFrame(
        {
            "patient_id": pl.select(_names(np.arange(patients), "P").gather(numbers)).to_series(),
            "measured_at": _FIRST_US - 30 * DAY_US + random.integers(0, 63 * 86_400, count) * 1_000_000,
            "capture": _pick(random, count, ("automatic",) * 9 + ("manual",)),
        }
    )
    frame.with_columns(pl.col("measured_at").cast(UTC)).write_parquet(path)


def _sources(patients: int) -> MonthSources:
    """Describe the people of the benchmark; the frames that counting does not look at are empty."""
    days = dict.fromkeys(("consent_date", "enrolled_on"), date(2026, 1, 1))
    people = pl.DataFrame({"patient_id": _names(np.arange(patients), "P")}).with_columns(
        payer_id=pl.lit("PARTB"),
        billing_npi=pl.lit("1234567893"),
        rendering_npi=pl.lit("1245319599"),
        diagnosis_codes=pl.lit("I10"),
        **{name: pl.lit(day) for name, day in days.items()},
    )
    nothing = pl.DataFrame()
    return MonthSources(
        entries=nothing,
        clashes=nothing,
        readings=nothing,
        patients=people,
        coverage=nothing,
        practitioners=pl.DataFrame({"npi": ["1245319599"]}),
        providers=pl.DataFrame(
            {
                "npi": ["1234567893"],
                "mac_contract": ["04412"],
                "locality": ["11"],
                "timezone": [ZONE],
                "participating": [True],
                "qualifying_apm": [False],
            }
        ),
        payers=pl.DataFrame(
            {
                "payer_id": ["PARTB"],
                "kind": ["medicare_part_b"],
                "add_on_lines": ["per_unit"],
                "repeat_modifier": pl.Series([None], dtype=pl.String),
                "date_of_service": ["threshold_date"],
                "bill_device_supply": [False],
                "count_messages": [True],
            }
        ),
        charges=nothing,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--readings", type=int, default=READINGS)
    parser.add_argument("--patients", type=int, default=PATIENTS)
    wanted = parser.parse_args()
    for row in run(wanted.entries, wanted.readings, wanted.patients):
        print(
            f"{row['name']:<45} {row['value']:>8} {row['unit']}  {row['ratio']}x pandas (goal {row['goal']}x)"
        )


if __name__ == "__main__":
    main()
