"""SFTP: a clearinghouse's drop as a server in a thread of this process, over a local folder.

`infra.sandbox.servers` offers it beside the servers that are processes of their own.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from infra.sandbox.watched import LOOPBACK

_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class SftpServer:
    """An SFTP server whose root is a local folder; a client may use the password or the key."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    client_key: str = field(repr=False)  # an OpenSSH private key without a passphrase
    host_key: str  # an OpenSSH public key
    root: Path

    @property
    def known_hosts(self) -> str:
        """The line of a known_hosts file that trusts this server."""
        return f"[{self.host}]:{self.port} {self.host_key}\n"


@dataclass(frozen=True)
class _Running:
    """How to reach the server, and how to ask it to stop."""

    port: int
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


@contextmanager
def sftp_server(root: Path, *, username: str = "clearinghouse") -> Iterator[SftpServer]:
    """Serve a folder over SFTP until the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(18)
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    ready: Future[_Running] = Future()

    class Door(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return secrets.compare_digest(f"{username}\0{password}", expected)

    expected = f"{username}\0{password}"
    thread = threading.Thread(
        target=_run, args=(Door, host_key, client_key, root, ready), name="sandbox-sftp", daemon=True
    )
    thread.start()
    running = ready.result(_PATIENCE_SECONDS)
    try:
        yield SftpServer(
            host=LOOPBACK,
            port=running.port,
            username=username,
            password=password,
            client_key=client_key.export_private_key().decode(),
            host_key=host_key.export_public_key().decode().strip(),
            root=root,
        )
    finally:
        running.loop.call_soon_threadsafe(running.stop.set)
        thread.join(_PATIENCE_SECONDS)


def _run(
    door: type[asyncssh.SSHServer],
    host_key: asyncssh.SSHKey,
    client_key: asyncssh.SSHKey,
    root: Path,
    ready: Future[_Running],
) -> None:
    """Serve until asked to stop; whatever prevents it goes to the thread that waits."""

    async def serve() -> None:
        stop = asyncio.Event()
        async with await asyncssh.create_server(
            door,
            LOOPBACK,
            0,
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(client_key.export_public_key().decode()),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(root)),
        ) as listener:
            ready.set_result(_Running(listener.get_port(), asyncio.get_running_loop(), stop))
            await stop.wait()

    try:
        asyncio.run(serve())
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)
