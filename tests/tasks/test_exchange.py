"""Mailboxes: the same verbs over a folder, a bucket and SFTP, each against the real thing."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from infra.sandbox.servers import SftpServer, sftp_server
from schemas.deliveries import Receipt
from schemas.errors import Refused
from tasks.exchange import Mailbox, mailbox_at
from tasks.storage import AccessDenied, NotFound, StorageError, Unreachable, storage_at

NAME = "CLINIC_MAC_T_000000001.837"
Put = Callable[[str, bytes], None]


@pytest.fixture
def sftp_login(sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SftpServer:
    """The SFTP server, and an environment that may log in with the password."""
    secret = tmp_path / "password"
    secret.write_text(f"{sftp.password}\n")
    monkeypatch.setenv("RPMCLAIMS_SFTP_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("RPMCLAIMS_SFTP_HOST_KEY", sftp.host_key)
    return sftp


def deliver(mailbox: Mailbox, name: str, data: bytes) -> Receipt:
    """Deliver to a mailbox that is nowhere near a ledger."""
    receipt = mailbox.deliver(name, data, lambda draft: None)
    assert receipt is not None
    return receipt


def sftp_uri(server: SftpServer, folder: str) -> str:
    """Address a folder of the server, which is made."""
    (server.root / folder).mkdir(parents=True)
    return f"sftp://{server.username}@{server.host}:{server.port}/{folder}"


@pytest.fixture(params=["folder", "s3", "sftp"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Mailbox, Put]:
    """An empty mailbox of each kind, and what the other side uses to put something there."""
    if request.param == "folder":
        uri = str(tmp_path / "box")
    elif request.param == "s3":
        uri = f"s3://{request.getfixturevalue('s3_bucket')}/box"
    else:
        server: SftpServer = request.getfixturevalue("sftp_login")
        folder = tmp_path.name
        return mailbox_at(sftp_uri(server, folder)), storage_at(str(server.root / folder)).write
    return mailbox_at(uri), storage_at(uri).write


def test_what_is_delivered_lies_there_whole_with_its_receipt(box: tuple[Mailbox, Put]) -> None:
    mailbox, _ = box
    data = bytes(range(256)) * 4000
    receipt = deliver(mailbox, NAME, data)
    assert (receipt.uri, receipt.size, receipt.was_there) == (f"{mailbox.uri}/{NAME}", len(data), False)
    assert receipt.sha256 == hashlib.sha256(data).hexdigest()
    assert mailbox.fetch(NAME) == data
    assert [found.key for found in mailbox.list(0)] == [NAME]


def test_delivering_again_finds_the_first_delivery(box: tuple[Mailbox, Put]) -> None:
    mailbox, _ = box
    deliver(mailbox, NAME, b"claims")
    assert deliver(mailbox, NAME, b"claims").was_there
    assert [found.size for found in mailbox.list(0)] == [6]


def test_another_file_of_the_same_name_is_never_replaced(box: tuple[Mailbox, Put]) -> None:
    mailbox, put = box
    put(NAME, b"someone else's")
    with pytest.raises(Refused, match="is there with other content, so nothing was sent"):
        deliver(mailbox, NAME, b"ours")
    assert mailbox.fetch(NAME) == b"someone else's"


def test_a_draft_can_be_withdrawn_until_it_has_its_name(box: tuple[Mailbox, Put]) -> None:
    mailbox, _ = box
    drafts: list[str] = []

    def note_and_die(draft: str) -> None:
        drafts.append(draft)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        mailbox.deliver(NAME, b"claims", note_and_die)
    assert mailbox.list(0) == []
    assert mailbox.find(NAME, b"claims") is None
    assert [mailbox.withdraw(drafts[0], NAME), mailbox.withdraw(drafts[0], NAME)] == [True, False]
    # Whoever slept meanwhile finds that somebody took the draft away, and delivers nothing.
    sleeper = mailbox.deliver(NAME, b"claims", lambda draft: mailbox.withdraw(draft, NAME))
    assert (sleeper, mailbox.list(0)) == (None, [])

    assert mailbox.deliver(NAME, b"claims", drafts.append) is not None
    assert not mailbox.withdraw(drafts[1], NAME)
    found = mailbox.find(NAME, b"claims")
    assert found is not None
    assert found.was_there


def test_of_four_racers_one_delivers_and_the_others_find_it(box: tuple[Mailbox, Put]) -> None:
    mailbox, _ = box
    with ThreadPoolExecutor(4) as racers:
        receipts = list(racers.map(lambda _: deliver(mailbox, NAME, b"claims"), range(4)))
    first = [receipt for receipt in receipts if not receipt.was_there]
    # S3 looks for the key as it completes an upload; SeaweedFS looks a moment earlier, so that two racers may
    # both think they were first. Senders of one ledger never race: they take turns.
    assert len(first) == 1 or (first and mailbox.uri.startswith("s3://"))
    assert mailbox.fetch(NAME) == b"claims"
    assert [found.key for found in mailbox.list(0)] == [NAME]


def test_what_a_killed_sender_left_is_swept_and_a_write_under_way_is_not(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    whole, half, fresh = (
        box / name for name in (f".{NAME}.a1.part", f"..{NAME}.a2.part.b", f"..{NAME}.a3.part.c")
    )
    for path in (whole, half, fresh):
        path.write_bytes(b"claims")
    os.utime(half, (0, 0))
    deliver(mailbox_at(str(box)), NAME, b"claims")
    assert sorted(path.name for path in box.iterdir()) == [fresh.name, NAME]


def test_parts_hidden_files_and_folders_below_are_not_for_taking(box: tuple[Mailbox, Put]) -> None:
    mailbox, put = box
    for name in ("a.835", "b.835.part", "c.835.filepart", "archive/d.835", "e.TMP"):
        put(name, b"x")
    assert [found.key for found in mailbox.list(0)] == ["a.835"]


def test_a_file_that_is_not_there_is_said_to_be_missing(box: tuple[Mailbox, Put]) -> None:
    with pytest.raises(NotFound):
        box[0].fetch("nothing.835")


@pytest.mark.parametrize("kind", ["folder", "sftp"])
def test_a_file_that_still_grows_is_left_alone_until_it_is_whole(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "folder":
        folder, uri = tmp_path / "inbox", str(tmp_path / "inbox")
        folder.mkdir()
    else:
        server: SftpServer = request.getfixturevalue("sftp_login")
        uri = sftp_uri(server, tmp_path.name)
        folder = server.root / tmp_path.name
    mailbox = mailbox_at(uri)
    (folder / "whole.835").write_bytes(b"whole")
    done = threading.Event()

    def grow() -> None:
        with (folder / "growing.835").open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"x")
                time.sleep(0.01)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert [found.key for found in mailbox.list(0.3)] == ["whole.835"]
    finally:
        done.set()
        writer.join()
    assert [found.key for found in mailbox.list(0.1)] == ["growing.835", "whole.835"]


def test_the_sftp_mailbox_takes_a_key_in_place_of_a_password(
    sftp_login: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text(sftp_login.client_key)
    monkeypatch.delenv("RPMCLAIMS_SFTP_PASSWORD_FILE")
    monkeypatch.setenv("RPMCLAIMS_SFTP_KEY_FILE", str(key))
    mailbox = mailbox_at(sftp_uri(sftp_login, tmp_path.name))
    assert not deliver(mailbox, NAME, b"claims").was_there


def test_a_server_that_shows_another_key_gets_nothing(sftp_login: SftpServer, tmp_path: Path) -> None:
    with sftp_server(tmp_path / "impostor") as impostor:
        mailbox = mailbox_at(f"sftp://{impostor.username}@{impostor.host}:{impostor.port}/")
        with pytest.raises(AccessDenied, match="does not show the key in RPMCLAIMS_SFTP_HOST_KEY"):
            deliver(mailbox, NAME, b"claims")
    assert not list((tmp_path / "impostor").iterdir())


def test_a_wrong_password_is_said_to_be_one(sftp_login: SftpServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(AccessDenied, match="does not let us in"):
        mailbox_at(sftp_uri(sftp_login, tmp_path.name)).list(0)


def test_a_server_that_is_down_may_be_tried_again(sftp_login: SftpServer, tmp_path: Path) -> None:
    with sftp_server(tmp_path / "gone") as gone:
        uri = f"sftp://{gone.username}@{gone.host}:{gone.port}/"
    with pytest.raises(Unreachable, match="did not answer"):
        mailbox_at(uri).list(0)


class _Dropping(asyncssh.SFTPServer):
    """A server that hangs up in the middle of the first upload."""

    drops = 1

    def write(self, file_obj: object, offset: int, data: bytes) -> Any:
        """Take it, and hang up once if it is far into a file."""
        if type(self).drops and offset + len(data) > 100_000:
            type(self).drops -= 1
            self.channel.get_connection().abort()
        return super().write(file_obj, offset, data)


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SftpServer]:
    """An SFTP server that drops the first large upload half way."""
    monkeypatch.setattr(asyncssh, "SFTPServer", _Dropping)
    _Dropping.drops = 1
    with sftp_server(tmp_path / "dropping") as server:
        (tmp_path / "secret").write_text(server.password)
        monkeypatch.setenv("RPMCLAIMS_SFTP_PASSWORD_FILE", str(tmp_path / "secret"))
        monkeypatch.setenv("RPMCLAIMS_SFTP_HOST_KEY", server.host_key)
        yield server


def test_an_upload_that_breaks_off_leaves_no_file_and_succeeds_when_repeated(dropping: SftpServer) -> None:
    mailbox = mailbox_at(f"sftp://{dropping.username}@{dropping.host}:{dropping.port}/")
    data = b"x" * 1_000_000
    with pytest.raises(Unreachable):
        deliver(mailbox, NAME, data)
    assert not (dropping.root / NAME).exists()
    assert not deliver(mailbox, NAME, data).was_there
    assert mailbox.fetch(NAME) == data
    assert [path.name for path in dropping.root.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("uri", "without", "says"),
    [
        ("sftp://user:secret@host/box", "", "with the password in a file"),
        ("sftp://host/box", "", "sftp://user@host:port/folder"),
        ("sftp://user@host/box", "HOST_KEY", "RPMCLAIMS_SFTP_HOST_KEY is not set"),
        ("sftp://user@host/box", "PASSWORD_FILE", "Set RPMCLAIMS_SFTP_PASSWORD_FILE or"),
    ],
)
def test_what_sftp_needs_is_asked_for_in_one_sentence(
    sftp_login: SftpServer, monkeypatch: pytest.MonkeyPatch, uri: str, without: str, says: str
) -> None:
    monkeypatch.delenv(f"RPMCLAIMS_SFTP_{without}", raising=False)
    with pytest.raises(Refused, match=says) as refused:
        mailbox_at(uri)
    assert "secret" not in str(refused.value)


def test_a_host_key_that_is_none_is_refused(sftp_login: SftpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPMCLAIMS_SFTP_HOST_KEY", "SHA256:abcdef")
    with pytest.raises(Refused, match="is not a key"):
        mailbox_at("sftp://user@host/box")


def test_an_address_of_no_known_kind_is_refused() -> None:
    with pytest.raises(StorageError, match="neither a folder nor"):
        mailbox_at("ftp://host/box")
