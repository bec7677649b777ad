"""Fixtures of the flow tests: a sample month, and a way to run it."""

from datetime import date
from pathlib import Path

import pytest

from infra.sandbox.month import make_month
from tests.flows.months import Outputs, RunMonth, SampleMonth

MONTH = date(2026, 10, 1)
TODAY = "2026-11-23T12:00:00+00:00"


@pytest.fixture(scope="session")
def sample_month(tmp_path_factory: pytest.TempPathFactory) -> SampleMonth:
    """A small month with every planted fault."""
    source = tmp_path_factory.mktemp("sample") / "source"
    return SampleMonth(source, make_month(MONTH, patients=60, seed=11, out=source))


def month_end(source: Path | str, output: Path, *options: str, month: str = "2026-10") -> Outputs:
    """Run `rpmclaims month-end` in this process."""
    from console.cli import run

    code = run(["month-end", "--month", month, "--source", str(source), "--output", str(output), *options])
    return Outputs(output / month, code)


@pytest.fixture(scope="session")
def outputs(
    prefect_server: None, sample_month: SampleMonth, tmp_path_factory: pytest.TempPathFactory
) -> Outputs:
    """What a run of the sample month left behind; only to be looked at."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPMCLAIMS_HOME", str(folder / "home"))
        patch.setenv("RPMCLAIMS_NOW", TODAY)
        return month_end(sample_month.source, folder / "output")


@pytest.fixture
def run_month(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunMonth:
    """Run a month in the home of this test, on the day the sample month expects."""
    monkeypatch.setenv("RPMCLAIMS_NOW", TODAY)

    def run_it(
        source: Path | str, *options: str, output: Path | None = None, month: str = "2026-10"
    ) -> Outputs:
        return month_end(source, output or tmp_path / "output", *options, month=month)

    return run_it
