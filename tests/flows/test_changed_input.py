"""Input that changes after a run: what is not sent follows it, what is sent waits for a person."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from console.cli import run
from tests.flows.golden_source import add_entry, adjudicate, copy_source, drop_entries
from tests.flows.months import Outputs, RunMonth

pytestmark = pytest.mark.flow
DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3
PART_B, COMMERCIAL, BELOW = "G01-exactly-20-minutes", "G09-units-on-one-line", "G03-below-ten-minutes"


class Month:
    """The golden month in the hands of one test: run it, send it, look at it."""

    def __init__(self, run_month: RunMonth, folder: Path, home: Path) -> None:
        self.run_month, self.folder, self.home = run_month, folder, home
        self.source = copy_source(folder)
        self.outbox = folder / "outbox"
        self.left = self.again()

    def again(self) -> Outputs:
        """Run the month-end, again."""
        self.left = self.run_month(self.source)
        return self.left

    def submit(self) -> list[str]:
        """Deliver what waits and return the names that are new in the outbox."""
        before = self.delivered()
        command = ["submit", "--month", "2026-10", "--output", str(self.folder / "output")]
        assert run([*command, "--outbox", str(self.outbox)]) == DONE
        return sorted(self.delivered() - before)

    def delivered(self) -> set[str]:
        """Name what lies in the outbox."""
        return {path.name for path in self.outbox.iterdir()} if self.outbox.exists() else set()

    def claim(self, patient_id: str) -> str:
        """Return the number of a patient's claim."""
        lines = self.left.table("lines").filter(pl.col("patient_id") == patient_id)
        return str(lines["claim_number"].unique().item())

    def units(self, patient_id: str) -> list[tuple[str, str]]:
        """Return the codes and units of a patient's claim."""
        lines = self.left.table("lines").filter(pl.col("patient_id") == patient_id)
        return lines.select("code", "units").rows()

    def text(self, name: str) -> str:
        """Read a delivered file."""
        return (self.outbox / name).read_text()


@pytest.fixture
def month(run_month: RunMonth, tmp_path: Path, home: Path) -> Month:
    """The golden month after its first run."""
    return Month(run_month, tmp_path, home)


