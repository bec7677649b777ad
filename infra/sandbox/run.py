"""Run: a whole month on this machine, from nothing: `make demo`.

Starts a real S3 server, makes a sample month, and runs the very commands a person would type, one after
the other, saying each. Everything it leaves behind lies in one folder, so that the files can be looked
at; the servers go with it.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from threading import Thread

from infra.sandbox.servers import s3_server

MONTH = date(2026, 10, 1)
BUCKET = "rpm-claims"
DONE = (0, 3)  # 3: done, and people must look, as they must in any real month


def demo(patients: int, seed: int, folder: Path) -> int:
    """Run the month and return the exit code of the first command that failed, else 0."""
    started = time.monotonic()
    alone(folder)
    say("Starting Prefect and an S3 server on this machine …")
    prefect = start_prefect()
    with s3_server() as server:
        bucket = f"s3://{server.make_bucket(BUCKET)}"
        os.environ.update(server.env)
        # Imported late: Prefect reads its environment when it is first imported.
        from console.cli import run
        from infra.sandbox.month import make_month
        from infra.sandbox.payer import answer

        source, output, outbox, inbox = (f"{bucket}/{name}" for name in ("in", "out", "outbox", "inbox"))
        month = f"{MONTH:%Y-%m}"
        say(f"Making a sample month of {patients} patients in {source} …")
        make_month(MONTH, patients=patients, seed=seed, out=source)
        prefect.join()
        out_of_the_door = (
            ["month-end", "--month", month, "--source", source, "--output", output],
            ["submit", "--month", month, "--output", output, "--outbox", outbox],
        )
        what_came_back = (
            ["collect", "--output", output, "--inbox", inbox],
            ["bank", "--inbox", inbox],
            ["reconcile", "--month", month, "--workbook", str(folder / "reconciliation.xlsx")],
            ["worklist"],
        )
        code = commands(run, out_of_the_door)
        if code in DONE:
            say("\nThe clearinghouse and the payers answer by their own book …")
            answer(outbox, inbox, seed=seed, pay_after_days=0)
            code = commands(run, what_came_back)
        keep(output, folder / "output")
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything it made is in {folder}:")
    say(f"  the month at a glance   {folder}/output/{month}/report.html")
    say(f"  the money, as a workbook {folder}/reconciliation.xlsx")
    return 0 if code in DONE else code


def alone(folder: Path) -> None:
    """Point the environment at the demo's own folder; a production setting must not reach it."""
    for name in [name for name in os.environ if name.startswith(("RPMCLAIMS_", "PREFECT_", "AWS_"))]:
        del os.environ[name]
    os.environ.update(RPMCLAIMS_HOME=str(folder / "home"))


def start_prefect() -> Thread:
    """Start Prefect's own server beside everything else: in a new home that takes longest.

    Should it fail, the first command tries again and says why.
    """
    from console.cli import prepare_prefect

    prepare_prefect()
    from prefect.server.api.server import SubprocessASGIServer

    starting = Thread(target=SubprocessASGIServer().start, daemon=True)
    starting.start()
    return starting


def commands(run: Callable[[list[str]], int], each: Iterable[list[str]]) -> int:
    """Run commands as a person would type them, until one fails; return the last exit code."""
    code = 0
    for command in each:
        say(f"\n$ rpmclaims {' '.join(command)}")
        code = run(command)
        if code not in DONE:
            break
    return code


def keep(output: str, folder: Path) -> None:
    """Bring the month's files out of the bucket before its server goes."""
    from tasks.storage import storage_at

    stored = storage_at(output)
    for item in stored.list():
        path = folder / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        stored.fetch(item.key, path)


def say(sentence: str) -> None:
    """Tell a person what happens now."""
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Read the arguments and run the demo."""
    parser = argparse.ArgumentParser(description="A whole month on this machine, from nothing.")
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to leave the files; a new one unless given")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rpm-claims-demo-"))
    raise SystemExit(demo(given.patients, given.seed, folder))


if __name__ == "__main__":
    main()
