"""Step: how a plain function becomes a Prefect task of ours.

Every step's result is persisted as JSON under its inputs and its run, so that a retried run repeats only
what failed; it is retried by itself only when the outside world may do better next time; and what it
raises never carries data, because Prefect keeps every exception's text.
"""

import functools
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from polars.exceptions import PanicException
from prefect import task
from prefect.cache_policies import INPUTS, RUN_ID, CachePolicy
from prefect.client.schemas import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from schemas.crashpoints import crashpoint
from schemas.errors import ControlBreak, Refused, StepFailed
from tasks.database import LedgerError
from tasks.storage import StorageError, is_transient
from tasks.telemetry import shard_of, under_way

# What a run tells people while it works; the console shows it, and Prefect keeps it beside the run.
LOG: Final = logging.getLogger("rpmclaims")
LOG.setLevel(logging.INFO)

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

# What these say was written by us, about addresses and totals; anything else may quote a patient's data.
SPEAKABLE = (Refused, ControlBreak, StorageError, LedgerError, StepFailed)


@dataclass
class OfStep(CachePolicy):
    """Keep the results of two steps apart that are given the same: Prefect's own keys hold inputs alone."""

    name: str = ""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Answer with the step's name."""
        return self.name


def step(name: str) -> Callable[[Callable[Inputs, Result]], Task[Inputs, Result]]:
    """Make a function a step of a flow, under the name people see in Prefect."""

    def decorate(work: Callable[Inputs, Result]) -> Task[Inputs, Result]:
        @functools.wraps(work)
        def guarded(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Result:
            given = [*args, *kwargs.values()]
            try:
                with under_way(name, given):
                    result = work(*args, **kwargs)
            except SPEAKABLE:
                raise
            # A panic of Polars is no Exception, and its text may quote data like any other.
            except (Exception, PanicException) as failure:  # noqa: BLE001  it goes on, in our words
                raise _speakable(name, given, failure) from None
            crashpoint(f"after {name}")
            return result

        return task(
            name=name,
            persist_result=True,
            result_serializer="json",
            cache_policy=INPUTS + RUN_ID + OfStep(name=name),
            retries=3,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_worth_retrying,
        )(guarded)

    return decorate


def _speakable(name: str, given: Sequence[object], failure: BaseException) -> StepFailed:
    """Say where something broke and what kind of thing it was, and nothing that it held."""
    shard = shard_of(given[0]) if given else None
    named = f"{name} of {shard}" if shard else name
    frames = traceback.extract_tb(failure.__traceback__)
    place = next((frame for frame in reversed(frames) if "site-packages" not in frame.filename), frames[-1])
    module = "/".join(Path(place.filename).parts[-2:])
    return StepFailed(named, type(failure).__name__, f"{module}:{place.lineno}", is_transient(failure))


def _is_worth_retrying(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Retry only what the outside world may do better next time."""
    try:
        state.result()
    except StepFailed as failure:
        return failure.is_transient
    except Exception as failure:  # noqa: BLE001  the failure is looked at, not handled
        return is_transient(failure)
    return False
