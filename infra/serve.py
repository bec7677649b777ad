"""Serve: a Prefect server and a worker on this machine, with the schedules of `prefect.yaml`: `make serve`.

Runs until it is stopped; then both go. The server listens on loopback only, because whoever reaches it can
start runs. In production the parts run apart (`infra/compose.yaml`); what they run is the same.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from console.cli import WRONG, prepare_prefect, say
from schemas.errors import Refused
from schemas.settings import PREFIX, Settings, SettingsError, load_settings

POOL: Final = "rpm-claims"
SCHEDULES: Final = Path(__file__).with_name("prefect.yaml")
HOST: Final = "127.0.0.1"
START_SECONDS: Final = 180  # the first start makes Prefect's database
STOP_SECONDS: Final = 20
# What the schedules are told, and a worker's runs need.
NEEDED: Final = ("source", "output")
HANDED_ON: Final = ("source", "output", "zone", "outbox", "inbox", "ledger_url")


def serve(port: int) -> int:
    """Start the server, make the deployments, and work until stopped; return the exit code.

    Raises:
        Refused: If source or output of the schedules is not set, or the server does not come up.
    """
    settings = load_settings()
    missing = [f"{PREFIX}{name.upper()}" for name in NEEDED if getattr(settings, name) is None]
    if missing:
        raise Refused(f"{' and '.join(missing)} must be set: schedules bill from one, write to the other.")
    api = _prepare(settings, port)
    with ExitStack() as running:
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda number, _: sys.exit(128 + number))
        say(f"Starting Prefect on {api.removesuffix('/api')} …")
        server = running.enter_context(_prefect("server", "start", "--host", HOST, "--port", str(port)))
        _wait_for(api, server)
        _run("work-pool", "create", POOL, "--type", "process", "--overwrite")
        _run("--no-prompt", "deploy", "--all", "--prefect-file", str(SCHEDULES))
        worker = running.enter_context(_prefect("worker", "start", "--pool", POOL, "--name", "serve"))
        say("The schedules are set and a worker waits; Ctrl-C stops both.")
        say(f"How the work stands: PREFECT_API_URL={api} rpmclaims status")
        while server.poll() is None and worker.poll() is None:
            time.sleep(0.5)
        ended = "worker" if server.poll() is None else "server"
        say(f"The {ended} ended by itself; see above, then start `make serve` again.")
        return 1


def _prepare(settings: Settings, port: int) -> str:
    """Put into the environment what server, deployments and worker need, and return the server's address.

    Addresses that were relative would mean something else to a worker.
    """
    api = f"http://{HOST}:{port}/api"
    values = {name: getattr(settings, name) for name in HANDED_ON}
    os.environ.update(
        {
            f"{PREFIX}{name.upper()}": _absolute(str(value))
            for name, value in values.items()
            if value is not None
        },
        RPMCLAIMS_HOME=str(settings.home.resolve()),
        RPMCLAIMS_ZONE=settings.zone,
        PREFECT_API_URL=api,
    )
    prepare_prefect()
    return api


def _absolute(address: str) -> str:
    """Make a folder's path absolute; anything with a scheme is so already."""
    return address if ":" in address else str(Path(address).resolve())


@contextmanager
def _prefect(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Prefect command until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", "prefect", *arguments], start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _run(*arguments: str) -> None:
    """Run a Prefect command to its end, quietly unless it fails."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "prefect", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        say(done.stdout + done.stderr)
        raise Refused(f"`prefect {' '.join(arguments)}` did not succeed; its own words are above.")


def _wait_for(api: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"{api}/health", timeout=2):  # noqa: S310
                return
        except OSError:
            time.sleep(0.2)
    raise Refused(f"The Prefect server did not come up at {api}: is the port taken? Choose another: --port.")


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="A Prefect server and a worker with our schedules.")
    parser.add_argument("--port", type=int, default=4200)
    given = parser.parse_args()
    try:
        raise SystemExit(serve(given.port))
    except (Refused, SettingsError) as refusal:
        say(str(refusal))
        raise SystemExit(WRONG) from None


if __name__ == "__main__":
    main()
