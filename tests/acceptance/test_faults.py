"""The world outside fails: the run goes on or stops with a sentence, and the next one makes it good.

The servers are real; the line to them goes through a proxy that fails as each test asks.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.sandbox.servers import PostgresServer, S3Server, SftpServer
from schemas.deliveries import Receipt
from tasks import storage_s3
from tasks.exchange import mailbox_at
from tasks.storage import StorageError, Unreachable, storage_at
from tests.acceptance.afterwards import files_in, rows
from tests.acceptance.conftest import NewPractice, Story
from tests.acceptance.fault_proxy import Fault, FaultProxy, fault_proxy, http_error
from tests.acceptance.lone_runs import MONTH, NOW, Practice

ENDLESS = 10_000
BUSY = http_error(503, "SlowDown")
BROKEN = http_error(500, "InternalError")


@pytest.fixture
def s3_line(s3: S3Server) -> Iterator[FaultProxy]:
    """A line to the S3 server."""
    with fault_proxy(int(s3.endpoint_url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def s3_practice(
    s3: S3Server, s3_bucket: str, s3_line: FaultProxy, tiny_month: Path, tmp_path: Path
) -> Practice:
    """A practice whose source and output lie in a bucket at the end of that line."""
    source = storage_at(f"s3://{s3_bucket}/source")
    for name, data in files_in(tiny_month).items():
        source.write(name, data)
    return Practice(
        tmp_path / "practice",
        source.uri,
        f"sqlite:///{tmp_path}/ledger.sqlite",
        {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_line.port}"},
        output=f"s3://{s3_bucket}/output",
    )


def files_kept(practice: Practice) -> dict[str, bytes]:
    """Read the month's files from the bucket, over a line of our own; the report names the source."""
    kept = storage_at(f"{practice.output}/{MONTH}")
    return {found.key: kept.read(found.key) for found in kept.list() if found.key != "report.html"}


def files_expected(story: Story) -> dict[str, bytes]:
    """What an undisturbed month leaves, wherever it lies."""
    outputs = story.after("month_end", "sqlite").outputs
    return {name: data for name, data in outputs.items() if name != "report.html"}


def test_a_busy_failing_and_breaking_store_delays_a_month_and_changes_nothing(
    s3_practice: Practice, s3_line: FaultProxy, story: Story
) -> None:
    s3_line.faults = [
        Fault(b"GET /", answer=BUSY, times=2),
        Fault(b"PUT /", answer=BROKEN),
        Fault(b"/source/patients/"),
        Fault(b"ISA*00*", is_heard=True),
        Fault(b"/lines.csv", answer=BUSY),
        Fault(b"/report.html", answer=http_error(429, "TooManyRequests")),
    ]
    ending = s3_practice.run("month_end")
    assert ending.is_done, ending
    assert [fault.happened for fault in s3_line.faults] == [fault.times for fault in s3_line.faults]
    assert files_kept(s3_practice) == files_expected(story)


LASTING_FAULTS = {
    "failing for long": (Fault(b"list-type=2", answer=BROKEN, times=ENDLESS), "Unreachable", "try again"),
    "clock is off": (
        Fault(b"/source/charges/", answer=http_error(403, "RequestTimeTooSkewed"), times=ENDLESS),
        "StorageError",
        "clock of this machine",
    ),
    "expired token": (
        Fault(b"/source/payers/", answer=http_error(403, "ExpiredToken"), times=ENDLESS),
        "AccessDenied",
        "credentials",
    ),
    "truncated body": (
        Fault(b"/source/patients/", is_heard=True, passes=600),
        "Unreachable",
        "source/patients/",
    ),
    "busy for long": (
        Fault(b"/output/2026-10/claims/", answer=BUSY, times=ENDLESS),
        "Unreachable",
        "try again",
    ),
    "cut for long": (Fault(b"/output/2026-10/lines.csv", times=ENDLESS), "Unreachable", "lines.csv"),
}


