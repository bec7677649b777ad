"""Submitting: the claim files of a month, from the output to the clearinghouse's outbox, each once.

The flow `submission` calls these steps. A file is uploaded as a draft, the draft is noted in the ledger
(`sending`), it gets its name, and only with the receipt in hand is the file `sent`, its claims with it.
A file that was noted and not sent goes again if its draft can be withdrawn, and is taken as delivered if it
lies in the outbox. If neither is seen, the clearinghouse may have it: a person decides, or an answer does.
"""

import hashlib
from collections.abc import Sequence

import polars as pl

from schemas.crashpoints import crashpoint
from schemas.deliveries import Delivery, OutgoingFile, Receipt, SubmissionPlan, SubmissionSummary
from schemas.errors import Refused
from schemas.settings import Settings, load_settings
from tasks.approvals import MonthOfFiles, month_of_files, signature, why_approval_is_needed
from tasks.exchange import mailbox_at
from tasks.filing import open_ledger
from tasks.ledger import Ledger, LedgerError
from tasks.months import service_month
from tasks.step import LOG, step
from tasks.storage import NotFound, storage_at
from tasks.turns import alone


@step("plan-submission")
def plan_submission(month: str | None, output: str, outbox: str | None, zone: str = "UTC") -> SubmissionPlan:
    """Decide what is sent: every checked file of the month that has not left, if nothing stands against it.

    Raises:
        Refused: If there is no outbox, or no month-end of this output that ran to its end.
    """
    settings = load_settings()
    target = outbox or settings.outbox
    if not target:
        raise Refused("There is no outbox to deliver to: set RPMCLAIMS_OUTBOX or pass --outbox.")
    mailbox_at(target)
    first = service_month(month, zone)
    with open_ledger() as ledger:
        ledger.upgrade()
        found = month_of_files(ledger, first, output)
    kept_back = _kept_back(found.files, settings)
    names = {kept.file_name for kept in kept_back}
    unsent = found.files.filter(pl.col("state").is_in(["written", "sending"]))
    to_send = [file for file in _outgoing(unsent) if file.file_name not in names]
    return SubmissionPlan(
        month=first,
        output=output.rstrip("/"),
        outbox=target.rstrip("/"),
        to_send=to_send,
        kept_back=kept_back,
        sent_before=found.files.filter(pl.col("state") == "sent").height,
        waits_for=_waits_for(found, to_send, settings),
    )


def _outgoing(files: pl.DataFrame) -> list[OutgoingFile]:
    with_cents = files.with_columns(total_cents=(pl.col("total_charge") * 100).cast(pl.Int64))
    return [OutgoingFile(**row) for row in with_cents.select(*OutgoingFile.model_fields).to_dicts()]


def _kept_back(files: pl.DataFrame, settings: Settings) -> list[Delivery]:
    """List the files that must not leave as they are, and why."""
    only = settings.outbox_usage
    reason = (
        pl.when(pl.col("state") == "reserved")
        .then(
            pl.lit("its check found errors: see findings/ beside it, mend the input and run the month again")
        )
        .when((pl.col("state") == "written") & (pl.col("usage") != (only or pl.col("usage"))))
        .then(
            pl.format(
                "it is marked {} (ISA15), and RPMCLAIMS_OUTBOX_USAGE lets only {} into this outbox: "
                "check the payer's `usage`",
                "usage",
                pl.lit(only),
            )
        )
    )
    kept = files.with_columns(
        reason=reason,
        outcome=pl.lit("kept_back"),
        uri=pl.lit(None, pl.String),
        total_cents=(pl.col("total_charge") * 100).cast(pl.Int64),
    ).filter(pl.col("reason").is_not_null())
    return [Delivery(**row) for row in kept.select(*Delivery.model_fields).to_dicts()]


def _waits_for(found: MonthOfFiles, to_send: Sequence[OutgoingFile], settings: Settings) -> str | None:
    """Say what an approval is missing for, if one is needed and a file to send lacks it."""
    why = why_approval_is_needed(found, settings)
    missing = [file for file in to_send if (file.interchange_id, file.sha256) not in found.approved]
    if why is None or not missing:
        return None
    return (
        f"{why}, so {len(missing)} of {len(to_send)} files wait for an approval: "
        f"`rpmclaims approve --month {found.month:%Y-%m} --output {found.output} --by NAME`, "
        f"by somebody other than {found.started_by or 'who started the run'}."
    )


