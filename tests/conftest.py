"""Fixtures of the whole suite: real servers on loopback, started when first asked for, once a session.

Every test gets its own home folder and none of the environment's credentials. Under pytest-xdist each
worker starts the servers it needs; they choose their own free ports.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.sandbox.servers import (
    PostgresServer,
    S3Server,
    SftpServer,
    postgres_server,
    s3_server,
    sftp_server,
)

SERVERS = {"s3", "s3_bucket", "postgres", "postgres_url", "sftp"}


def pytest_configure() -> None:
    """Keep Prefect quiet and offline, and let no test fail for being slow on a busy machine."""
    hypothesis.settings.register_profile("unhurried", deadline=None)
    hypothesis.settings.load_profile("unhurried")
    os.environ.update(
        DO_NOT_TRACK="1",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY="false",
        PREFECT_FLOWS='{"heartbeat_frequency": null}',  # the end of a heartbeat takes each flow a second
        AWS_EC2_METADATA_DISABLED="true",
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make golden` write the golden month's expected files anew."""
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden month's files anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for a server, so that `-m "not server"` leaves it out."""
    for item in items:
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty RPMCLAIMS_HOME and an environment without our settings or credentials."""
    for name in list(os.environ):
        if name.startswith(("RPMCLAIMS_", "AWS_")) and name != "AWS_EC2_METADATA_DISABLED":
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("RPMCLAIMS_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server and database of this session alone."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3 server over HTTP."""
    with s3_server() as server:
        yield server


@pytest.fixture
def s3_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket of this test alone, with the environment pointing at its server."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3.make_bucket(f"test-{uuid.uuid4().hex[:20]}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database of this test alone."""
    return postgres.new_database()


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A real SFTP server; its root is a folder the test may look into."""
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server
