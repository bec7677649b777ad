"""Posting: one file that came back, into the ledger: whole or not at all, and never twice.

The collection's steps call `post_file` with what `tasks.translate` read. What was said is kept by
`tasks.answering`, money by `tasks.remittances`; whether it came before is `tasks.arrivals`' to compare.
"""

import json
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from schemas.answers import Answers, CollectedFile
from schemas.crashpoints import crashpoint
from tasks.answering import Answered, answered_files, record_answers
from tasks.arrivals import (
    ANSWERS,
    LARGEST,
    LATEST,
    ArrivedFile,
    Identity,
    identify,
    judged,
    too_large,
    too_late,
)
from tasks.claim_states import TABLES
from tasks.database import query, reading, staged, writing
from tasks.remittances import Remitted, record_remittances

INBOUND_FILE: Final = TABLES["inbound_file"]
REMITTANCE: Final = TABLES["remittance"]
REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
FINDINGS_KEPT: Final = 200  # of one file; the raw bytes hold the rest
FINDING: Final = (
    "severity",
    "rule",
    "transaction",
    "segment",
    "loop",
    "element",
    "found",
    "expected",
    "message",
)


def taken_before(engine: sa.Engine, origins: list[str]) -> dict[str, CollectedFile]:
    """Return what became of those objects of an inbox that were taken as they are now, by their origin."""
    with reading(engine) as connection, staged(connection, pl.DataFrame({"origin": origins})) as asked:
        statement = sa.select(INBOUND_FILE.c.origin, INBOUND_FILE.c.summary).where(
            INBOUND_FILE.c.origin.in_(sa.select(asked.c.origin))
        )
        return {origin: CollectedFile.model_validate(told) for origin, told in connection.execute(statement)}


def sent_files(engine: sa.Engine, answers: Answers) -> pl.DataFrame:
    """Find the files of ours that these answers speak of: interchange_id, uri."""
    with reading(engine) as connection:
        return answered_files(connection, answers)


def post_file(engine: sa.Engine, file: ArrivedFile, answers: Answers, sent: pl.DataFrame) -> CollectedFile:
    """Bring one file into the ledger, in one transaction; a file that came before changes nothing.

    Args:
        sent: interchange_id and the columns of `tasks.translate.sent_claims`, of the files that are answered.
    """
    payments = judged(answers, file.at)
    identity = identify(answers, payments)
    with writing(engine) as connection:
        if _has(connection, INBOUND_FILE.c.sha256 == file.sha256):
            return CollectedFile(name=file.name, sha256=file.sha256, kind=identity.kind, state="repeat")
        file_id = (connection.execute(sa.select(sa.func.max(INBOUND_FILE.c.id))).scalar_one() or 0) + 1
        if _came_before(connection, identity):
            collected = CollectedFile(name=file.name, sha256=file.sha256, kind=identity.kind, state="repeat")
            _add(connection, file_id, file, identity, collected, answers.findings)
            return collected
        stated = _with_states(connection, payments, answers.claims)
        _add(connection, file_id, file, identity, _collected(file, identity, stated), answers.findings)
        remitted = record_remittances(connection, file_id, file, answers, stated)
        answered = record_answers(connection, file_id, file, answers, sent)
        collected = _collected(file, identity, stated, remitted, answered)
        collected = collected.model_copy(update={"errors": answers.findings.filter(severity="error").height})
        _finish(connection, file_id, collected, _own_findings(file, answers, stated, answered))
        crashpoint("answer not committed")
    return collected


