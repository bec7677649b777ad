"""Retrying: a run that failed goes on where it stopped, under its own name and with what it had finished.

Started by `rpmclaims retry`. The steps' results are kept under the run, so only what failed, and what comes
after it, is done again. What a step may safely repeat is the step's own affair.
"""

from importlib import import_module
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from schemas.errors import Refused
from tasks.filing import is_overtaken

LOOKED_AT = 100  # of the latest runs


def retry(run: str | None) -> Any:
    """Go on with a run, by its id; without one, with the latest that came to no good end.

    Returns:
        What the flow returns; None where a worker goes on with it, because a deployment started it.

    Raises:
        Refused: If there is no such run, or it has nothing left to do.
    """
    with get_client(sync_client=True) as client:
        found = _named(client, run) if run is not None else _latest_unfinished(client)
        flow = _flow_of(client, found)
        client.set_flow_run_state(found.id, Scheduled(message="rpmclaims retry"), force=True)
        if found.deployment_id is not None:
            return None
        again = client.read_flow_run(found.id)
    return run_flow(flow, flow_run=again, parameters=flow.validate_parameters(again.parameters))


def _named(client: SyncPrefectClient, run: str) -> FlowRun:
    """Find a run by its id."""
    try:
        found = client.read_flow_run(UUID(run))
    except (ValueError, ObjectNotFound):
        raise Refused(f"There is no run {run}; leave the id out to retry the latest that failed.") from None
    if found.state is not None and found.state.is_completed():
        raise Refused(f"The run {found.name} ({run}) is complete: there is nothing to retry.")
    if is_overtaken(str(found.id)):
        raise Refused(
            f"A later run has taken the place of {found.name} ({run}), so nothing was changed and there is "
            "nothing to retry. To bill what has arrived since, run the month-end again."
        )
    return found


def _latest_unfinished(client: SyncPrefectClient) -> FlowRun:
    """Find the latest run without a good end whose like has not succeeded since.

    A run that was killed is still called running: nobody was left to say otherwise. Should it be alive
    after all, the ledger keeps the two from doing anything twice.
    """
    succeeded: set[tuple[object, ...]] = set()
    for found in client.read_flow_runs(limit=LOOKED_AT, sort=FlowRunSort.START_TIME_DESC):
        given = found.parameters
        like = (found.name, given.get("output"), given.get("dry_run"))
        if found.state is None or found.start_time is None or like in succeeded:
            continue
        if found.state.is_completed():
            succeeded.add(like)
        elif not is_overtaken(str(found.id)):
            return found
    raise Refused("No run has failed, so there is nothing to retry.")


def _flow_of(client: SyncPrefectClient, found: FlowRun) -> Flow[..., Any]:
    """Import the flow of a run: `month-end` is `flows.month_end:month_end`."""
    name = client.read_flow(found.flow_id).name
    module = name.replace("-", "_")
    try:
        flow: Flow[..., Any] = getattr(import_module(f"flows.{module}"), module)
    except (ImportError, AttributeError):
        raise Refused(f"The run {found.name} is not one of rpm-claims: {name} is no flow of it.") from None
    return flow
