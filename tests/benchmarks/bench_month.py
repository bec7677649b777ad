"""Benchmark: the whole month-end, from source files to checked 837P files, for two sizes of month.

Each size runs in a process of its own, as a person would start it, with an empty ledger and an empty
Prefect home; the time holds everything from the command's first to its last instruction.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from infra.sandbox.month import make_month

SIZES = (10_000, 100_000)
FAILED, WRONG = 1, 2
# A child's peak begins with that of its parent, so a small process runs the command and tells its peak.
_WITH_ITS_PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run() -> list[dict[str, Any]]:
    """Measure seconds, patients per second and peak memory, and how the time grows with the month."""
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    for patients in SIZES:
        elapsed, peak = measured(patients)
        seconds.append(elapsed)
        rows += [
            figure(f"month-end, {patients:,} patients", elapsed, "s"),
            figure(f"month-end, {patients:,} patients", patients / elapsed, "patients/s"),
            figure(f"month-end, {patients:,} patients", peak, "MB peak"),
        ]
    growth = (seconds[1] / seconds[0]) / (SIZES[1] / SIZES[0])
    return [*rows, {**figure("growth over linear", growth, ""), "ratio": growth, "goal": "at most 1"}]


def figure(name: str, value: float, unit: str) -> dict[str, Any]:
    """Lay out one row of the table."""
    return {"name": name, "value": value, "unit": unit, "ratio": None, "goal": None}


def measured(patients: int) -> tuple[float, float]:
    """Run one month and return its seconds and the peak of its memory in MB."""
    with tempfile.TemporaryDirectory(prefix="rpm-claims-bench-") as folder:
        source = Path(folder, "source")
        make_month(
            date(2026, 10, 1), patients=patients, seed=1, out=source, file_format="parquet", has_faults=False
        )
        command = ["month-end", "--month", "2026-10", "--source", str(source), "--output", f"{folder}/out"]
        environment = {
            **os.environ,
            "RPMCLAIMS_HOME": f"{folder}/home",
            "RPMCLAIMS_NOW": "2026-11-23T12:00:00Z",
        }
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _WITH_ITS_PEAK, sys.executable, "-m", "console.cli", *command],
            env=environment,
            capture_output=True,
            check=False,
        )
        elapsed = time.perf_counter() - started
        if done.returncode in (FAILED, WRONG):
            raise SystemExit(done.stderr.decode())
        return elapsed, int(done.stdout) / 1024


if __name__ == "__main__":
    for row in run():
        print(row)