@step("deliver-file")
def deliver_file(file: OutgoingFile, plan: SubmissionPlan) -> Delivery:
    """Deliver one file once, however often and by however many this is asked.

    Raises:
        Refused: If its bytes are not the ones that were checked, or another file bears its name outside.
    """
    at = load_settings().clock()
    with open_ledger() as ledger, alone(ledger.engine, "sending"):
        state, known = ledger.delivery(file.interchange_id)
        if state == "sent":
            return _delivery(file, "was_there")
        data = _checked_bytes(file, plan)
        receipt = _deliver(ledger, file, plan, data, earlier=known if state == "sending" else None)
        if receipt is None:
            ledger.record_missing(file.interchange_id, at=at)
            return _unknown(file, plan)
        crashpoint("file delivered")
        ledger.record_sent(file.interchange_id, receipt=receipt.model_dump(mode="json"), at=at)
    LOG.info("%s: delivered, %d claims", file.file_name, file.claim_count)
    return _delivery(file, "was_there" if receipt.was_there else "delivered", receipt.uri)


def _deliver(
    ledger: Ledger, file: OutgoingFile, plan: SubmissionPlan, data: bytes, earlier: dict[str, str] | None
) -> Receipt | None:
    """Deliver a file, or find it delivered.

    Args:
        earlier: What is known of a delivery that broke off.

    Returns:
        None where it may have been delivered and is not to be seen.
    """
    if earlier is not None:
        box, draft = mailbox_at(earlier.get("outbox") or plan.outbox), earlier.get("draft")
        # In this order: what is withdrawn cannot become a file after we looked.
        is_withdrawn = draft and box.withdraw(draft, file.file_name)
        receipt = box.find(file.file_name, data)
        if receipt or not is_withdrawn:
            return receipt
    box = mailbox_at(plan.outbox)

    def announce(draft: str) -> None:
        try:
            ledger.record_sending(file.interchange_id, outbox=box.uri, draft=draft)
        except LedgerError:
            # Another run was quicker; where the note may have been taken, the draft must stay as its proof.
            if ledger.delivery(file.interchange_id)[0] != "sending":
                box.withdraw(draft, file.file_name)
            raise
        crashpoint("sending marked")

    return box.deliver(file.file_name, data, announce)


def _checked_bytes(file: OutgoingFile, plan: SubmissionPlan) -> bytes:
    """Read a file from the output and make sure that it is the one the ledger knows."""
    storage = storage_at(plan.folder)
    try:
        data = storage.read(file.file_name)
    except NotFound:
        data = b""
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise Refused(
            f"{storage.uri_of(file.file_name)} is not the file that was checked, so it was not sent: "
            "run the month again to write it anew, then submit."
        )
    return data


def _delivery(
    file: OutgoingFile, outcome: str, uri: str | None = None, reason: str | None = None
) -> Delivery:
    known = file.model_dump(include=set(Delivery.model_fields))
    return Delivery.model_validate({**known, "outcome": outcome, "uri": uri, "reason": reason})


def _unknown(file: OutgoingFile, plan: SubmissionPlan) -> Delivery:
    """Say what a person must find out before this file leaves once more."""
    return _delivery(
        file,
        "unknown",
        reason="an earlier delivery broke off just as the file got its name, and it is not to be seen in "
        "the outbox: the clearinghouse may have taken it. Ask there; any answer to it settles this. If they "
        f"never had it: `rpmclaims submit --month {plan.month:%Y-%m} --output {plan.output} "
        f"--resend {file.file_name} --by NAME --reason TEXT`",
    )


def deliver_anew(file_name: str, by: str | None, why: str | None) -> None:
    """Let a file be delivered once more, on the word of somebody who asked the clearinghouse.

    Raises:
        Refused: If nobody doubts that it was delivered, or that it was not.
    """
    actor, reason = signature(by or ""), (why or "").strip()
    if not reason:
        raise Refused("Say what the clearinghouse said: --reason TEXT. It stays with the claims.")
    with open_ledger() as ledger, alone(ledger.engine, "sending"):
        ledger.upgrade()
        if not ledger.deliver_anew(file_name, by=actor, why=reason, at=load_settings().clock()):
            raise Refused(
                f"{file_name} is not a file whose delivery is unknown, so nothing was changed. "
                "`rpmclaims submit` without --resend delivers what has not left, and looks for what may have."
            )


def summarise(plan: SubmissionPlan, deliveries: Sequence[Delivery]) -> SubmissionSummary:
    """Tell what left, what stayed, and whether somebody must look."""
    return SubmissionSummary(
        month=f"{plan.month:%Y-%m}",
        outbox=plan.outbox,
        deliveries=[*deliveries, *plan.kept_back],
        sent_before=plan.sent_before,
        waits_for=plan.waits_for,
        needs_people=bool(plan.kept_back or plan.waits_for)
        or any(delivery.outcome == "unknown" for delivery in deliveries),
    )