def test_a_store_that_does_not_recover_stops_the_month_with_a_sentence_and_a_later_run_makes_it_good(
    s3_practice: Practice, s3_line: FaultProxy, story: Story, subtests: pytest.Subtests
) -> None:
    for name, (fault, kind, says) in LASTING_FAULTS.items():
        with subtests.test(name):
            s3_line.faults = [fault]
            ending = s3_practice.run("month_end", AWS_MAX_ATTEMPTS="2")
            assert (ending.exit_code, ending.kind) == (1, kind)
            assert says in ending.sentence
            assert fault.happened
    s3_line.faults = []
    assert s3_practice.run("month_end").is_done
    assert files_kept(s3_practice) == files_expected(story)


def test_an_object_replaced_after_pinning_stops_the_month_and_the_next_run_reads_the_new_one(
    s3_practice: Practice, s3_line: FaultProxy, story: Story
) -> None:
    source = storage_at(s3_practice.source)
    key = f"time-entries/{MONTH}/part-1.csv"
    whole = source.read(key)
    source.write(key, whole[: whole.rindex(b"\n", 0, -1) + 1])
    s3_line.faults = [Fault(f"/source/{key}".encode(), meanwhile=lambda: source.write(key, whole))]
    ending = s3_practice.run("month_end")
    assert ending.kind == "ChangedSincePinned"
    assert key in ending.sentence
    assert not files_kept(s3_practice)
    assert s3_practice.run("month_end").is_done
    assert files_kept(s3_practice) == files_expected(story)


@pytest.fixture
def store_here(s3_bucket: str, s3_line: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket at the end of the line, from this process, with little patience."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_line.port}")
    monkeypatch.setattr(storage_s3, "READ_SECONDS", 1)
    return f"s3://{s3_bucket}"


def test_an_answer_that_never_comes_is_asked_for_again(store_here: str, s3_line: FaultProxy) -> None:
    storage = storage_at(store_here)
    storage.write("x", b"1")
    silence = Fault(b"GET /", is_silent=True)
    s3_line.faults = [silence]
    assert storage.read("x") == b"1"
    assert silence.happened == 1


def test_answers_that_never_come_end_in_a_sentence(
    store_here: str, s3_line: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_line.faults = [Fault(b"PUT /", is_silent=True, times=ENDLESS)]
    with pytest.raises(Unreachable, match="ReadTimeoutError"):
        storage_at(store_here).write("x", b"1")


def deliver(outbox: str, data: bytes) -> Receipt:
    """Deliver to a mailbox that is nowhere near a ledger."""
    receipt = mailbox_at(outbox).deliver("1.837", data, lambda draft: None)
    assert receipt is not None
    return receipt


def test_a_delivery_whose_receipt_got_lost_is_found_delivered(store_here: str, s3_line: FaultProxy) -> None:
    lost = Fault(b"<CompleteMultipartUpload", is_heard=True)
    s3_line.faults = [lost]
    receipt = deliver(f"{store_here}/outbox", b"ISA*00*")
    assert lost.happened == 1
    assert receipt.was_there
    assert receipt.sha256 == hashlib.sha256(b"ISA*00*").hexdigest()
    assert storage_at(f"{store_here}/outbox").read("1.837") == b"ISA*00*"


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_bucket_whose_line_breaks_at_the_naming_is_asked_what_became_of_the_file(
    eve_of: NewPractice, story: Story, s3: S3Server, s3_bucket: str, s3_line: FaultProxy, is_heard: bool
) -> None:
    outbox = storage_at(f"s3://{s3_bucket}/outbox")
    environment = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_line.port}", "AWS_MAX_ATTEMPTS": "1"}
    practice = replace(eve_of("submission"), outbox=outbox.uri, environment=environment)
    s3_line.faults = [Fault(b"<CompleteMultipartUpload", is_heard=is_heard)]
    ending = practice.run("submission")
    assert (ending.kind, s3_line.faults[0].happened) == ("Unreachable", 1)
    # The clearinghouse is quick.
    taken = [found.key for found in outbox.list()]
    assert len(taken) == is_heard
    for name in taken:
        outbox.delete(name)
    assert practice.run("submission").is_done
    delivered = {found.key: outbox.read(found.key) for found in outbox.list()}
    undisturbed = story.after("submission", "sqlite").delivered
    assert delivered == {name: data for name, data in undisturbed.items() if name not in taken}
    doubtful = [
        file["file_name"]
        for file in rows(practice.ledger_url, "interchange")
        if "missing_since" in file["receipt"]
    ]
    assert doubtful == taken


