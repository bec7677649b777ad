"""Schedules: what a Prefect server knows of our deployments: last runs, next runs, and those that are late.

`tasks.watching` asks. A run is late when its time has passed and no worker took it, and that is all Prefect
can tell: a month that nobody scheduled is found in the ledger instead.
"""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from schemas.errors import OutsideFailed
from schemas.operations import ScheduleSeen

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

# A worker looks for work every few seconds; a run that is this late was not seen by any.
LATE_AFTER: Final = timedelta(minutes=2)
RUNS_LOOKED_AT: Final = 50


class ServerSilent(OutsideFailed):
    """The Prefect server that is set does not answer."""


def api_url() -> str | None:
    """Give the address of the Prefect server, if one is set."""
    return os.environ.get("PREFECT_API_URL") or None


def schedules(at: datetime) -> list[ScheduleSeen] | None:
    """Look up every deployment; None where no server is set.

    Raises:
        ServerSilent: If the server does not answer.
    """
    url = api_url()
    if url is None:
        return None
    # A command that asks no server need not wait for Prefect.
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            flows = {flow.id: flow.name for flow in client.read_flows()}
            found = [
                _seen(f"{flows[deployment.flow_id]}/{deployment.name}", deployment, client, at)
                for deployment in client.read_deployments()
            ]
    except (HTTPError, PrefectException, RuntimeError):
        raise ServerSilent(
            f"The Prefect server at {url} is silent: start it (`make serve`), or correct PREFECT_API_URL."
        ) from None
    return sorted(found, key=lambda one: one.deployment)


def _seen(
    name: str, deployment: "DeploymentResponse", client: "SyncPrefectClient", at: datetime
) -> ScheduleSeen:
    """Tell of one deployment which run was the last, which comes next, and which are late."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    of_it = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[deployment.id]))

    def runs(types: Iterable[StateType], sort: FlowRunSort, limit: int) -> "list[FlowRun]":
        in_state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(types)))
        return client.read_flow_runs(
            deployment_filter=of_it,
            flow_run_filter=filters.FlowRunFilter(state=in_state),
            sort=sort,
            limit=limit,
        )

    begun = set(StateType) - {StateType.SCHEDULED}
    last = next(iter(runs(begun, FlowRunSort.START_TIME_DESC, 1)), None)
    scheduled = runs([StateType.SCHEDULED], FlowRunSort.EXPECTED_START_TIME_ASC, RUNS_LOOKED_AT)
    due = [run.expected_start_time for run in scheduled if run.expected_start_time is not None]
    late = [time for time in due if time < at - LATE_AFTER]
    return ScheduleSeen(
        deployment=name,
        is_paused=deployment.paused,
        last_run=str(last.id) if last else None,
        last_state=last.state_name if last else None,
        last_at=(last.start_time or last.expected_start_time) if last else None,
        next_at=min((time for time in due if time >= at), default=None),
        late_runs=len(late),
        late_since=min(late, default=None),
    )
