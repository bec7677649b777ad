"""The steps of the collection: what is taken, when, and what is kept of it."""

import hashlib
import threading
from pathlib import Path

import polars as pl
import pytest
from polars.exceptions import PanicException

from schemas.answers import Answers, CollectedFile, CollectionRun, CollectionSummary
from schemas.errors import Refused, StepFailed
from tasks import collecting, translate
from tasks.filing import open_ledger
from tasks.storage import NotFound
from tests.tasks.made_answers import NUMBERS, ack, era, paid_claim, rows, send, states
from tests.tasks.made_claims import OCTOBER


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CollectionRun:
    """A collection from a folder, over a ledger with four claims sent."""
    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0")
    (tmp_path / "inbox").mkdir()
    opened = collecting.open_collection.fn(str(tmp_path / "output"), str(tmp_path / "inbox"))
    with open_ledger() as ledger:
        send(ledger)
    return opened


def collect(run: CollectionRun) -> CollectionSummary:
    """Run every step once."""
    batches = collecting.batches(collecting.list_inbox.fn(run))
    files = [file for batch in batches for file in collecting.collect_files.fn(batch, run)]
    return collecting.settle_up.fn(run, files)


def put(run: CollectionRun, name: str, data: bytes) -> Path:
    """Leave a file in the inbox."""
    path = Path(run.inbox) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_is_kept_byte_for_byte_under_its_hash_and_taken_once(run: CollectionRun) -> None:
    data = era(paid_claim(0))
    put(run, "one.835", data)
    first = collect(run)
    assert [file.state for file in first.files] == ["posted"]
    assert not first.needs_people
    sha256 = hashlib.sha256(data).hexdigest()
    assert (Path(run.folder) / sha256).read_bytes() == data
    assert collect(run).files == []


def test_the_same_file_under_another_name_changes_nothing(run: CollectionRun) -> None:
    put(run, "one.835", era(paid_claim(0)))
    collect(run)
    put(run, "two.835", era(paid_claim(0)))
    assert [file.state for file in collect(run).files] == ["repeat"]
    with open_ledger() as ledger:
        assert rows(ledger, "inbound_file").height == 1


def test_a_file_that_still_grows_is_left_for_the_next_run(
    run: CollectionRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0.5")
    whole = era(paid_claim(0))
    path = put(run, "slow.835", whole[:100])
    writer = threading.Timer(0.15, path.write_bytes, [whole])
    writer.start()
    assert collecting.list_inbox.fn(run) == []
    writer.join()
    assert [file.state for file in collect(run).files] == ["posted"]


def test_files_of_the_bank_and_half_written_ones_are_not_answers(run: CollectionRun) -> None:
    put(run, "bank/deposits.csv", b"a,b")
    put(run, "one.835.part", b"ISA")
    assert collecting.list_inbox.fn(run) == []


def test_a_bad_file_stops_nobody_else(run: CollectionRun) -> None:
    for name, data in (("a.835", b"\xff\0nonsense"), ("b.835", era(paid_claim(0))), ("c.835", b"")):
        put(run, name, data)
    summary = collect(run)
    assert [file.state for file in summary.files] == ["unreadable", "posted", "unreadable"]
    assert summary.needs_people


def test_a_file_that_answers_nothing_is_called_what_it_is(run: CollectionRun) -> None:
    isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'A':15}*ZZ*{'B':15}*261103*0930*^*00501*000000001*0*T*:~"
    put(run, "a.837", f"{isa}GS*HC*A*B*20261103*0930*1*X*005010X222A1~ST*837*1~SE*2*1~".encode())
    put(run, "b.edi", f"{isa}ST*270*1~ST*271*2~".encode())
    put(run, "c.edi", f"{isa}ST*JOHN SMITH*1~".encode())
    assert [(file.kind, file.state) for file in collect(run).files] == [
        ("837", "unreadable"),
        ("other", "unreadable"),
        ("other", "unreadable"),
    ]