@pytest.fixture
def ledger_line(postgres: PostgresServer) -> Iterator[FaultProxy]:
    """A line to the PostgreSQL server."""
    with fault_proxy(postgres.port) as proxy:
        yield proxy


def gone_for_good(line: FaultProxy) -> list[Fault]:
    """The server goes as the claims are written, and stays away."""

    def go() -> None:
        line.is_down = True
        line.faults.insert(0, Fault(b"", times=1))

    return [Fault(b'COPY "claim" ', meanwhile=go)]


def answer_to_commit_lost(line: FaultProxy) -> list[Fault]:
    """The claims are committed, and nobody hears of it."""
    lost = Fault(b"COMMIT", is_heard=True)
    return [Fault(b'COPY "claim_event" ', meanwhile=lambda: line.faults.append(lost))]


def cut_before_commit(line: FaultProxy) -> list[Fault]:
    """The connection breaks with everything written and nothing committed."""
    return [Fault(b'COPY "claim_event" ', meanwhile=lambda: line.faults.append(Fault(b"COMMIT")))]


def cut_at_the_numbers(line: FaultProxy) -> list[Fault]:
    """The connection breaks as control numbers are taken."""
    return [Fault(b"INSERT INTO control_number")]


def cut_as_the_file_is_recorded(line: FaultProxy) -> list[Fault]:
    """The connection breaks after a file was written and before the ledger knows."""
    return [Fault(b"UPDATE interchange SET")]


def test_a_database_that_goes_mid_way_stops_the_month_and_a_later_run_makes_it_good(
    eve_of: NewPractice,
    story: Story,
    postgres: PostgresServer,
    ledger_line: FaultProxy,
    subtests: pytest.Subtests,
) -> None:
    undisturbed = story.after("month_end", "postgresql")
    practice = eve_of("month_end", "postgresql")
    far = replace(
        practice, ledger_url=practice.ledger_url.replace(f":{postgres.port}/", f":{ledger_line.port}/")
    )
    befallings = (
        *(gone_for_good, cut_before_commit, answer_to_commit_lost),
        *(cut_at_the_numbers, cut_as_the_file_is_recorded),
    )
    for befall in befallings:
        with subtests.test(befall.__name__):
            ledger_line.faults = befall(ledger_line)
            ending = far.run("month_end")
            assert ending.kind == "LedgerError", ending
            assert ending.sentence.startswith("the ledger's database")
            assert "postgres:" not in ending.sentence
            assert all(fault.happened for fault in ledger_line.faults)
            assert practice.outputs().items() <= undisturbed.outputs.items()
        ledger_line.faults, ledger_line.is_down = [], False
    assert far.run("month_end").is_done
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()


def test_a_disk_that_is_full_stops_the_month_and_a_later_run_makes_it_good(
    eve_of: NewPractice, story: Story, subtests: pytest.Subtests
) -> None:
    undisturbed = story.after("month_end", "sqlite")
    practice = eve_of("month_end")
    # Too little for a copy of a source file, for a stage, for the ledger's tables, for the ledger's log.
    for bytes_per_file in (1_000, 8_000, 20_000, 100_000, 250_000):
        with subtests.test(bytes_per_file=bytes_per_file):
            ending = practice.run("month_end", bytes_per_file=bytes_per_file)
            assert ending.kind in ("StorageError", "LedgerError"), ending
            assert practice.outputs().items() <= undisturbed.outputs.items()
    assert practice.run("month_end").is_done
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger


