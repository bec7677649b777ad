"""Sweeping: what the dead left goes, what the living or a retry needs stays, in a folder and in a bucket."""

import os
import time
from pathlib import Path

import polars as pl
import pytest

from schemas.settings import load_settings
from tasks.ledger import Ledger
from tasks.staging import save, stages_in
from tasks.storage import storage_at
from tasks.sweeping import sweep, sweep_previews
from tests.tasks.made_claims import AT, OCTOBER, SOURCE

FRAME = pl.DataFrame({"a": [1]})
DRAFT = ".lines.csv.0123456789ab"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three runs: one that is done, one that failed after it, and one at work."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.upgrade()
        for name in ("done", "failed", "working"):
            ledger.record_run(name, month=OCTOBER, source=SOURCE, output="out", at=AT)
        ledger.finish_run("done", summary={}, at=AT)
        ledger.fail_run("failed", at=AT)
        return ledger


@pytest.fixture(params=["folder", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output in which four runs have left frames, one of them none of this ledger's."""
    uri = str(tmp_path / "out")
    if request.param == "s3":
        uri = f"s3://{request.getfixturevalue('s3_bucket')}/out"
    for name in ("done", "failed", "working", "stranger"):
        save(FRAME, f"{uri}/.stage/2026-10/{name}/entries", "part-1")
    return uri


def test_frames_of_runs_that_are_over_go_and_all_others_stay(ledger: Ledger, output: str) -> None:
    storage_at(f"{output}/2026-10").write("lines.csv", b"kept")
    assert sweep(ledger, output) == 1
    assert stages_in(f"{output}/.stage") == ["2026-10/failed", "2026-10/stranger", "2026-10/working"]
    ledger.record_run("again", month=OCTOBER, source=SOURCE, output="out", at=AT)
    ledger.finish_run("again", summary={}, at=AT)
    assert sweep(ledger, output) == 1
    assert stages_in(f"{output}/.stage") == ["2026-10/stranger", "2026-10/working"]
    assert storage_at(f"{output}/2026-10").read("lines.csv") == b"kept"


def test_an_old_draft_goes_and_a_young_one_or_a_hidden_file_of_somebody_stays(
    ledger: Ledger, tmp_path: Path
) -> None:
    month = tmp_path / "out" / "2026-10"
    month.mkdir(parents=True)
    for name in (DRAFT, ".holds.csv.0123456789ab", ".profile"):
        (month / name).touch()
    for name in (DRAFT, ".profile"):
        os.utime(month / name, (0, time.time() - 3 * 3600))
    assert sweep(ledger, str(tmp_path / "out")) == 1
    assert sorted(path.name for path in month.iterdir()) == [".holds.csv.0123456789ab", ".profile"]


def test_a_preview_that_was_killed_leaves_nothing_for_long(home: Path) -> None:
    previews = load_settings().previews
    for name in ("old", "young"):
        save(FRAME, f"{previews}/2026-10/{name}", "part-1")
    os.utime(previews / "2026-10" / "old", (0, time.time() - 3 * 3600))
    sweep_previews()
    assert [path.name for path in (previews / "2026-10").iterdir()] == ["young"]
