"""Submission: the checked claim files of a month go to the clearinghouse, each once.

Started by a person (`rpmclaims submit`) or by the calendar, after a month-end. Where an approval is needed
and missing, nothing leaves.
"""

from prefect import flow

from flows.story import every, measured, run_name, runner
from schemas.deliveries import SubmissionSummary
from tasks import submitting


@flow(
    name="submission",
    flow_run_name=run_name,
    task_runner=runner(),
    persist_result=False,
    validate_parameters=True,
    on_completion=[measured],
    on_failure=[measured],
)
def submission(
    month: str | None, output: str, outbox: str | None = None, zone: str = "UTC"
) -> SubmissionSummary:
    """Deliver what is ready and has not been delivered yet.

    Args:
        month: The service month, `2026-10`; none means the one before the run's scheduled start.
        output: Where the month-end wrote its files.
        outbox: Where the clearinghouse takes them from; `RPMCLAIMS_OUTBOX` unless given.
        zone: The time zone (IANA) in whose calendar the previous month is meant.
    """
    plan = submitting.plan_submission(month, output, outbox, zone)
    if plan.waits_for:
        return submitting.summarise(plan, [])
    deliveries = every(submitting.deliver_file, plan.to_send, plan)
    return submitting.summarise(plan, deliveries)
