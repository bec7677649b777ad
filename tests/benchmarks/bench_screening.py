"""Benchmark: reading, screening and settling a million time entries, beside Pandera alone on the same rows.

Run it as a script for a table; `make bench` collects `run()`.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from schemas.datasets import DATASETS
from schemas.quarantine import RawPart, screen
from schemas.settling import settle
from tasks.readers import READERS

ROWS = 1_000_000
PATIENTS = 100_000
SEED = 7
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ENTRIES = DATASETS["time-entries"]


def entries(rows: int = ROWS, bad_share: float = 0.0) -> pl.DataFrame:
    """Make text rows of October, a share of them without a zone."""
    number = pl.int_range(rows)
    started = pl.datetime(2026, 10, 1) + pl.duration(seconds=number * 2_500_000 // rows)
    zone = (
        pl.when(number.hash(SEED) % 10_000 < bad_share * 10_000).then(pl.lit("")).otherwise(pl.lit("-05:00"))
    )
    clock = "%Y-%m-%dT%H:%M:%S"
    return pl.select(
        entry_id=pl.format("E{}", number),
        patient_id=pl.format("P{}", number.hash(SEED) % PATIENTS),
        program=pl.lit("RPM"),
        staff_id=pl.format("S{}", number % 500),
        staff_role=pl.lit("clinical_staff"),
        started_at=pl.concat_str(started.dt.strftime(clock), zone),
        ended_at=pl.concat_str((started + pl.duration(minutes=12)).dt.strftime(clock), pl.lit("-05:00")),
        activity=pl.lit("data_review"),
        method=pl.lit("phone"),
        live_interaction=pl.lit("true"),
        note_ref=pl.format("N{}", number),
        care_plan_updated_at=pl.lit(None, pl.String),
        capture=pl.lit("timer"),
        recorded_at=pl.concat_str((started + pl.duration(minutes=13)).dt.strftime(clock), pl.lit("-05:00")),
    )


def _seconds(task: Callable[[], object], repeats: int = 3) -> float:
    def once() -> float:
        start = time.perf_counter()
        task()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def run() -> list[dict[str, Any]]:
    """Measure rows a second; the ratio is value to goal."""
    known = pl.select(pl.format("P{}", pl.int_range(PATIENTS))).to_series()
    numbers = pl.int_range(1, ROWS + 1, eager=True)

    def screening(frame: pl.DataFrame) -> Callable[[], Any]:
        part = RawPart(frame, numbers)
        return lambda: screen(part, ENTRIES, object_key="x.csv", now=NOW, patient_ids=known)

    clean, faulty = entries(), entries(bad_share=0.01)
    screened = screening(clean)()
    figures = [
        ("screen entries, all good", _seconds(screening(clean)), 500_000),
        ("screen entries, 1 in 100 bad", _seconds(screening(faulty)), 300_000),
        (
            "pandera alone, same model",
            _seconds(lambda: ENTRIES.model.validate(screened.accepted, lazy=True)),
            None,
        ),
        (
            "settle entries",
            _seconds(lambda: settle(screened.accepted, screened.rejected, ENTRIES)),
            1_000_000,
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for ending, goal in ((".csv", 400_000), (".parquet", 1_000_000), (".ndjson", 200_000)):
            path = Path(folder, f"entries{ending}")
            getattr(clean, f"write_{ending[1:]}")(path)
            figures.append((f"read entries from {ending}", _seconds(_reading(path), 1), goal))
    return [
        {
            "name": name,
            "value": round(ROWS / seconds),
            "unit": "rows/s",
            "goal": goal,
            "ratio": round(ROWS / seconds / goal, 2) if goal else None,
        }
        for name, seconds, goal in figures
    ]


def _reading(path: Path) -> Callable[[], int]:
    columns = tuple(ENTRIES.types)
    return lambda: sum(part.frame.height for part in READERS[path.suffix](path, columns, ROWS))


if __name__ == "__main__":
    for figure in run():
        goal = f"{figure['goal']:>12,}" if figure["goal"] else " " * 12
        print(f"{figure['name']:<32}{figure['value']:>12,} {figure['unit']}{goal}")
