"""Storage behaves alike in a folder and on a real S3 server."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.sandbox.servers import S3Server
from tasks.storage import (
    AccessDenied,
    ChangedSincePinned,
    LocalFolder,
    NotFound,
    Storage,
    StorageError,
    Unreachable,
    is_transient,
    storage_at,
)

RACERS = 8


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store of each kind."""
    if request.param == "folder":
        return storage_at(str(tmp_path / "store"))
    return storage_at(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write("a/b.txt", b"first")
    storage.write("a/b.txt", b"second")
    assert storage.read("a/b.txt") == b"second"


def test_an_empty_object_is_an_object(storage: Storage) -> None:
    storage.write("empty", b"")
    assert storage.read("empty") == b""
    assert storage.exists("empty")


def test_a_listing_is_sorted_and_says_key_uri_size_and_version(storage: Storage) -> None:
    for key in ("b/2", "a/1", "b/1", "c"):
        storage.write(key, key.encode() * 3)
    listed = storage.list("")
    assert [stored.key for stored in listed] == ["a/1", "b/1", "b/2", "c"]
    assert [stored.size for stored in listed] == [9, 9, 9, 3]
    assert [stored.uri for stored in listed] == [f"{storage.uri}/{key}" for key in ("a/1", "b/1", "b/2", "c")]
    assert all(stored.version for stored in listed)


def test_a_prefix_is_the_beginning_of_a_key_and_need_not_be_a_folder(storage: Storage) -> None:
    for key in ("ab/1", "ac/1", "b"):
        storage.write(key, b"x")
    assert [stored.key for stored in storage.list("a")] == ["ab/1", "ac/1"]
    assert [stored.key for stored in storage.list("ab/")] == ["ab/1"]
    assert storage.list("nothing/here/") == []


def test_a_listing_of_more_than_one_page_is_whole(s3_bucket: str) -> None:
    storage = storage_at(f"s3://{s3_bucket}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: storage.write(f"{number:04d}", b"x"), range(1005)))
    assert [stored.key for stored in storage.list()] == [f"{number:04d}" for number in range(1005)]


def test_an_object_that_is_not_there_is_not_found(storage: Storage) -> None:
    assert not storage.exists("nowhere")
    with pytest.raises(NotFound, match="nowhere"):
        storage.read("nowhere")


def test_a_deleted_object_is_gone_and_deleting_twice_is_no_error(storage: Storage) -> None:
    storage.write("x", b"x")
    storage.delete("x")
    storage.delete("x")
    assert not storage.exists("x")


def test_a_fetched_file_has_the_bytes_and_the_hash(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(9 * 1024 * 1024)
    storage.write("big", data)
    assert storage.fetch("big", tmp_path / "copy") == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "copy").read_bytes() == data


def test_a_file_larger_than_one_part_is_written_whole(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(20 * 1024 * 1024 + 1)
    (tmp_path / "large").write_bytes(data)
    storage.write_file("large", tmp_path / "large")
    assert storage.read("large") == data


def test_create_does_not_replace(storage: Storage) -> None:
    assert storage.create("claims/1.837", b"first")
    assert not storage.create("claims/1.837", b"second")
    assert storage.read("claims/1.837") == b"first"


def test_of_many_writers_at_once_exactly_one_creates(storage: Storage) -> None:
    start = threading.Barrier(RACERS)

    def race(number: int) -> bool:
        start.wait()
        try:
            return storage.create("claims/1.837", f"writer {number}".encode())
        except Unreachable:  # The server may answer 409 while another write is under way.
            return storage.create("claims/1.837", f"writer {number}".encode())

    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(race, range(RACERS)))
    assert sum(won) == 1
    assert storage.read("claims/1.837") == f"writer {won.index(True)}".encode()


def test_an_object_replaced_after_it_was_listed_is_not_read(storage: Storage, tmp_path: Path) -> None:
    storage.write("x.csv", b"old")
    (listed,) = storage.list("")
    assert storage.read("x.csv", listed.version) == b"old"
    storage.write("x.csv", b"new")
    with pytest.raises(ChangedSincePinned, match=r"x\.csv.*Run again"):
        storage.read("x.csv", listed.version)
    with pytest.raises(ChangedSincePinned):
        storage.fetch("x.csv", tmp_path / "copy", listed.version)


def test_a_file_that_grows_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    storage = storage_at(str(tmp_path))
    storage.write("x", b"a" * 10)
    (listed,) = storage.list("")
    reading = storage.stream("x", listed.version)
    next(reading)
    with (tmp_path / "x").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ChangedSincePinned):
        list(reading)


def test_a_folder_never_shows_a_draft(tmp_path: Path) -> None:
    storage = storage_at(str(tmp_path))
    storage.write("a/b", b"x")
    (tmp_path / "a" / ".b.0123").write_bytes(b"half")
    assert [stored.key for stored in storage.list()] == ["a/b"]
    assert [path.name for path in (tmp_path / "a").glob("[!.]*")] == ["b"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    storage = LocalFolder(str(tmp_path))
    storage.write("x", b"old")
    with pytest.raises(StorageError, match="could not be used"):
        storage.write("x/y", b"a file is no folder")
    with pytest.raises(FileNotFoundError):
        storage.write_file("x", tmp_path / "nowhere")
    assert storage.read("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]  # noqa: PTH208


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd"])
def test_a_key_cannot_lead_out_of_its_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(StorageError, match="leads out"):
        storage_at(str(tmp_path / "store")).write(key, b"x")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "https://bucket/x", "file://host/x"])
def test_a_uri_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(StorageError, match="s3://bucket/prefix"):
        storage_at(uri)


def test_a_folder_may_be_written_as_a_file_uri(tmp_path: Path) -> None:
    storage_at(f"file://{tmp_path}").write("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_a_bucket_that_is_not_there_is_not_found(s3_bucket: str) -> None:
    with pytest.raises(NotFound, match="no-such-bucket"):
        storage_at(f"s3://no-such-bucket-{s3_bucket}").list()


def test_wrong_credentials_are_denied_and_not_tried_again(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage = storage_at(f"s3://{s3_bucket}")
    with pytest.raises(AccessDenied, match="credentials") as denied:
        storage.write("x", b"x")
    assert not is_transient(denied.value)
    with pytest.raises(AccessDenied):
        storage.create("x", b"x")


def test_missing_credentials_are_denied(
    s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(AccessDenied, match="NoCredentialsError"):
        storage_at(f"s3://{s3_bucket}").read("x")


@pytest.fixture
def failing_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[BaseHTTPRequestHandler]]:
    """An endpoint that answers every request with the status and error code of its `answer`."""

    class Failing(BaseHTTPRequestHandler):
        answer = (503, "SlowDown")

        def _fail(self) -> None:
            status, code = self.answer
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = _fail  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield Failing
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (502, "Odd"), (429, "Odd"), (400, "RequestTimeout"),
     (409, "ConditionalRequestConflict")],
)  # fmt: skip
def test_a_busy_or_failing_server_is_worth_another_try(
    failing_endpoint: type[BaseHTTPRequestHandler], status: int, code: str
) -> None:
    failing_endpoint.answer = (status, code)  # type: ignore[attr-defined]
    with pytest.raises(Unreachable) as failure:
        storage_at("s3://bucket").create("x", b"x")
    assert is_transient(failure.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AccessDenied),
        (404, "NoSuchKey", NotFound),
        (400, "InvalidRequest", StorageError),
    ],
)
def test_an_answer_that_stays_the_same_is_not_tried_again(
    failing_endpoint: type[BaseHTTPRequestHandler], status: int, code: str, kind: type[StorageError]
) -> None:
    failing_endpoint.answer = (status, code)  # type: ignore[attr-defined]
    with pytest.raises(kind) as failure:
        storage_at("s3://bucket").read("x")
    assert not is_transient(failure.value)


def test_a_server_that_is_not_there_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unreachable, match="AWS_ENDPOINT_URL") as failure:
        storage_at("s3://bucket").list()
    assert is_transient(failure.value)


def test_other_failures_are_not_worth_another_try() -> None:
    assert not is_transient(ValueError("no"))
    assert not is_transient(NotFound("no"))
