"""Nightly: is everything we must be able to show still there, and did everything happen that had to?

Started by the calendar (`infra/prefect.yaml`). What a person must mend ends the run as failed, so that it is
seen where runs are seen; what waits for a payer or for billing is on the worklist.
"""

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Failed

from flows.story import every, measured, runner
from schemas.operations import NightlySummary
from tasks import keeping


@flow(
    name="nightly",
    task_runner=runner(),
    persist_result=False,
    on_completion=[measured],
    on_failure=[measured],
)
def nightly() -> NightlySummary | State[NightlySummary]:
    """Read the kept files back, renew the worklist, and look for months and runs that are missing."""
    verified = every(keeping.verify_month, keeping.months_to_verify())
    keeping.sweep_outputs()
    items = keeping.refresh_worklist()
    summary = keeping.report_night(verified, items)
    troubles = [f"{file.uri}: {file.what}." for file in summary.broken]
    troubles += [f"{item.what}: {item.next_step}" for item in summary.waiting]
    return Failed(message=" ".join(troubles)) if troubles else summary