def test_a_file_that_fails_stops_nobody_else_and_is_taken_once_it_can_be(
    run: CollectionRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("a.835", "b.835", "c.835"), 1):
        put(run, name, era(paid_claim(number), number=number, trace=f"EFT{number}"))
    arrivals = collecting.list_inbox.fn(run)
    read = translate.read_answers

    def fail(data: bytes, name: str) -> Answers:
        if name == "b.835":
            raise PanicException("SMITH JOHN")
        return read(data, name)

    with monkeypatch.context() as patch:
        patch.setattr(translate, "read_answers", fail)
        with pytest.raises(StepFailed) as failure:
            collecting.collect_files.fn(arrivals, run)
    assert "SMITH" not in str(failure.value)
    with open_ledger() as ledger:
        assert sorted(rows(ledger, "inbound_file")["name"]) == ["a.835", "c.835"]
    again = collecting.collect_files.fn(arrivals, run)
    # What the first try brought in is told as what it was.
    assert [(file.name, file.state, file.paid) for file in again] == [
        (name, "posted", "62.72") for name in ("a.835", "b.835", "c.835")
    ]
    with open_ledger() as ledger:
        assert rows(ledger, "remittance").height == 3


def test_a_file_taken_away_meanwhile_stops_nobody_else(run: CollectionRun) -> None:
    gone = put(run, "a.835", era(paid_claim(0)))
    put(run, "b.835", era(paid_claim(1), number=2, trace="EFT2"))
    arrivals = collecting.list_inbox.fn(run)
    gone.unlink()
    with pytest.raises(NotFound):
        collecting.collect_files.fn(arrivals, run)
    with open_ledger() as ledger:
        assert rows(ledger, "inbound_file")["name"].to_list() == ["b.835"]


def test_a_claim_that_was_sent_is_charged_before_anybody_answers(run: CollectionRun) -> None:
    collect(run)
    with open_ledger() as ledger:
        charges = rows(ledger, "posting")
    assert (charges["account"].unique().to_list(), charges.height) == (["charge"], 8)
    collect(run)
    with open_ledger() as ledger:
        assert rows(ledger, "posting").equals(charges)


def test_a_claim_that_is_taken_back_is_not_owed_any_more(run: CollectionRun) -> None:
    put(run, "one.999", ack("R", counts="1*1*0"))
    collect(run)
    with open_ledger() as ledger:
        assert states(ledger) == ["rejected"] * 4
        ledger.withdraw_missing(
            pl.Series("claim_number", NUMBERS[1:4]), month=OCTOBER, source="s3://practice/intake", at=run.at
        )
    collect(run)
    with open_ledger() as ledger:
        assert states(ledger)[0] == "void"
        charges = rows(ledger, "posting").group_by("claim_id").agg(pl.col("amount").sum()).sort("claim_id")
    assert [str(amount) for amount in charges["amount"]] == ["0.00", "110.50", "110.50", "110.50"]


def test_a_sent_file_that_is_gone_ties_its_answers_as_a_whole(run: CollectionRun) -> None:
    put(run, "one.999", ack("A"))
    assert [file.state for file in collect(run).files] == ["posted"]
    with open_ledger() as ledger:
        assert states(ledger) == ["received"] * 4


def test_an_inbox_on_s3_is_read_the_same(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.storage import storage_at

    monkeypatch.setenv("RPMCLAIMS_QUIET_SECONDS", "0")
    base = f"s3://{s3_bucket}"
    run = collecting.open_collection.fn(f"{base}/output", f"{base}/inbox")
    storage_at(run.inbox).write("one.835", era(paid_claim(0)))
    summary = collect(run)
    assert [(file.state, file.claims_matched) for file in summary.files] == [("posted", 0)]
    assert summary.unmatched_claims == 1
    assert summary.unmatched_paid == "62.72"
    assert storage_at(run.folder).exists(summary.files[0].sha256)


def test_an_inbox_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="RPMCLAIMS_INBOX"):
        collecting.open_collection.fn(str(tmp_path), None)


def test_many_files_are_shared_out_over_few_batches() -> None:
    from schemas.answers import Arrival

    arrivals = [Arrival(key=f"{n:04}", uri="u", version="v", size=1) for n in range(1_000)]
    shared = collecting.batches(arrivals)
    assert len(shared) <= collecting.BATCHES_AT_MOST
    assert [one for batch in shared for one in batch] == arrivals
    assert collecting.batches(arrivals[:44]) == [arrivals[:44]]
    assert collecting.batches([]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "quarantined"},
        {"state": "unreadable"},
        {"rejected": 1},
        {"answers_unmatched": 1},
        {"lines_denied": 1},
        {"claims": 2, "claims_matched": 1},
        {"is_unreconciled": True},
        {"refused": 1},
    ],
)
def test_people_are_called_for_whatever_waits_for_them(changes: dict[str, object]) -> None:
    quiet = CollectedFile(name="a", sha256="b", kind="835", state="posted")
    assert not quiet.needs_people
    assert quiet.model_copy(update=changes).needs_people