def _has(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> bool:
    return connection.execute(sa.select(INBOUND_FILE.c.id).where(*where).limit(1)).first() is not None


def _came_before(connection: sa.Connection, identity: Identity) -> bool:
    """Tell a file that came again in other bytes: the same numbers of the same sender, saying the same."""
    numbers = ("sender_id", "interchange_control_number", "group_control_number")
    same = (INBOUND_FILE.c[name].is_not_distinct_from(getattr(identity, name)) for name in numbers)
    is_something = INBOUND_FILE.c.state != "unreadable"
    return _has(connection, INBOUND_FILE.c.content_sha256 == identity.content_sha256, is_something, *same)


def _with_states(connection: sa.Connection, payments: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Say what becomes of each payment.

    `repeat`: a payment of the same numbers that says the same is posted, or comes earlier in the file.
    `quarantined`: it does not balance, or its numbers were posted, or come earlier in the file, with some of
    its claims and other words.
    """
    key = ["identity_key", "content_sha256"]
    with staged(connection, payments.select("identity_key").unique()) as asked:
        posted = query(
            connection,
            sa.select(REMITTANCE.c.id, *(REMITTANCE.c[name] for name in key))
            .join_from(asked, REMITTANCE, REMITTANCE.c.identity_key == asked.c.identity_key)
            .where(REMITTANCE.c.state == "posted"),
        )
    with staged(connection, posted.select("id")) as asked:
        names = ("remittance_id", "claim_number", "status_code", "charge", "paid")
        known = query(
            connection,
            sa.select(*(REMITTANCE_CLAIM.c[name] for name in names)).join_from(
                asked, REMITTANCE_CLAIM, REMITTANCE_CLAIM.c.remittance_id == asked.c.id
            ),
        )
    same = known.join(posted.select("identity_key", remittance_id="id"), on="remittance_id")
    said = claims.join(payments.select("payment", "identity_key", "is_whole"), on="payment")
    facts = ["identity_key", "claim_number", "status_code", "charge", "paid"]
    amounts = (pl.col("charge", "paid").cast(pl.Decimal(38, 2)),)
    said = said.with_columns(*amounts)
    known_of = [
        same.with_columns(*amounts, payment=pl.lit(0, said.schema["payment"])),
        said.filter("is_whole"),
    ]
    first = pl.concat([frame.select(*facts, first="payment") for frame in known_of]).group_by(facts).min()
    again = said.join(first, on=facts).filter(pl.col("first") < pl.col("payment"))["payment"]
    is_first = pl.int_range(pl.len()).over("is_whole", *key) == 0
    return (
        payments.join(
            posted.select(*key, is_known=pl.lit(value=True)), on=key, how="left", maintain_order="left"
        )
        .with_columns(
            is_altered=pl.col("payment").is_in(again.unique().implode()) & pl.col("is_known").is_null()
        )
        .with_columns(
            state=pl.when(~pl.col("is_whole"))
            .then(pl.lit("quarantined"))
            .when(pl.col("is_known").is_not_null() | ~is_first)
            .then(pl.lit("repeat"))
            .when("is_altered")
            .then(pl.lit("quarantined"))
            .otherwise(pl.lit("posted"))
        )
    )


def _collected(
    file: ArrivedFile,
    identity: Identity,
    payments: pl.DataFrame,
    remitted: Remitted | None = None,
    answered: Answered | None = None,
) -> CollectedFile:
    """Sum up what became of a file."""
    remitted, answered = remitted or Remitted(), answered or Answered()
    states = payments["state"].to_list()
    return CollectedFile(
        name=file.name,
        sha256=file.sha256,
        kind=identity.kind,
        state=_state(identity.kind, states),
        payments=len(states),
        payments_posted=states.count("posted"),
        payments_quarantined=states.count("quarantined"),
        paid=str(remitted.paid),
        claims=remitted.claims,
        claims_matched=remitted.matched,
        lines_denied=remitted.denied_lines,
        answers=answered.answers,
        answers_unmatched=answered.unmatched,
        accepted=answered.moved.get("accepted", 0),
        rejected=answered.moved.get("rejected", 0),
        adjudicated=remitted.adjudicated,
        refused=remitted.refused + answered.refused,
        is_unreconciled=not answered.findings.is_empty(),
    )


def _state(kind: str, payments: list[str]) -> str:
    """Say what became of the file as a whole; its answers are always taken."""
    if kind not in ANSWERS and kind != "mixed":
        return "unreadable"
    if "quarantined" in payments:
        return "partly" if kind == "mixed" or set(payments) != {"quarantined"} else "quarantined"
    return "repeat" if kind == "835" and set(payments) == {"repeat"} else "posted"


def _add(
    connection: sa.Connection,
    file_id: int,
    file: ArrivedFile,
    identity: Identity,
    collected: CollectedFile,
    findings: pl.DataFrame,
) -> None:
    """Remember that a file came."""
    row: dict[str, Any] = {
        "id": file_id,
        "sha256": file.sha256,
        "name": file.name,
        "origin": file.origin,
        "uri": file.uri,
        "size": file.size,
        "received_at": file.at,
        "kind": identity.kind,
        "sender_id": identity.sender_id,
        "interchange_control_number": identity.interchange_control_number,
        "group_control_number": identity.group_control_number,
        "content_sha256": identity.content_sha256,
        "state": collected.state,
        "summary": collected.model_dump(),
        "findings": _kept(findings),
    }
    connection.execute(sa.insert(INBOUND_FILE).values(**row))


def _finish(
    connection: sa.Connection, file_id: int, collected: CollectedFile, findings: pl.DataFrame
) -> None:
    """Remember what became of it."""
    values = {"state": collected.state, "summary": collected.model_dump(), "findings": _kept(findings)}
    connection.execute(sa.update(INBOUND_FILE).where(INBOUND_FILE.c.id == file_id).values(**values))


def _own_findings(
    file: ArrivedFile, answers: Answers, payments: pl.DataFrame, answered: Answered
) -> pl.DataFrame:
    """Add to the reader's findings what only the ledger can know."""
    altered = payments.filter((pl.col("state") == "quarantined") & pl.col("is_whole")).select(
        "transaction",
        "segment",
        severity=pl.lit("error"),
        rule=pl.lit("payment_altered"),
        element=pl.lit("TRN02"),
        message=pl.lit(
            "A payment of the same payer, trace number, date and amount was posted with some of these "
            "claims, but says other things. Ask the payer which is right."
        ),
    )
    unheld = (
        too_large(answers)
        .join(payments.select("payment", "transaction"), on="payment")
        .select(
            *("transaction", "segment", "element", "found"),
            severity=pl.lit("error"),
            rule=pl.lit("amount_too_large"),
            expected=pl.lit(f"less than {LARGEST:,} dollars"),
            message=pl.lit(
                "The ledger holds no amount as large as this, so the whole payment is kept back. Ask the "
                "payer for a corrected remittance."
            ),
        )
    )
    odd_date = too_late(payments, file.at.date()).select(
        *("transaction", "segment", "found"),
        severity=pl.lit("warning"),
        rule=pl.lit("payment_date_too_late"),
        element=pl.lit("BPR16"),
        expected=pl.lit(f"{file.at.date() + LATEST:%Y%m%d} or earlier"),
        message=pl.lit(
            "The payment is dated more than a year after it arrived. It is posted on that date, so no report "
            "of a closed period has it before then. Ask the payer for the right date."
        ),
    )
    own = [altered, unheld, odd_date]
    return pl.concat([answers.findings, *own, answered.findings], how="diagonal_relaxed")


def _kept(findings: pl.DataFrame) -> list[dict[str, Any]]:
    """Keep the first findings of a file, the worst first."""
    first = findings.sort("severity", maintain_order=True).head(FINDINGS_KEPT)
    kept: list[dict[str, Any]] = json.loads(first.select(FINDING).write_json())
    return kept
