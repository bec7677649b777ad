"""Story: what every flow needs: its name in a list of runs, who runs its steps, one step for many shards."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, TypeVar

from prefect import runtime
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from schemas.settings import load_settings
from tasks.months import service_month

Result = TypeVar("Result")


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
