"""Late matching: answers that came before their claim, or that a person recognised, find it now.

The collection's last step calls `match_again`, a person `confirm_match`. Nothing posted is changed: what
stood on nobody's account is taken off it and put on the claim's, by a pair that adds up to nothing.
"""

from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

from billing.books import standing
from billing.settlement import UNDECIDED_STATUSES
from schemas.crashpoints import crashpoint
from schemas.errors import Refused
from tasks.accounts import charge_claims, charge_sent_claims, close_ended_claims, settle_claims
from tasks.answer_rows import WORDS
from tasks.answering import ANSWER, move_claims
from tasks.claim_states import CLAIM, TABLES, instant
from tasks.database import insert, query, staged, writing
from tasks.matching import (
    claims_by_number,
    claims_of_references,
    match_answered_lines,
    match_claims,
    suggest_claims,
)
from tasks.remittances import POSTING

INBOUND_FILE: Final = TABLES["inbound_file"]
REMITTANCE: Final = TABLES["remittance"]
REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
REMITTANCE_LINE: Final = TABLES["remittance_line"]
REMITTANCE_ADJUSTMENT: Final = TABLES["remittance_adjustment"]
# What a posting says wherever it stands.
UNAPPLIED: Final = [column for column in POSTING.c if column.name not in ("id", "claim_id", "line_number")]


def match_again(engine: sa.Engine, at: datetime) -> int:
    """Match what can be matched by now, bring charges up to date, and count what found its claim."""
    with writing(engine) as connection:
        answers = _match_answers(connection, at)
        unmatched = query(
            connection,
            sa.select(
                REMITTANCE_CLAIM.c.id.label("claim"),
                *(REMITTANCE_CLAIM.c[name] for name in ("claim_number", "payer_claim_number", "member_id")),
                *(REMITTANCE_CLAIM.c[name] for name in ("original_payer_claim_number", "suggested_claim_id")),
            ).where(REMITTANCE_CLAIM.c.claim_id.is_(None)),
        )
        found = match_claims(connection, unmatched).rename({"claim": "id"})
        _adopt(connection, found, at)
        _suggest(connection, unmatched.join(found, left_on="claim", right_on="id", how="anti"))
        placed = _match_references(connection, at)
        charge_sent_claims(connection, at)
        close_ended_claims(connection, at)
        crashpoint("matches not committed")
    return answers + found.height + placed


def confirm_match(
    engine: sa.Engine, remittance_claim_id: int, claim_number: str, *, by: str, at: datetime
) -> None:
    """Put a remittance claim on the claim that a person says it is about.

    Raises:
        Refused: If either does not exist, or the remittance claim is matched already.
    """
    with writing(engine) as connection:
        claim_id = connection.execute(
            sa.select(CLAIM.c.id).where(CLAIM.c.claim_number == claim_number)
        ).scalar_one_or_none()
        if claim_id is None:
            raise Refused(f"There is no claim {claim_number}.")
        waits = sa.select(REMITTANCE_CLAIM.c.id).where(
            REMITTANCE_CLAIM.c.id == remittance_claim_id, REMITTANCE_CLAIM.c.claim_id.is_(None)
        )
        if connection.execute(waits).first() is None:
            raise Refused(f"Remittance claim {remittance_claim_id} does not wait for a match.")
        found = pl.DataFrame({"id": [remittance_claim_id], "claim_id": [claim_id], "matched_by": ["person"]})
        _adopt(connection, found, at, actor=by)


