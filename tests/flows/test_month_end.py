"""The month-end flow as a person runs it: from source objects to checked claim files, and again."""

import json
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.flows.months import Outputs, RunMonth, SampleMonth

SHARED = Path(__file__).parents[3] / "shared"
DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3

pytestmark = pytest.mark.flow


def test_every_planted_fault_lands_where_a_person_looks_for_it(
    outputs: Outputs, sample_month: SampleMonth
) -> None:
    planted = sample_month.made.planted
    found = pl.concat(
        [
            outputs.table("quarantine").select("dataset", kind="rule", key="row_key"),
            outputs.table("holds").select(dataset=pl.lit("holds"), kind="reason", key="patient_id"),
        ]
    )
    not_faults = ("repeat", "days_in_hospital", "clipped_at_both_ends", "among_faulty_rows")
    expected = planted.filter(~pl.col("kind").is_in(not_faults))
    assert expected.height > 50
    lost = expected.join(found, on=["dataset", "kind", "key"], how="anti")
    assert lost.is_empty(), lost
    assert outputs.code == LOOK


def test_what_counts_is_what_was_worked(outputs: Outputs, sample_month: SampleMonth) -> None:
    told = sample_month.made.counted_seconds
    holds = outputs.table("holds").select("patient_id", pl.col("counted_seconds").cast(pl.Int64)).unique()
    both = holds.join(told, on="patient_id", suffix="_made")
    assert both.height > 20
    assert both.filter(pl.col("counted_seconds") != pl.col("counted_seconds_made")).is_empty()


def test_a_second_identical_run_adds_nothing_and_leaves_the_same_bytes(
    run_month: RunMonth, sample_month: SampleMonth, home: Path
) -> None:
    first = run_month(sample_month.source).files()
    before = _rows(home)
    again = run_month(sample_month.source)
    after = _rows(home)
    assert again.files() == first
    assert {name: count for name, count in after.items() if name != "month_run"} == {
        name: count for name, count in before.items() if name != "month_run"
    }


def test_another_output_gets_the_same_files_under_the_same_numbers(
    run_month: RunMonth, sample_month: SampleMonth, tmp_path: Path
) -> None:
    first = run_month(sample_month.source).files()
    second = run_month(sample_month.source, output=tmp_path / "elsewhere").files()
    claims = [name for name in first if name.startswith("claims/")]
    assert claims
    assert {name: second[name] for name in claims} == {name: first[name] for name in claims}
    assert second["lines.csv"] == first["lines.csv"]


