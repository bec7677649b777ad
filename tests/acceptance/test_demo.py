"""The demo, as `make demo` runs it: the README's commands in a row, from nothing to explained money."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.flow
@pytest.mark.server
def test_the_demo_goes_the_whole_way_and_cleans_up(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AWS_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "infra.sandbox.run", "--patients", "40", "--folder", str(tmp_path / "demo")],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for command in ("month-end", "submit", "collect", "bank", "reconcile", "worklist"):
        assert f"$ rpmclaims {command}" in done.stderr
    month = tmp_path / "demo" / "output" / "2026-10"
    assert (month / "report.html").read_text().startswith("<!doctype html>")
    assert list((month / "claims").glob("*.837"))
    assert "Traceback" not in done.stderr
