"""Story: what every flow needs: its name in a list of runs, its figures, its runners, its shards."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, TypeVar

from prefect import Flow, runtime
from prefect.client.schemas import FlowRun, State
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from schemas.settings import load_settings
from tasks import watching
from tasks.database import exists
from tasks.months import service_month

Result = TypeVar("Result")


def measured(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Leave fresh figures for the alarms when a run is over, however it ended: a hook of the flows.

    Where there is no ledger yet, as after a preview, there is nothing to tell.
    """
    if exists(load_settings().ledger_url):
        watching.measure()


def run_name() -> str:
    """Name a run after its flow and its month, also where the month is left to the calendar."""
    given = runtime.flow_run.parameters
    month = given["month"] or f"{service_month(None, given['zone']):%Y-%m}"
    return f"{runtime.flow_run.flow_name} {month}"


def runner() -> TaskRunner[Any]:
    """Choose who runs the steps: threads here, or Dask workers elsewhere (the `scale` extra)."""
    settings = load_settings()
    if settings.runner == "dask":
        dask: type[TaskRunner[Any]] = import_module("prefect_dask").DaskTaskRunner
        return dask()
    return ThreadPoolTaskRunner(max_workers=settings.workers)


def every(step: Task[..., Result], shards: Iterable[object], *shared: Any) -> list[Result]:
    """Run one step for every shard, at once, and return the results in the shards' order.

    All shards are finished before the first failure is raised: a retry then runs only those that failed.
    """
    futures = [step.submit(shard, *shared) for shard in shards]
    wait(futures)
    return [future.result() for future in futures]


def in_turn(step: Task[..., Result], shards: Iterable[object], *shared: Any) -> list[Result]:
    """Run one step for every shard, one after the other, and return the results in the shards' order.

    All shards are tried before the first failure is raised, as in `every`.
    """
    results: list[Result] = []
    failures: list[Exception] = []
    for shard in shards:
        try:
            results.append(step(shard, *shared))
        except Exception as failure:  # noqa: BLE001  raised below
            failures.append(failure)
    if failures:
        raise failures[0]
    return results
