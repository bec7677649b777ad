"""`rpmclaims submit` and `approve` as people type them: to a folder, a bucket, SFTP, on a second word."""

import json
from pathlib import Path

import pytest

from console.cli import run
from infra.sandbox.servers import SftpServer
from tasks.exchange import mailbox_at
from tests.flows.golden_source import copy_source
from tests.flows.months import Outputs, RunMonth

pytestmark = pytest.mark.flow
DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3


@pytest.fixture
def filed(run_month: RunMonth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """The golden month, run by ann: two checked claim files."""
    monkeypatch.setenv("RPMCLAIMS_OPERATOR", "ann")
    return run_month(copy_source(tmp_path))


def submit(filed: Outputs, *options: str) -> int:
    """Type the command."""
    return run(["submit", "--month", "2026-10", "--output", str(filed.folder.parent), *options])


def claim_files(filed: Outputs) -> dict[str, bytes]:
    """Read the month's claim files."""
    return {path.name: path.read_bytes() for path in (filed.folder / "claims").glob("*.837")}


@pytest.fixture(params=["folder", "s3", "sftp"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty outbox of each kind."""
    if request.param == "folder":
        return str(tmp_path / "outbox")
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('s3_bucket')}/outbox"
    server: SftpServer = request.getfixturevalue("sftp")
    (tmp_path / "password").write_text(server.password)
    monkeypatch.setenv("RPMCLAIMS_SFTP_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("RPMCLAIMS_SFTP_HOST_KEY", server.host_key)
    (server.root / tmp_path.name).mkdir()
    return f"sftp://{server.username}@{server.host}:{server.port}/{tmp_path.name}"


def test_every_checked_file_is_delivered_once(
    filed: Outputs, outbox: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert submit(filed, "--outbox", outbox, "--json") == DONE
    told = json.loads(capsys.readouterr().out)
    assert [file["outcome"] for file in told["deliveries"]] == ["delivered", "delivered"]
    box = mailbox_at(outbox)
    files = claim_files(filed)
    assert {found.key: box.fetch(found.key) for found in box.list(0)} == files
    assert len(files) == 2

    assert submit(filed, "--outbox", outbox, "--json") == DONE
    again = json.loads(capsys.readouterr().out)
    assert (again["deliveries"], again["sent_before"]) == ([], 2)


def test_above_the_threshold_nothing_leaves_without_a_second_persons_word(
    filed: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = tmp_path / "outbox"
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", str(outbox))
    monkeypatch.setenv("RPMCLAIMS_APPROVAL_OVER_MONEY", "1000")
    assert submit(filed) == LOOK
    assert "which is more than RPMCLAIMS_APPROVAL_OVER_MONEY ($1000)" in capsys.readouterr().out
    assert run(["approve", "--month", "2026-10", "--by", "Ann"]) == WRONG
    assert "somebody else must approve" in capsys.readouterr().err
    assert submit(filed) == LOOK
    assert not outbox.exists()

    assert run(["approve", "--month", "2026-10", "--by", "Bea"]) == DONE
    assert "Bea approved 2 files of 2026-10: 18 claims, $1,919.50." in capsys.readouterr().out
    assert submit(filed) == DONE
    assert sorted(path.name for path in outbox.iterdir()) == sorted(claim_files(filed))


def test_a_stranger_in_the_outbox_stops_his_file_and_no_other(
    filed: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    taken, free = sorted(claim_files(filed))
    (outbox / taken).write_bytes(b"somebody else's")
    assert submit(filed, "--outbox", str(outbox)) == WRONG
    assert f"{taken} is there with other content, so nothing was sent." in capsys.readouterr().err
    assert (outbox / taken).read_bytes() == b"somebody else's"
    assert (outbox / free).read_bytes() == claim_files(filed)[free]


def test_an_outbox_that_cannot_be_reached_is_named_and_safe_to_try_again(
    filed: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.submitting import deliver_file

    monkeypatch.setattr(deliver_file, "retries", 0)
    in_the_way = tmp_path / "outbox"
    in_the_way.write_text("a file where the folder should be")
    assert submit(filed, "--outbox", str(in_the_way)) == FAILED
    assert str(in_the_way) in capsys.readouterr().err
    in_the_way.unlink()
    assert submit(filed, "--outbox", str(in_the_way)) == DONE
