"""Collection: what the clearinghouse and the payers answered becomes states and money in the ledger.

Started every few hours by the calendar (`infra/prefect.yaml`) or by `rpmclaims collect`. Everything that
happens is a step in `tasks`; this page only says in which order.
"""

from prefect import flow

from flows.story import in_turn, measured, runner
from schemas.answers import CollectionSummary
from tasks import collecting, keeping


@flow(
    name="collection",
    flow_run_name="collection {output}",
    task_runner=runner(),
    persist_result=False,
    validate_parameters=True,
    on_completion=[measured],
    on_failure=[measured],
)
def collection(output: str, inbox: str | None = None) -> CollectionSummary:
    """Take every new answer once, and post it whole.

    Args:
        output: Where the raw answers are kept: `s3://bucket/prefix` or a folder.
        inbox: Where the clearinghouse leaves them, likewise; by default RPMCLAIMS_INBOX.
    """
    run = collecting.open_collection(output, inbox)
    arrivals = collecting.list_inbox(run)
    # One after the other: the ledger has one writer, and a large remittance fills the memory of one step.
    try:
        taken = in_turn(collecting.collect_files, collecting.batches(arrivals), run)
    except Exception:
        keeping.refresh_worklist()  # What the other files brought is listed all the same.
        raise
    summary = collecting.settle_up(run, [file for files in taken for file in files])
    keeping.refresh_worklist()
    return summary
