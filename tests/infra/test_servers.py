"""The sandbox's servers are real ones, keep strangers out, and leave nothing behind."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from infra.sandbox.servers import PostgresServer, S3Server, SftpServer, s3_server, sftp_server

STRANGER = """
import time
from infra.sandbox.servers import postgres_server, s3_server
with s3_server() as s3, postgres_server() as postgres:
    print(s3.endpoint_url.rpartition(":")[2], postgres.port, flush=True)
    time.sleep(60)
"""


def test_what_is_put_into_the_store_can_be_got_and_listed(s3: S3Server, s3_bucket: str) -> None:
    client = boto3.client("s3")  # from the standard environment alone
    client.put_object(Bucket=s3_bucket, Key="a/b.txt", Body=b"hello")
    assert client.get_object(Bucket=s3_bucket, Key="a/b.txt")["Body"].read() == b"hello"
    assert [found["Key"] for found in client.list_objects_v2(Bucket=s3_bucket)["Contents"]] == ["a/b.txt"]
    client.close()


def test_of_eight_racers_one_creates_the_object(s3: S3Server, s3_bucket: str) -> None:
    client = s3.client()

    def create(racer: int) -> int:
        try:
            client.put_object(Bucket=s3_bucket, Key="once", Body=b"%d" % racer, IfNoneMatch="*")
        except ClientError as refusal:
            return int(refusal.response["ResponseMetadata"]["HTTPStatusCode"])
        return 200

    with ThreadPoolExecutor(8) as racers:
        answers = list(racers.map(create, range(8)))
    assert answers.count(200) == 1
    assert set(answers) <= {200, 409, 412}
    client.close()


def test_a_versioned_bucket_keeps_the_first_version(s3: S3Server) -> None:
    bucket, client = s3.make_bucket("versioned", versioned=True), s3.client()
    first = client.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    client.put_object(Bucket=bucket, Key="k", Body=b"2")
    assert client.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    client.close()


def test_the_store_refuses_a_wrong_secret(s3: S3Server, s3_bucket: str) -> None:
    stranger = boto3.client(
        "s3", endpoint_url=s3.endpoint_url, aws_access_key_id=s3.access_key, aws_secret_access_key="wrong"
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=s3_bucket)
    stranger.close()


def test_each_database_is_empty_and_apart_from_the_others(postgres: PostgresServer) -> None:
    urls = [postgres.new_database().replace("+psycopg", "") for _ in range(2)]
    with psycopg.connect(urls[0]) as one, psycopg.connect(urls[1]) as other:
        one.execute("CREATE TABLE t (n int)")
        one.commit()
        assert other.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_postgres_refuses_a_wrong_password(postgres: PostgresServer) -> None:
    wrong = postgres.url.replace("+psycopg", "").replace(postgres.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


async def _upload(server: SftpServer, content: bytes, **credentials: Any) -> None:
    trusted = asyncssh.import_known_hosts(server.known_hosts)
    login = {"username": server.username, "known_hosts": trusted, "client_keys": None, "agent_path": None}
    async with (
        asyncssh.connect(server.host, server.port, **(login | credentials)) as connection,
        connection.start_sftp_client() as client,
    ):
        async with client.open("/upload.part", "wb") as file:
            await file.write(content)
        await client.posix_rename("/upload.part", "/upload.837")


def test_the_drop_takes_a_file_by_password(sftp: SftpServer) -> None:
    asyncio.run(_upload(sftp, b"by password", password=sftp.password))
    assert (sftp.root / "upload.837").read_bytes() == b"by password"


def test_the_drop_takes_a_file_by_key(sftp: SftpServer) -> None:
    asyncio.run(_upload(sftp, b"by key", client_keys=[asyncssh.import_private_key(sftp.client_key)]))
    assert (sftp.root / "upload.837").read_bytes() == b"by key"


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"password": "", "username": "root"}])
def test_the_drop_refuses_strangers(sftp: SftpServer, wrong: dict[str, str]) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(_upload(sftp, b"x", **wrong))


def test_another_drop_is_not_mistaken_for_the_trusted_one(sftp: SftpServer, tmp_path: Path) -> None:
    with sftp_server(tmp_path / "root") as impostor:
        trusted = replace(sftp, port=impostor.port)
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            asyncio.run(_upload(trusted, b"x", password=impostor.password))


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder that other users may write to, as the PostgreSQL that root starts must."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def test_servers_of_someone_who_was_killed_end_too_and_take_their_data_along(scratch: Path) -> None:
    """SIGKILL leaves the starter no chance to tidy up."""
    environment = {**os.environ, "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", STRANGER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as stranger:
        assert stranger.stdout is not None
        ports = [int(port) for port in stranger.stdout.readline().split()]
        assert [_is_listening(port) for port in ports] == [True, True]
        assert len(list(scratch.glob("sandbox-*"))) == 2
        stranger.kill()
    deadline = time.monotonic() + 15
    while any(_is_listening(port) for port in ports) or list(scratch.glob("sandbox-*")):
        assert time.monotonic() < deadline, "a server outlived the process that started it"
        time.sleep(0.1)


def test_an_error_inside_the_block_stops_the_server(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(KeyError), s3_server() as server:
        raise KeyError
    assert not _is_listening(int(server.endpoint_url.rpartition(":")[2]))
    assert not list(scratch.iterdir())


def test_nothing_listens_beyond_loopback(s3: S3Server, postgres: PostgresServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("192.0.2.1", 9))  # Sends nothing: it only asks which address we would send from.
        except OSError:
            pytest.skip("this machine has no address but loopback")
        beyond = route.getsockname()[0]
    for port in (postgres.port, int(s3.endpoint_url.rpartition(":")[2])):
        assert not _is_listening(port, beyond)


def _is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