def test_many_small_buckets_give_what_one_bucket_gives(
    outputs: Outputs,
    run_month: RunMonth,
    sample_month: SampleMonth,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RPMCLAIMS_PATIENTS_PER_BUCKET", "17")
    sharded = run_month(sample_month.source, output=tmp_path / "sharded")
    for name in ("lines.csv", "holds.csv", "quarantine.csv"):
        assert sharded.files()[name] == outputs.files()[name], name


def test_the_bucket_and_the_folder_hold_the_same_month(
    outputs: Outputs, run_month: RunMonth, sample_month: SampleMonth, s3_bucket: str, tmp_path: Path
) -> None:
    from tasks.storage import storage_at

    uri = s3_bucket if s3_bucket.startswith("s3://") else f"s3://{s3_bucket}"
    store = storage_at(f"{uri}/source")
    for path in sample_month.source.rglob("*"):
        if path.is_file():
            store.write(str(path.relative_to(sample_month.source)), path.read_bytes())
    from console.cli import run

    code = run(["month-end", "--month", "2026-10", "--source", f"{uri}/source", "--output", f"{uri}/out"])
    assert code == LOOK
    kept = storage_at(f"{uri}/out/2026-10")
    assert kept.read("holds.csv") == outputs.files()["holds.csv"]
    assert kept.read("lines.csv") == outputs.files()["lines.csv"]
    assert not storage_at(f"{uri}/out/.stage").list()


def test_a_dry_run_tells_and_writes_nothing(
    run_month: RunMonth, sample_month: SampleMonth, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = run_month(sample_month.source, "--dry-run", "--json")
    told = json.loads(capsys.readouterr().out)
    assert preview.code == LOOK
    assert told["is_preview"]
    assert told["funnel"]["claims"] > 0
    assert not preview.folder.parent.exists()
    assert [path.name for path in home.iterdir()] == ["prefect"]


def test_the_files_carry_exactly_the_lines(outputs: Outputs) -> None:
    lines = outputs.table("lines")
    claimed: dict[str, Decimal] = {}
    for path in (outputs.folder / "claims").glob("*.837"):
        for segment in path.read_text().split("~"):
            elements = segment.split("*")
            if elements[0] == "CLM":
                assert elements[1] not in claimed
                claimed[elements[1]] = Decimal(elements[2])
    charged = {
        number: sum(map(Decimal, charges), Decimal(0))
        for number, charges in lines.group_by("claim_number").agg("charge").iter_rows()
    }
    assert claimed == charged
    assert len(claimed) > 30


def test_funnel_and_lines_tell_the_same_money(outputs: Outputs) -> None:
    funnel = json.loads((outputs.folder / "funnel.json").read_text())
    lines = outputs.table("lines")
    for name in ("charge", "allowed_estimate", "medicare_estimate", "patient_estimate"):
        assert Decimal(funnel[name]) == sum(map(Decimal, lines[name]), Decimal(0)), name
    assert funnel["patients_billed"] == lines["patient_id"].n_unique()
    assert funnel["patients_held"] == (
        outputs.table("holds").filter(~pl.col("reason").is_in(NOTES))["patient_id"].n_unique()
    )


NOTES = [
    "UNITS_OVER_CAP",
    "UNDOCUMENTED_TIME",
    "OVERLAPPING_PROGRAMS",
    "STAFF_DOUBLE_BOOKED",
    "NO_DEVICE_DATA",
]


def test_nobody_is_both_held_and_billed(outputs: Outputs) -> None:
    held = outputs.table("holds").filter(~pl.col("reason").is_in(NOTES))
    assert held.join(outputs.table("lines"), on="patient_id", how="semi").is_empty()


@pytest.mark.parametrize(
    ("month", "says"),
    [
        ("2026-1", "written like 2026-10"),
        ("2026-11", "is not over"),
        ("2024-10", "No physician fee schedule is loaded for 2024"),
    ],
)
def test_a_month_that_cannot_be_billed_is_refused_in_one_sentence(
    run_month: RunMonth,
    sample_month: SampleMonth,
    capsys: pytest.CaptureFixture[str],
    month: str,
    says: str,
) -> None:
    refused = run_month(sample_month.source, month=month)
    assert refused.code == WRONG
    assert says in capsys.readouterr().err
    assert not refused.folder.exists()


def test_a_source_without_patients_is_refused_by_name(
    run_month: RunMonth, sample_month: SampleMonth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = tmp_path / "partial"
    shutil.copytree(sample_month.source, partial, ignore=shutil.ignore_patterns("patients"))
    assert run_month(partial).code == WRONG
    assert "patients" in capsys.readouterr().err


def test_real_people_and_real_readings_make_a_month(run_month: RunMonth, tmp_path: Path) -> None:
    people = SHARED / "samples" / "synthea"
    if not people.is_dir():
        pytest.skip("the Synthea people and the home readings are not beside this checkout")
    from datetime import date

    from infra.sandbox.month import make_month

    source = tmp_path / "real"
    make_month(
        date(2026, 10, 1),
        patients=40,
        seed=3,
        out=source,
        people_folder=people,
        readings_file=SHARED / "samples" / "rpm_readings" / "home_bp_one_person.csv",
        has_faults=False,
    )
    outputs = run_month(source)
    assert outputs.code in (DONE, LOOK)
    assert outputs.table("lines").height > 20
    text = "".join(path.read_text() for path in (outputs.folder / "claims").glob("*.837"))
    # Synthea writes digits into names; they are letters of X12's basic set and stay.
    assert any(f"*{name}" in text for name in ("SCHMIDT332", "MOSCISKI958", "NORIEGA353")) or "958" in text


def _rows(home: Path) -> dict[str, int]:
    """Count the rows of every table of the ledger."""
    with sqlite3.connect(home / "ledger.sqlite") as ledger:
        names = [name for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")]
        return {name: ledger.execute(f"select count(*) from {name}").fetchone()[0] for name in names}
