"""The collection as people run it: a month billed, answered by the sandbox payer, collected to the cent."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from prefect.tasks import Task

from edi.reader import read_x12
from flows.story import in_turn
from infra.sandbox.payer import answer
from schemas.answers import Answers
from schemas.errors import StepFailed
from schemas.settings import load_settings
from tasks import translate
from tasks.filing import open_ledger
from tasks.reference import reference
from tasks.worklist import refresh
from tests.flows.months import RunMonth, SampleMonth
from tests.tasks.made_answers import era, paid_claim, rows

pytestmark = pytest.mark.flow


def collect(output: Path, inbox: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Run `rpmclaims collect --json`; return its exit code and document."""
    from console.cli import run

    capsys.readouterr()
    code = run(["collect", "--output", str(output), "--inbox", str(inbox), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_month_goes_out_and_every_cent_that_comes_back_is_posted_once(
    run_month: RunMonth,
    sample_month: SampleMonth,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0.05")
    run_month(sample_month.source)
    output, inbox = tmp_path / "output", tmp_path / "inbox"
    answer(output / "2026-10/claims", inbox, seed=7, script=["all"])
    (inbox / "README.txt").write_text("this is no answer")

    code, summary = collect(output, inbox, capsys)
    assert code == 3
    files = {file["name"]: file for file in summary["files"]}
    assert set(files) == {path.name for path in inbox.iterdir() if path.is_file()}
    assert files["README.txt"]["state"] == "unreadable"
    assert {path.name for path in (output / "answers").iterdir()} == {
        file["sha256"] for file in files.values()
    }

    # What an independent look at the files finds is what was posted.
    readings = {path.name: read_x12(path.read_bytes(), path.name) for path in inbox.glob("*.835")}
    announced = {}
    for name, reading in readings.items():
        payment = reading.tables["payments"].row(0, named=True)
        if not reading.findings.filter(pl.col("rule").str.ends_with("balance")).height:
            announced[payment["trace_number"], files[name]["sha256"]] = payment["amount"]
        else:
            assert files[name]["state"] == "quarantined"
    with open_ledger() as ledger:
        items = rows(ledger, "work_item")
        remittances, postings = rows(ledger, "remittance"), rows(ledger, "posting")
        claims, answers = rows(ledger, "claim"), rows(ledger, "answer")
    posted = remittances.filter(state="posted")
    assert sum(posted["amount"].to_list()) == sum(announced.values())
    of_plb = postings.filter(pl.col("remittance_claim_id").is_null() & (pl.col("account") != "charge"))
    paid, withheld = (
        sum(frame["amount"].to_list(), Decimal(0)) for frame in (postings.filter(account="payment"), of_plb)
    )
    assert paid - withheld == sum(posted["amount"].to_list(), Decimal(0))
    assert claims.filter(pl.col("state").is_in(["built", "sent"])).is_empty()
    assert answers["is_matched"].all()
    assert not any(file["is_unreconciled"] for file in files.values())

    # The list of what waits for people is true right away.
    assert {"denial", "imbalance"} <= set(items.filter(state="open")["kind"])
    with open_ledger() as ledger:
        assert refresh(ledger, reference(), load_settings().clock()).opened == 0

    again, nothing = collect(output, inbox, capsys)
    # Bytes that came twice under two names are looked at again, and found to be known.
    assert (again, {file["state"] for file in nothing["files"]}) == (0, {"repeat"})
    with open_ledger() as ledger:
        assert rows(ledger, "posting").equals(postings)


def test_collect_without_an_inbox_is_refused_in_one_sentence(
    prefect_server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from console.cli import run

    assert run(["collect", "--output", str(tmp_path)]) == 2
    assert "RPMCLAIMS_INBOX" in capsys.readouterr().err


def test_what_the_other_files_brought_is_listed_though_one_failed(
    prefect_server: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, name in enumerate(("bad.835", "good.835"), 1):
        (inbox / name).write_bytes(era(paid_claim(number), number=number, trace=f"EFT{number}"))
    read = translate.read_answers

    def fail(data: bytes, name: str) -> Answers:
        if name == "bad.835":
            raise ValueError("SMITH JOHN")
        return read(data, name)

    monkeypatch.setattr(translate, "read_answers", fail)
    code, told = collect(tmp_path / "output", inbox, capsys)
    assert (code, "SMITH" in told["error"]) == (1, False)
    with open_ledger() as ledger:
        assert rows(ledger, "work_item")["kind"].to_list() == ["unmatched_remittance"]


def test_every_batch_is_tried_before_the_first_failure_is_raised() -> None:
    tried: list[int] = []

    def take(batch: int, of: str) -> int:
        tried.append(batch)
        if batch % 2:
            raise StepFailed(of, "ValueError", f"here:{batch}", is_transient=False)
        return batch

    with pytest.raises(StepFailed, match="here:1"):
        in_turn(cast("Task[..., int]", take), [0, 1, 2, 3], "run")
    assert tried == [0, 1, 2, 3]
