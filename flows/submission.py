"""Submission: the checked claim files of a month go to the clearinghouse, each once.

Started by a person (`rpmclaims submit`) or by the calendar, after a month-end. Where an approval is needed
and missing, nothing leaves.
"""

from prefect import flow

from flows.story import every, runner
from schemas.deliveries import SubmissionSummary
from tasks import submitting


@flow(
    name="submission",
    flow_run_name="submission {month}",
    task_runner=runner(),
    persist_result=False,
    validate_parameters=True,
)
def submission(month: str, output: str, outbox: str | None = None) -> SubmissionSummary:
    """Deliver what is ready and has not been delivered yet.

    Args:
        month: The service month, `2026-10`.
        output: Where the month-end wrote its files.
        outbox: Where the clearinghouse takes them from; `RPMCLAIMS_OUTBOX` unless given.
    """
    plan = submitting.plan_submission(month, output, outbox)
    if plan.waits_for:
        return submitting.summarise(plan, [])
    deliveries = every(submitting.deliver_file, plan.to_send, plan)
    return submitting.summarise(plan, deliveries)