def _match_answers(connection: sa.Connection, at: datetime) -> int:
    """Tie answers to claims that have appeared since, and move those."""
    names = ("id", "claim_number", "line_control_number", "outcome", "payer_claim_number")
    waiting = query(
        connection,
        sa.select(*(ANSWER.c[name] for name in names), ANSWER.c.codes.label("word"), INBOUND_FILE.c.sha256)
        .join_from(ANSWER, INBOUND_FILE, INBOUND_FILE.c.id == ANSWER.c.inbound_file_id)
        .where(~ANSWER.c.is_matched, ANSWER.c.claim_number.is_not(None)),
    )
    ours = claims_by_number(connection, waiting["claim_number"]).select("claim_number", "claim_id")
    found = waiting.join(ours, on="claim_number")
    with staged(connection, found.select("id", "claim_id")) as matched:
        connection.execute(
            sa.update(ANSWER)
            .where(ANSWER.c.id == matched.c.id)
            .values(claim_id=matched.c.claim_id, is_matched=True)
        )
    words = found.with_columns(interchange_id=pl.lit(None, pl.Int64))
    for (sha256,), said in words.group_by("sha256"):
        move_claims(connection, said.select(list(WORDS)), sha256=str(sha256), at=at)
    numbers = found.drop_nulls("payer_claim_number").unique("claim_id", keep="last")
    with staged(connection, numbers.select("claim_id", "payer_claim_number")) as given:
        connection.execute(
            sa.update(CLAIM)
            .where(CLAIM.c.id == given.c.claim_id, CLAIM.c.payer_claim_number.is_(None))
            .values(payer_claim_number=given.c.payer_claim_number)
        )
    return found.height


def _adopt(connection: sa.Connection, found: pl.DataFrame, at: datetime, actor: str | None = None) -> None:
    """Give remittance claims their claim, with lines, postings and state.

    Args:
        found: id (of the remittance claim), claim_id, matched_by.
    """
    if found.is_empty():
        return
    with staged(connection, found) as match:
        connection.execute(
            sa.update(REMITTANCE_CLAIM)
            .where(REMITTANCE_CLAIM.c.id == match.c.id)
            .values(
                claim_id=match.c.claim_id,
                matched_by=match.c.matched_by,
                matched_at=at,
                suggested_claim_id=None,
            )
        )
    lines = _adopt_lines(connection, found)
    _transfer(connection, found, lines, at)
    with staged(connection, found.select("id")) as match:
        said = query(
            connection,
            sa.select(REMITTANCE_CLAIM.c.claim_id, REMITTANCE_CLAIM.c.status_code, INBOUND_FILE.c.sha256)
            .join_from(match, REMITTANCE_CLAIM, REMITTANCE_CLAIM.c.id == match.c.id)
            .join(REMITTANCE, REMITTANCE.c.id == REMITTANCE_CLAIM.c.remittance_id)
            .join(INBOUND_FILE, INBOUND_FILE.c.id == REMITTANCE.c.inbound_file_id),
        )
    for (sha256,), group in said.group_by("sha256"):
        decided = group.filter(~pl.col("status_code").is_in(UNDECIDED_STATUSES).fill_null(value=False))
        settle_claims(
            connection, group["claim_id"], decided["claim_id"], sha256=str(sha256), at=at, actor=actor
        )
    charge_claims(connection, found["claim_id"], at)


def _suggest(connection: sa.Connection, unmatched: pl.DataFrame) -> None:
    """Point to the claims that the others are probably about: claims may have appeared that nobody knew.

    Args:
        unmatched: claim (the remittance claim), claim_number, member_id, suggested_claim_id.
    """
    with staged(connection, unmatched.select(id="claim")) as waiting:
        lines = query(
            connection,
            sa.select(
                waiting.c.id.label("claim"),
                *(REMITTANCE_LINE.c[name] for name in ("code", "charge", "date_of_service")),
            ).join_from(waiting, REMITTANCE_LINE, REMITTANCE_LINE.c.remittance_claim_id == waiting.c.id),
        )
    suggested = suggest_claims(connection, unmatched.drop("suggested_claim_id"), lines)
    now = unmatched.join(suggested, on="claim", how="left", suffix="_now").filter(
        ~pl.col("suggested_claim_id").eq_missing(pl.col("suggested_claim_id_now"))
    )
    with staged(connection, now.select("claim", "suggested_claim_id_now")) as news:
        connection.execute(
            sa.update(REMITTANCE_CLAIM)
            .where(REMITTANCE_CLAIM.c.id == news.c.claim)
            .values(suggested_claim_id=news.c.suggested_claim_id_now)
        )