def test_a_clock_that_is_set_back_changes_nothing_that_was_made(eve_of: NewPractice, story: Story) -> None:
    undisturbed = story.after("month_end", "sqlite")
    practice = eve_of("submission")
    yesterday = datetime.fromisoformat(NOW) - timedelta(days=1)
    assert practice.run("month_end", RPMCLAIMS_NOW=yesterday.isoformat()).is_done
    assert practice.outputs() == undisturbed.outputs
    assert practice.run("submission", RPMCLAIMS_NOW=yesterday.isoformat()).is_done
    practice.assert_sound()


def test_a_clock_that_lags_after_a_crash_gives_numbers_no_second_use(eve_of: NewPractice) -> None:
    practice = eve_of("month_end")
    assert practice.run("month_end", "after allocate-files").is_killed
    earlier = datetime(2026, 11, 2, tzinfo=UTC)
    assert practice.run("month_end", RPMCLAIMS_NOW=earlier.isoformat()).is_done
    practice.assert_sound()


@pytest.fixture
def sftp_line(sftp: SftpServer) -> Iterator[FaultProxy]:
    """A line to the SFTP server."""
    with fault_proxy(sftp.port, sftp.host) as proxy:
        yield proxy


@pytest.fixture
def sftp_outbox(sftp: SftpServer, sftp_line: FaultProxy, tmp_path: Path) -> tuple[str, Path, dict[str, str]]:
    """An empty folder at the end of that line: its address, the folder itself, how to log in."""
    secret = tmp_path / "password"
    secret.write_text(sftp.password)
    folder = sftp.root / tmp_path.name
    folder.mkdir()
    settings = {"RPMCLAIMS_SFTP_HOST_KEY": sftp.host_key, "RPMCLAIMS_SFTP_PASSWORD_FILE": str(secret)}
    return f"sftp://{sftp.username}@127.0.0.1:{sftp_line.port}/{folder.name}", folder, settings


def test_an_upload_that_breaks_off_leaves_no_file_and_the_next_one_is_whole(
    sftp_outbox: tuple[str, Path, dict[str, str]], sftp_line: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, folder, settings = sftp_outbox
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    data = bytes(range(256)) * 4_000
    sftp_line.faults = [Fault(after_bytes=300_000)]
    with pytest.raises(Unreachable, match=r"1\.837.*broke off"):
        deliver(uri, data)
    assert not files_in(folder)
    assert [found.key for found in mailbox_at(uri).list(quiet_seconds=0)] == []
    receipt = deliver(uri, data)
    assert not receipt.was_there
    assert [path.name for path in folder.iterdir()] == ["1.837"]
    assert files_in(folder) == {"1.837": data}


def test_a_submission_whose_server_hangs_up_sends_each_file_once_when_it_is_back(
    sftp_outbox: tuple[str, Path, dict[str, str]], sftp_line: FaultProxy, eve_of: NewPractice, story: Story
) -> None:
    uri, folder, settings = sftp_outbox
    practice = replace(eve_of("submission"), outbox=uri, environment=settings)
    sftp_line.is_down = True
    ending = practice.run("submission")
    assert ending.kind == "Unreachable"
    assert "try again" in ending.sentence
    sftp_line.is_down = False
    assert practice.run("submission").is_done
    assert practice.run("submission").is_done
    assert files_in(folder) == story.after("submission", "sqlite").delivered


def test_a_storage_sentence_is_made_for_people(s3_practice: Practice, s3_line: FaultProxy) -> None:
    s3_line.is_down = True
    ending = s3_practice.run("month_end")
    assert ending.kind == "Unreachable"
    assert "AWS_ENDPOINT_URL" in ending.sentence
    assert issubclass(Unreachable, StorageError)
