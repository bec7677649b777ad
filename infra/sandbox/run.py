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
from datetime import date
from pathlib import Path

from infra.sandbox.servers import s3_server

MONTH = date(2026, 10, 1)
BUCKET = "rpm-claims"
FAILURES = (1, 2)


def demo(patients: int, seed: int, home: Path) -> int:
    """Run the month and return the exit code of the first command that failed, else 0."""
    started = time.monotonic()
    say("Starting an S3 server on this machine …")
    with s3_server() as server:
        bucket = f"s3://{server.make_bucket(BUCKET)}"
        os.environ.update(server.env, RPMCLAIMS_HOME=str(home))
        # Imported late: Prefect reads its environment when it is first imported.
        from console.cli import run
        from infra.sandbox.month import make_month
        from infra.sandbox.payer import answer

        source, output, outbox, inbox = (f"{bucket}/{name}" for name in ("in", "out", "outbox", "inbox"))
        say(f"Making a sample month of {patients} patients in {source} …")
        make_month(MONTH, patients=patients, seed=seed, out=source)
        month = f"{MONTH:%Y-%m}"

        def payer() -> None:
            say("\nThe clearinghouse and the payers answer by their own book …")
            answer(outbox, inbox, seed=seed, pay_after_days=0)

        for step in (
            ["month-end", "--month", month, "--source", source, "--output", output],
            ["submit", "--month", month, "--output", output, "--outbox", outbox],
            payer,
            ["collect", "--output", output, "--inbox", inbox],
            ["bank", "--inbox", inbox],
            ["reconcile", "--month", month],
            ["worklist"],
        ):
            if callable(step):
                step()
                continue
            say(f"\n$ rpmclaims {' '.join(step)}")
            code = run(step)
            if code in FAILURES:
                return code
        keep(output, home / "output")
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything it made is in {home}/output;")
    say(f"the month at a glance: {home}/output/{MONTH:%Y-%m}/report.html")
    return 0


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
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rpm-claims-demo-"))
    raise SystemExit(demo(given.patients, given.seed, folder))


if __name__ == "__main__":
    main()
