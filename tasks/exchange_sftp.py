"""Exchange over SFTP: a mailbox in a folder of a clearinghouse's server. Only `tasks.exchange` opens it.

The server must show the one host key that `RPMCLAIMS_SFTP_HOST_KEY` names: it is never learned from the
server. The password or the private key is read from a file, so that neither stands in an address or an
environment. A draft is a file under a name nobody takes; a rename that replaces nothing delivers it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex
from stat import S_ISREG
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

import asyncssh

from schemas.errors import Refused
from schemas.settings import Settings, load_settings
from tasks.exchange import Mailbox, is_finished
from tasks.storage import AccessDenied, NotFound, StorageError, StoredObject, Unreachable

CONNECT_SECONDS: Final = 20
# An answer that takes longer than this will not come; a file of the largest size takes seconds.
VERB_SECONDS: Final = 300

Answer = TypeVar("Answer")


class SftpMailbox(Mailbox):
    """A folder on an SFTP server; every verb is one connection."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        settings = load_settings()
        self._folder, self._login = _login(self.uri, settings)

    def fetch(self, name: str) -> bytes:
        """Read a file whole."""

        async def read(client: asyncssh.SFTPClient) -> bytes:
            async with client.open(self._path(name), "rb") as file:
                return cast(bytes, await file.read())

        return self._run(name, read)

    def withdraw(self, draft: str, name: str) -> bool:
        """Take a draft away for good."""

        async def remove(client: asyncssh.SFTPClient) -> bool:
            try:
                await client.remove(self._path(draft))
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return False
            return True

        return self._run(name, remove)

    def _upload(self, name: str, data: bytes) -> str:
        draft = f".{name}.{token_hex(4)}.part"

        async def upload(client: asyncssh.SFTPClient) -> None:
            async with client.open(self._path(draft), "wb") as file:
                await file.write(data)
            if await client.getsize(self._path(draft)) != len(data):
                raise asyncssh.SFTPConnectionLost("the upload was cut short")

        self._run(name, upload)
        return draft

    def _give_name(self, draft: str, name: str) -> bool:
        async def rename(client: asyncssh.SFTPClient) -> bool:
            is_new = True
            try:
                await client.rename(self._path(draft), self._path(name))
            except asyncssh.SFTPError:
                # Servers say in many ways that a name is taken; that it is can be seen.
                if await client.exists(self._path(draft)) and not await client.exists(self._path(name)):
                    raise
                is_new = False
            # What a sender who was killed, or a racer, left behind is of no use any more.
            with suppress(asyncssh.SFTPNoSuchFile):
                for left in await client.glob(self._path(f".{name}.*.part")):
                    await client.remove(left)
            return is_new

        return self._run(name, rename)

    def _look(self) -> list[StoredObject]:
        async def look(client: asyncssh.SFTPClient) -> list[StoredObject]:
            found = [
                StoredObject(
                    key=str(entry.filename),
                    uri=f"{self.uri}/{entry.filename!s}",
                    version=f"{entry.attrs.mtime}-{entry.attrs.size}",
                    size=entry.attrs.size or 0,
                )
                for entry in await client.readdir(self._folder)
                if is_finished(str(entry.filename)) and S_ISREG(entry.attrs.permissions or 0)
            ]
            return sorted(found, key=lambda stored: stored.key)

        return self._run("", look)

    def _is_atomic(self) -> bool:
        return False

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _run(self, name: str, verb: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        """Connect, do one thing, and say in our words what went wrong."""

        async def connected() -> Answer:
            async with (
                asyncio.timeout(VERB_SECONDS),
                asyncssh.connect(**self._login) as connection,
                connection.start_sftp_client() as client,
            ):
                return await verb(client)

        try:
            return asyncio.run(connected())
        except (OSError, asyncssh.Error) as error:
            raise _ours(f"{self.uri}/{name}".rstrip("/"), error) from None


def _login(uri: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Take an address apart and gather what proves who we are and who the server is."""
    parts = urlsplit(uri)
    if not parts.hostname or not parts.username or parts.password is not None:
        raise Refused(
            "An SFTP mailbox is written sftp://user@host:port/folder, with the password in a file that "
            "RPMCLAIMS_SFTP_PASSWORD_FILE names."
        )
    if settings.sftp_host_key is None:
        raise Refused(
            "RPMCLAIMS_SFTP_HOST_KEY is not set: set it to the server's public key as the clearinghouse "
            "published it (ssh-ed25519 AAAA…), so that nobody else can take its place."
        )
    if settings.sftp_password_file is None and settings.sftp_key_file is None:
        raise Refused(
            "Set RPMCLAIMS_SFTP_PASSWORD_FILE or RPMCLAIMS_SFTP_KEY_FILE, to log in to the mailbox."
        )
    port = parts.port or 22
    try:
        trusted = asyncssh.import_known_hosts(f"[{parts.hostname}]:{port} {settings.sftp_host_key}\n")
        asyncssh.import_public_key(settings.sftp_host_key)
        keys = [asyncssh.read_private_key(settings.sftp_key_file)] if settings.sftp_key_file else None
        secret = settings.sftp_password_file
        password = secret.read_text().rstrip("\r\n") if secret else None
    except OSError as error:
        raise Refused(
            f"{error.filename} cannot be read, and it is needed to log in to the mailbox."
        ) from None
    except (ValueError, asyncssh.KeyImportError):
        raise Refused(
            "RPMCLAIMS_SFTP_HOST_KEY or RPMCLAIMS_SFTP_KEY_FILE is not a key: the first is a public key, "
            "ssh-ed25519 AAAA…, the second names an OpenSSH private key without a passphrase."
        ) from None
    login = {
        "host": parts.hostname,
        "port": port,
        "username": unquote(parts.username),
        "known_hosts": trusted,
        "client_keys": keys,
        "password": password,
        # Nothing of the user's own SSH set-up decides who we are or whom we trust.
        "config": None,
        "agent_path": None,
        "connect_timeout": CONNECT_SECONDS,
        "login_timeout": CONNECT_SECONDS,
    }
    return unquote(parts.path).rstrip("/") or ".", login


def _ours(uri: str, error: Exception) -> StorageError:
    """Say what failed, where, and what to do about it."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return AccessDenied(
            f"The server of {uri} does not show the key in RPMCLAIMS_SFTP_HOST_KEY; nothing was sent. "
            "Ask the clearinghouse whether its key changed before you change the setting."
        )
    if isinstance(error, asyncssh.PermissionDenied | asyncssh.SFTPPermissionDenied):
        return AccessDenied(
            f"The server does not let us in at {uri}; check the user, RPMCLAIMS_SFTP_PASSWORD_FILE and "
            "RPMCLAIMS_SFTP_KEY_FILE, and the rights of the folder."
        )
    if isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
        return NotFound(f"There is nothing at {uri}; check the folder in the address.")
    lost = asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection
    if isinstance(error, asyncssh.SFTPError) and not isinstance(error, lost):
        return StorageError(f"The server refused {uri} ({type(error).__name__}).")
    return Unreachable(
        f"The server of {uri} did not answer or broke off ({type(error).__name__}); "
        "try again, and check the address."
    )
