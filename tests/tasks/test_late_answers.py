"""Late answers: a TA1, 999 or 277CA of a file nobody knew is heard when the file is."""

from pathlib import Path

import pytest

from schemas.answers import CollectionRun, CollectionSummary
from tasks import collecting
from tasks.filing import open_ledger
from tasks.ledger import Ledger
from tests.tasks.made_answers import (
    NUMBERS,
    ack,
    era,
    interchange,
    paid_claim,
    rows,
    send,
    states,
    status,
    ta1,
)

REFUSED_BATCH = status(source="AY", totals=["STC*A3:24:41*20261104*U"])
STRANGERS = ta1("R", "001", answered=77)


@pytest.fixture
def run(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CollectionRun:
    """A collection from a folder, over an empty ledger."""
    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0")
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    (tmp_path / "inbox").mkdir()
    return collecting.open_collection.fn(str(tmp_path / "output"), str(tmp_path / "inbox"))


def collect(run: CollectionRun, **files: bytes) -> CollectionSummary:
    """Leave files in the inbox and collect what is new there."""
    for name, data in files.items():
        (Path(run.inbox) / name).write_bytes(data)
    found = collecting.list_inbox.fn(run)
    return collecting.settle_up.fn(run, collecting.collect_files.fn(found, run))


def sent_file(ledger: Ledger, path: Path) -> None:
    """Send four claims in a file that says where they stand."""
    send(ledger)
    claims = "".join(f"HL*{n}**20*1~CLM*{number}*110.5~" for n, number in enumerate(NUMBERS[:4], 1))
    head = "ST*837*0001*005010X222A1~BHT*0019*00*RPM202610-0000000010001*20261103*0930*CH~"
    isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'CLINIC':15}*ZZ*{'MAC':15}*261103*0930*^*00501*000000001*0*T*:~"
    path.write_text(f"{isa}GS*HC*CLINIC*MAC*20261103*0930*1*X*005010X222A1~{head}{claims}")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (ta1("R", "001"), "rejected"),
        (ta1("A"), "received"),
        (ack("A"), "received"),
        (ack("R", counts="1*1*0"), "rejected"),
    ],
)
def test_an_answer_that_came_before_its_file_moves_the_claims_when_it_is_recorded(
    run: CollectionRun, file: bytes, expected: str
) -> None:
    early = collect(run, early=file, strange=STRANGERS)
    assert (early.unmatched_answers, early.matched_later) == (2, 0)
    with open_ledger() as ledger:
        send(ledger)
    late = collect(run)
    assert (late.unmatched_answers, late.matched_later) == (1, 1)
    with open_ledger() as ledger:
        assert states(ledger) == [expected] * 4
        answers = rows(ledger, "answer").sort("id")
    assert answers["interchange_id"].to_list() == [1, None]
    assert collect(run).matched_later == 0


def test_a_refused_batch_is_heard_late_too_and_once(run: CollectionRun, tmp_path: Path) -> None:
    faults = interchange(
        ["AK1*HC*1", "AK2*837*0001", "IK3*SV1*7**8", "IK4*1*235*7*9", "IK5*E*5", "AK9*E*1*1*1"], kind="999"
    )
    assert collect(run, early=REFUSED_BATCH, faults=faults).unmatched_answers == 4
    with open_ledger() as ledger:
        sent_file(ledger, tmp_path / "one.837")
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE interchange SET uri = '{tmp_path / 'one.837'}'")
    assert collect(run).matched_later == 4
    with open_ledger() as ledger:
        assert states(ledger) == ["rejected"] * 4
        fault = rows(ledger, "answer").filter(kind="999", level="claim").row(0, named=True)
        events = rows(ledger, "claim_event")
    assert fault["claim_number"] == NUMBERS[1]
    assert fault["claim_id"] is not None
    assert collect(run).matched_later == 0
    with open_ledger() as ledger:
        assert rows(ledger, "claim_event").equals(events)


def test_a_277ca_that_is_heard_late_tells_the_payers_numbers(run: CollectionRun) -> None:
    numbered = status((NUMBERS[0], "A2:20", "ICN0000"), totals=["STC*A1:19*20261104*WQ*110.5"])
    early = collect(run, early=numbered, paid=era(paid_claim(0, number=NUMBERS[0][:16])))
    assert early.unmatched_claims == 1
    with open_ledger() as ledger:
        send(ledger)
    assert collect(run).unmatched_claims == 0
    with open_ledger() as ledger:
        assert rows(ledger, "remittance_claim")["matched_by"].to_list() == ["payer_number"]


def test_a_kept_file_that_is_gone_stays_unmatched(run: CollectionRun) -> None:
    collect(run, early=ta1("A"))
    for path in Path(run.folder).iterdir():
        path.unlink()
    with open_ledger() as ledger:
        send(ledger)
    assert collect(run).unmatched_answers == 1
