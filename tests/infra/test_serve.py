"""`make serve`: a real Prefect server and worker on this machine, and what its schedules do by themselves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.month import make_month
from infra.sandbox.watched import free_ports

ROOT = Path(__file__).parents[2]
PATIENCE = 240  # seconds for what takes twenty on an idle machine

# Asks the server in a process of its own: this one has imported Prefect with other settings.
ASK = """
import json, sys
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    if sys.argv[1] == "deployments":
        flows = {flow.id: flow.name for flow in client.read_flows()}
        print(json.dumps({
            f"{flows[one.flow_id]}/{one.name}": {
                "entrypoint": one.entrypoint, "parameters": one.parameters,
                "limit": one.global_concurrency_limit.limit,
                "collision": one.concurrency_options.collision_strategy.value,
                "schedules": [[plan.schedule.cron, plan.schedule.timezone] for plan in one.schedules],
            } for one in client.read_deployments()
        }))
    else:
        found = client.read_deployment_by_name(sys.argv[2])
        run = client.create_flow_run_from_deployment(found.id)
        while not (run := client.read_flow_run(run.id)).state.is_final():
            __import__("time").sleep(0.5)
        print(json.dumps({"name": run.name, "state": run.state_name, "message": run.state.message}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A practice with a small month, and nothing of this process's own settings."""
    folder = tmp_path_factory.mktemp("serve")
    make_month(date(2026, 10, 1), patients=12, seed=4, out=folder / "source")
    (folder / "inbox").mkdir()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "RPMCLAIMS_", "AWS_"))
    }
    (port,) = free_ports(1)
    return inherited | {
        "RPMCLAIMS_HOME": str(folder / "home"),
        "RPMCLAIMS_SOURCE": str(folder / "source"),
        "RPMCLAIMS_OUTPUT": str(folder / "output"),
        "RPMCLAIMS_INBOX": str(folder / "inbox"),
        "RPMCLAIMS_ZONE": "America/Chicago",
        "RPMCLAIMS_NOW": "2026-11-23T12:00:00+00:00",
        "RPMCLAIMS_LOG_FORMAT": "json",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(folder / "home" / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture(scope="module")
def said(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `make serve` wrote so far; it runs until the module's tests are done, and then goes quietly."""
    log = tmp_path_factory.mktemp("log") / "serve.log"
    port = environment["PREFECT_API_URL"].split(":")[2].split("/")[0]
    without = {name: value for name, value in environment.items() if name != "PREFECT_API_URL"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.serve", "--port", port],
            cwd=ROOT,
            env=without,
            stdout=file,
            stderr=file,
        )
        try:
            wait_until(lambda: process.poll() is not None or "a worker waits" in log.read_text(), log)
            assert process.poll() is None, log.read_text()
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until(is_so: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def ask(environment: dict[str, str], *question: str) -> Any:
    asked = subprocess.run(
        [sys.executable, "-c", ASK, *question],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


pytestmark = [pytest.mark.flow, pytest.mark.server]


def test_every_flow_of_the_calendar_is_deployed_in_the_zone_of_the_practice(
    said: Path, environment: dict[str, str]
) -> None:
    found = ask(environment, "deployments")
    assert {name: (one["entrypoint"], one["limit"]) for name, one in found.items()} == {
        "month-end/monthly": ("flows.month_end:month_end", 1),
        "submission/monthly": ("flows.submission:submission", 1),
        "collection/regular": ("flows.collection:collection", 1),
        "nightly/nightly": ("flows.nightly:nightly", 1),
    }
    month_end = found["month-end/monthly"]
    assert month_end["parameters"] == {
        "month": None,
        "source": environment["RPMCLAIMS_SOURCE"],
        "output": environment["RPMCLAIMS_OUTPUT"],
        "zone": "America/Chicago",
    }
    assert month_end["collision"] == "ENQUEUE"
    assert {zone for one in found.values() for _, zone in one["schedules"]} == {"America/Chicago"}


def test_a_worker_bills_the_previous_month_and_the_runs_are_seen(
    said: Path, environment: dict[str, str]
) -> None:
    run = ask(environment, "run", "month-end/monthly")
    assert (run["name"], run["state"]) == ("month-end 2026-10", "Completed"), (run, said.read_text())
    assert (Path(environment["RPMCLAIMS_OUTPUT"]) / "2026-10" / "lines.csv").is_file()
    # The figures are fresh without anybody asking for them.
    figures = (Path(environment["RPMCLAIMS_HOME"]) / "metrics.prom").read_text()
    assert 'rpmclaims_files{direction="out",kind="837P",state="written"}' in figures

    status = subprocess.run(
        [sys.executable, "-m", "console.cli", "status", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert status.returncode == 3, status.stderr
    document = json.loads(status.stdout)
    schedules = {one["deployment"]: one for one in document["schedules"]}
    assert schedules["month-end/monthly"]["last_state"] == "Completed"
    assert all(one["next_at"] for one in schedules.values())
    assert "files_to_send" in {item["kind"] for item in document["waiting"]}


def test_the_lines_a_worker_logs_are_json_and_name_run_step_and_shard(
    said: Path, environment: dict[str, str]
) -> None:
    lines = [json.loads(line) for line in said.read_text().splitlines() if line.startswith("{")]
    ours = [line for line in lines if line["logger"] == "rpmclaims"]
    billed = next(line for line in ours if line.get("step") == "bill-bucket")
    assert billed["shard"] == "0"
    assert billed["flow_run_id"]
    assert "claims" in billed["message"]


def test_a_night_without_trouble_ends_well_and_a_spoilt_file_ends_it_as_failed(
    said: Path, environment: dict[str, str]
) -> None:
    assert ask(environment, "run", "nightly/nightly")["state"] == "Completed", said.read_text()
    file = next((Path(environment["RPMCLAIMS_OUTPUT"]) / "2026-10" / "claims").glob("*.837"))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"ISA", b"ISB"))
    night = ask(environment, "run", "nightly/nightly")
    file.write_bytes(whole)
    assert night["state"] == "Failed"
    assert f"{file.name}: its content is not what the ledger knows" in night["message"]


def test_without_a_source_nothing_is_started(environment: dict[str, str]) -> None:
    without = {name: value for name, value in environment.items() if name != "RPMCLAIMS_SOURCE"}
    refused = subprocess.run(
        [sys.executable, "-m", "infra.serve"],
        cwd=ROOT,
        env=without,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert refused.returncode == 2
    assert "RPMCLAIMS_SOURCE must be set" in refused.stderr