def told(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    """Type a decision and read what it says."""
    capsys.readouterr()
    assert run([*command, "--json"]) == DONE
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_before_anything_is_sent_late_entries_simply_count(month: Month) -> None:
    before = month.left.table("lines")
    add_entry(month.source, "L1", BELOW)
    add_entry(month.source, "L2", PART_B)
    number = month.claim(PART_B)
    month.again()
    assert month.units(BELOW) == [("99457", "1")]
    assert month.units(PART_B) == [("99457", "1"), ("99458", "1")]
    assert month.claim(PART_B) == number
    others = ~pl.col("patient_id").is_in([BELOW, PART_B])
    assert month.left.table("lines").filter(others).equals(before.filter(others))
    delivered = "".join(month.text(name) for name in month.submit())
    assert delivered.count(f"CLM*{number}*") == 1
    assert delivered.count("CLM*") == month.left.table("lines")["claim_number"].n_unique()


def test_after_sending_new_patients_are_claimed_and_sent_claims_are_left_alone(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    first = month.submit()
    before = month.left.table("lines")
    add_entry(month.source, "L1", BELOW)
    add_entry(month.source, "L2", PART_B)
    capsys.readouterr()
    assert month.again().code == LOOK
    assert "1 claims already sent have changed" in capsys.readouterr().out
    assert month.units(PART_B) == [("99457", "1")]
    new = pl.col("patient_id") == BELOW
    assert month.left.table("lines").filter(~new).equals(before)
    (late,) = month.submit()
    assert late not in first
    assert month.text(late).count("CLM*") == 1
    assert f"CLM*{month.claim(BELOW)}*" in month.text(late)


def test_part_b_gets_the_facts_of_a_reopening_and_no_file(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    month.submit()
    add_entry(month.source, "L1", PART_B)
    month.again()
    number = month.claim(PART_B)
    assert run(["correct", number]) == WRONG
    assert "its payer has not decided it" in capsys.readouterr().err
    adjudicate(month.home, number)
    facts = told(capsys, "correct", number)
    assert (facts["how"], facts["payer_claim_number"]) == ("reopening", f"ICN{number}")
    assert [(line["code"], line["units"]) for line in facts["was"]] == [("99457", "1")]
    assert [(line["code"], line["units"]) for line in facts["now"]] == [("99457", "1"), ("99458", "1")]
    assert (facts["was_charge"], facts["now_charge"]) == ("60.00", "110.00")
    assert facts["was_evidence_sha256"] != facts["now_evidence_sha256"]
    month.again()
    assert month.submit() == []


def test_a_payer_that_takes_replacements_gets_one_with_its_own_number(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    month.submit()
    number = month.claim(COMMERCIAL)
    add_entry(month.source, "L1", COMMERCIAL)
    month.again()
    adjudicate(month.home, number)
    corrected = told(capsys, "correct", number, "--by", "ann", "--reason", "a late entry")
    assert (corrected["how"], corrected["now_charge"]) == ("replacement", "210.00")
    month.again()
    assert month.claim(COMMERCIAL) == corrected["new_claim_number"] != number
    assert month.units(COMMERCIAL) == [("99457", "1"), ("99458", "3")]
    (file,) = month.submit()
    assert f"CLM*{corrected['new_claim_number']}*210***11:B:7*" in month.text(file)
    assert f"REF*F8*ICN{number}~" in month.text(file)
    assert month.text(file).count("CLM*") == 1
    month.again()
    assert month.submit() == []


def test_a_claim_that_should_not_be_is_voided_at_the_payer_with_what_it_said(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    (sent,) = [name for name in month.submit() if "GOLDCH" in name]
    number = month.claim(COMMERCIAL)
    drop_entries(month.source, COMMERCIAL)
    month.again()
    adjudicate(month.home, number)
    assert run(["correct", number, "--by", "ann", "--reason", "x"]) == WRONG
    assert "take it back with --void" in capsys.readouterr().err
    corrected = told(capsys, "correct", number, "--void", "--by", "ann", "--reason", "entered in error")
    month.again()
    assert month.units(COMMERCIAL) == []
    (file,) = month.submit()
    new = corrected["new_claim_number"]
    assert f"CLM*{new}*160***11:B:8*" in month.text(file)
    assert f"REF*F8*ICN{number}~" in month.text(file)
    assert _services(month.text(file), new) == _services(month.text(sent), number)
    # What is being taken back stays taken back, whatever the input says.
    add_entry(month.source, "L1", COMMERCIAL)
    month.again()
    assert month.units(COMMERCIAL) == []
    assert month.submit() == []


def test_a_rejected_claim_goes_again_as_new(month: Month, capsys: pytest.CaptureFixture[str]) -> None:
    month.submit()
    number = month.claim(PART_B)
    adjudicate(month.home, number, state="rejected")
    resent = told(capsys, "resend", number, "--by", "ann", "--reason", "the payer mended its file")
    month.again()
    (file,) = month.submit()
    assert f"CLM*{resent['new_claim_number']}*60***11:B:1*" in month.text(file)
    assert "REF*F8" not in month.text(file)


def test_a_hold_that_a_person_released_is_let_through_until_it_is_no_longer_needed(
    month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = month.source / "coverage-windows" / "windows.csv"
    whole = windows.read_text()
    windows.write_text(f"{whole}{PART_B},rtm,2026-10-01,2026-10-31\n")
    month.again()
    assert month.units(PART_B) == []
    where = ["--month", "2026-10", "--output", str(month.folder / "output"), "--by", "ann"]
    released = told(capsys, "release", PART_B, *where, "--reason", "Dr. Smith decided for RPM")
    assert released["reasons"] == ["RTM_SAME_PERIOD"]
    month.again()
    assert month.units(PART_B) == [("99457", "1")]
    assert "RTM_SAME_PERIOD" not in month.left.table("holds")["reason"].to_list()
    month.again()
    assert month.units(PART_B) == [("99457", "1")]
    windows.write_text(whole)
    month.again()
    assert _releases(month.home) == [("closed", "ann", "month_end")]


def test_an_entry_that_a_person_released_counts(month: Month, capsys: pytest.CaptureFixture[str]) -> None:
    counted = month.left.table("holds").filter(pl.col("patient_id") == BELOW)["counted_seconds"].item()
    assert counted == "599"
    add_entry(month.source, "L1", BELOW, minutes=250)
    month.again()
    assert "L1" in month.left.table("quarantine")["row_key"].to_list()
    where = ["--month", "2026-10", "--output", str(month.folder / "output"), "--by", "ann"]
    told(capsys, "release", "L1", *where, "--reason", "the note shows the whole visit")
    month.again()
    assert "L1" not in month.left.table("quarantine")["row_key"].to_list()
    assert month.units(BELOW)[0] == ("99457", "1")


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("G22-everything-missing", "is not a person's to release."),
        ("Q1-no-zone", "no_time_zone is not a person's to release."),
        ("nobody", "Nothing of 2026-10 is held or refused under that id"),
    ],
)
def test_what_is_not_a_persons_to_release_is_refused(
    month: Month, capsys: pytest.CaptureFixture[str], subject: str, says: str
) -> None:
    where = ["--month", "2026-10", "--output", str(month.folder / "output"), "--by", "ann", "--reason", "x"]
    assert run(["release", subject, *where]) == WRONG
    assert says in capsys.readouterr().err
    assert _releases(month.home) == []


def _services(text: str, claim_number: str) -> list[str]:
    """Return what a file says was done under a claim: the service lines and their dates."""
    claim = text.split(f"CLM*{claim_number}*")[1].split("~HL*", maxsplit=1)[0].split("~SE*", maxsplit=1)[0]
    services = [part for part in claim.split("~") if part.startswith(("SV1*", "DTP*472"))]
    assert services
    return services


def _releases(home: Path) -> list[tuple[str, str, str | None]]:
    """Return state, who released and who closed, of every release."""
    with sqlite3.connect(home / "ledger.sqlite") as ledger:
        return ledger.execute('select state, released_by, closed_by from "release"').fetchall()