def _adopt_lines(connection: sa.Connection, found: pl.DataFrame) -> pl.DataFrame:
    """Give the lines of remittance claims theirs: id, segment, remittance_claim_id, line_number."""
    names = ("id", "remittance_claim_id", "segment", "line_control_number", "charge", "date_of_service")
    with staged(connection, found.select("id", "claim_id")) as match:
        lines = query(
            connection,
            sa.select(
                *(REMITTANCE_LINE.c[name] for name in names),
                REMITTANCE_LINE.c.modifiers,
                match.c.claim_id,
                sa.func.coalesce(REMITTANCE_LINE.c.submitted_code, REMITTANCE_LINE.c.code).label("code"),
            ).join_from(match, REMITTANCE_LINE, REMITTANCE_LINE.c.remittance_claim_id == match.c.id),
        )
    matched = match_answered_lines(connection, lines.rename({"id": "line"}))
    with staged(connection, matched) as match:
        connection.execute(
            sa.update(REMITTANCE_LINE)
            .where(REMITTANCE_LINE.c.id == match.c.line)
            .values(claim_line_number=match.c.claim_line_number)
        )
    return lines.join(matched, left_on="id", right_on="line", how="left").select(
        "id", "segment", "remittance_claim_id", line_number="claim_line_number"
    )


def _transfer(connection: sa.Connection, found: pl.DataFrame, lines: pl.DataFrame, at: datetime) -> None:
    """Take postings off nobody's account and put them on the claim's."""
    with staged(connection, found.select("id", "claim_id")) as match:
        unapplied = query(
            connection,
            sa.select(*UNAPPLIED, match.c.claim_id)
            .join_from(match, POSTING, POSTING.c.remittance_claim_id == match.c.id)
            .where(POSTING.c.claim_id.is_(None)),
        )
        adjusted = query(
            connection,
            sa.select(
                REMITTANCE_ADJUSTMENT.c.segment,
                REMITTANCE_ADJUSTMENT.c.remittance_claim_id,
                REMITTANCE_ADJUSTMENT.c.remittance_line_id.label("id"),
            )
            .join_from(
                match, REMITTANCE_ADJUSTMENT, REMITTANCE_ADJUSTMENT.c.remittance_claim_id == match.c.id
            )
            .distinct(),
        )
    place = ["remittance_claim_id", "segment"]
    of_adjustments = adjusted.join(lines.select("id", "line_number"), on="id")
    numbers = pl.concat([lines.select(*place, "line_number"), of_adjustments.select(*place, "line_number")])
    _put_on_claims(connection, unapplied.join(numbers, on=place, how="left"), at)


def _match_references(connection: sa.Connection, at: datetime) -> int:
    """Put adjustments of whole payments on the claims that their references name by now."""
    waiting = query(
        connection,
        sa.select(*UNAPPLIED, POSTING.c.claim_id).where(
            POSTING.c.claim_id.is_(None),
            POSTING.c.remittance_id.is_not(None),
            POSTING.c.remittance_claim_id.is_(None),
            POSTING.c.reference.is_not(None),
        ),
    )
    unapplied = standing(waiting).drop("claim_id")
    named = claims_of_references(connection, unapplied["reference"])
    placed = unapplied.join(named.rename({"named_claim_id": "claim_id"}), on="reference")
    _put_on_claims(connection, placed, at)
    return placed.height


def _put_on_claims(connection: sa.Connection, unapplied: pl.DataFrame, at: datetime) -> None:
    """Take postings off nobody's account, and put them on that of their claim and, if any, line."""
    place = pl.concat_str("remittance_id", "segment", "number", separator=":")
    placed = unapplied.with_columns(recorded_at=instant(at), dedupe_key=place + ":on")
    off = placed.select(column.name for column in UNAPPLIED).with_columns(
        amount=-pl.col("amount"), dedupe_key=place + ":off"
    )
    insert(connection, POSTING, off)
    insert(connection, POSTING, placed)
