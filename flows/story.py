"""Story: the few things every flow needs to tell itself: who runs its steps, and one step for many shards."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, TypeVar

from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from schemas.settings import load_settings

Result = TypeVar("Result")


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
