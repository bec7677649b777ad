"""No patient data outside the outputs: a month of marked people is run, and everything else is searched."""

import gzip
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from infra.sandbox.month import make_month

MARK = "ZQXMARKER"
MARKED_COLUMNS = ("last_name", "first_name", "middle_name", "address_line", "city", "medical_record_number")
pytestmark = pytest.mark.flow


def test_no_marker_reaches_prefect_the_logs_or_a_file_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_month(date(2026, 10, 1), patients=25, seed=5, out=source, file_format="csv")
    members = _mark(source)
    _break_a_row(source)
    home, output = tmp_path / "home", tmp_path / "output"
    said = _month_end(source, output, home)
    assert said.returncode == 3, said.stderr

    claims = b"".join(path.read_bytes() for path in (output / "2026-10" / "claims").iterdir())
    assert MARK.encode() in claims, "the markers must be in the claims, or this test shows nothing"
    searched = {
        "stdout": said.stdout.encode(),
        "stderr": said.stderr.encode(),
        "file names": "\n".join(str(path) for path in tmp_path.rglob("*")).encode(),
        "report": (output / "2026-10" / "report.html").read_bytes(),
        "quarantine": (output / "2026-10" / "quarantine.csv").read_bytes(),
        **{str(path): path.read_bytes() for path in (home / "prefect").rglob("*") if path.is_file()},
    }
    assert any(name.endswith("prefect.db") for name in searched)
    for place, content in searched.items():
        for needle in (MARK, MARK.lower(), *members):
            assert needle.encode() not in content, f"{needle} is in {place}"


def test_a_step_that_breaks_says_where_and_never_what(tmp_path: Path) -> None:
    """A failure deep in Polars quotes the value it failed on; ours must not."""
    from schemas.errors import StepFailed
    from tasks.step import step

    @step("breaks")
    def breaks() -> None:
        pl.Series([MARK]).cast(pl.Int64)

    with pytest.raises(StepFailed) as failure:
        breaks.fn()
    assert MARK not in str(failure.value)
    assert "breaks" in str(failure.value)
    assert "flows/test_privacy.py" in str(failure.value)


def _mark(source: Path) -> list[str]:
    """Write the marker into every name and address, and return the member ids."""
    members: list[str] = []
    for path in (source / "patients").iterdir():
        rows = pl.read_csv(path, infer_schema=False)
        marked = [pl.lit(f"{MARK}") + "-" + pl.col(name).fill_null("X") for name in MARKED_COLUMNS]
        rows.with_columns(
            text.alias(name) for text, name in zip(marked, MARKED_COLUMNS, strict=True)
        ).write_csv(path)
        members += rows["member_id"].drop_nulls().to_list()
    assert len(members) > 20
    return [member for member in members if len(member) > 8]


def _break_a_row(source: Path) -> None:
    """Put a marker where a time should be, so that a message has something to quote wrongly."""
    path = source / "time-entries" / "2026-10" / "marked.csv.gz"
    first = next((source / "time-entries" / "2026-10").glob("*.csv"))
    rows = pl.read_csv(first, infer_schema=False).head(1)
    broken = rows.with_columns(pl.lit("broken-1").alias("entry_id"), pl.lit(f"{MARK} JANE").alias("note_ref"))
    path.write_bytes(
        gzip.compress(broken.with_columns(pl.lit("not a time").alias("ended_at")).write_csv().encode())
    )


def _month_end(source: Path, output: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    command = ["month-end", "--month", "2026-10", "--source", str(source), "--output", str(output)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "RPMCLAIMS_HOME": str(home),
        "RPMCLAIMS_NOW": "2026-11-23T12:00:00+00:00",
    }
    return subprocess.run(
        [sys.executable, "-m", "console.cli", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
