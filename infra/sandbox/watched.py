"""Watched processes: servers that end, with their data, when the process that started them does.

`infra.sandbox.servers` uses it for SeaweedFS and PostgreSQL. It knows nothing of either: ports, a
command, a data folder, the signal that stops it politely.
"""

import os
import random
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, TypeVar

LOOPBACK = "127.0.0.1"

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_ATTEMPTS = 3  # Another process may take a free port before our server does.
GRPC_OFFSET = 10_000  # SeaweedFS also listens ten thousand above each of its ports.

# A shell keeps watch: it ends the server and removes its data when the pipe from us closes, which happens
# however we end, also by SIGKILL. It ends by itself when the server does.
_WATCH = """
signal=$1; trash=$2; shift 2
exec 3<&0
"$@" 3<&- & server=$!
{ read -r _ <&3; kill -s "$signal" "$server"; } 2>/dev/null &
wait "$server"; eval "rm -rf $trash"
"""

_Server = TypeVar("_Server")


class ServerStartError(RuntimeError):
    """A server did not come up; the message ends with the last lines of its log."""


class Owner(TypedDict, total=False):
    """The user a process runs as, in the words of `subprocess.Popen`."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Watched:
    """A server process under watch."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait until the server answers.

        Raises:
            ServerStartError: If it ends, or does not answer in thirty seconds.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                said = self.log.read()[-2000:].decode(errors="replace")
                raise ServerStartError(f"The server did not start.\n{said}")
            time.sleep(0.05)


@contextmanager
def watched(
    command: list[str], trash: list[Path], stop_signal: str, owner: Owner | None = None
) -> Iterator[Watched]:
    """Run a command until the block ends; afterwards remove the files and folders it leaves."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            ["/bin/sh", "-c", _WATCH, "watch", stop_signal, shlex.join(map(str, trash)), *command],
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd="/", start_new_session=True,
            **(owner or {}),
        )  # fmt: skip
        try:
            yield Watched(process, log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the watch, and with it the server: politely, then not."""
    try:
        process.communicate(b"\n", _STOP_SECONDS)  # A line, for a forked child may keep the pipe open.
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def started(start: Callable[[ExitStack], _Server]) -> Iterator[_Server]:
    """Start a server on free ports, again on others if somebody took them; stop it when the block ends."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        with ExitStack() as running:
            try:
                server = start(running)
            except ServerStartError:
                if attempts_left:
                    continue
                raise
            yield server
            return


def free_ports(count: int) -> list[int]:
    """Pick ports below 22000 that are free together with their gRPC twins ten thousand above."""
    candidates = random.sample(range(10_000, 22_000), 400)  # Chance only keeps parallel runs apart.
    free = [port for port in candidates if _is_free(port) and _is_free(port + GRPC_OFFSET)]
    chosen = [port for port in free if port + GRPC_OFFSET not in free][:count]
    if len(chosen) < count:
        raise ServerStartError(f"Fewer than {count} ports from 10000 to 22000 are free: stop other servers.")
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
