"""Corrections: what a claim already sent told the payer, and where the input no longer agrees.

`tasks.registration` calls it inside one write. Nothing here changes a claim: a correction waits on the
worklist for a person, who decides by the payer's kind between a reopening, a replacement and a refund.
"""

import hashlib
from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

from tasks.claim_states import CLAIM, TABLES, instant
from tasks.database import insert, query, staged

ACTOR: Final = "month_end"
CLAIM_LINE: Final = TABLES["claim_line"]
CORRECTION: Final = TABLES["correction"]

# What a payer was told; a correction exists where one of these, or the evidence, is no longer so.
TOLD: Final = ("payer_id", "rendering_npi", "place_of_service", "total_charge", "evidence_sha256")
TOLD_PER_LINE: Final = ("line_number", "code", "modifiers", "units", "date_of_service", "charge")


def changed(connection: sa.Connection, claims: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Return a correction for every sent claim that would now tell the payer something else.

    Args:
        claims: id and claim_number in the ledger, billed_number, and what they would tell now.
        lines: The lines they would have now, by billed_number.
    """
    numbered = lines.join(
        claims.select("billed_number", "id"), left_on="claim_number", right_on="billed_number"
    )
    differing = (
        claims.select("claim_number", "id")
        .join(_told(connection, claims), on="id")
        .join(_as_json(claims, numbered), on="id", suffix="_now")
        .filter(pl.col("told") != pl.col("told_now"))
    )
    # Few claims ever come this far; the digest only gives each difference a name of its own.
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in differing["told_now"]]
    return differing.with_columns(digest=pl.Series(digests, dtype=pl.String)).select(
        claim_id="id",
        kind=pl.lit("changed"),
        was="told",
        now="told_now",
        dedupe_key=pl.format("{}:{}", "claim_number", "digest"),
    )


def withdrawn(connection: sa.Connection, claims: pl.DataFrame) -> pl.DataFrame:
    """Return a correction for every sent claim (id, claim_number) that should not exist at all."""
    return claims.join(_told(connection, claims), on="id").select(
        claim_id="id",
        kind=pl.lit("withdrawn"),
        was="told",
        now=pl.lit("{}"),
        dedupe_key=pl.format("{}:withdrawn", "claim_number"),
    )


def post_corrections(
    connection: sa.Connection, looked_at: pl.Series, corrections: pl.DataFrame, at: datetime
) -> None:
    """Open what is newly wrong and close what the input has since put right or changed again.

    A correction a person closed stays closed; one the input closed opens again if it comes back.
    """
    current = (
        looked_at.rename("claim_id")
        .to_frame()
        .join(corrections.select("claim_id", "dedupe_key"), on="claim_id", how="left")
    )
    if current.is_empty():
        return
    with staged(connection, current) as now:
        of_claim = CORRECTION.c.claim_id == now.c.claim_id
        is_current = sa.func.coalesce(now.c.dedupe_key, "") == CORRECTION.c.dedupe_key
        connection.execute(
            sa.update(CORRECTION)
            .where(of_claim, ~is_current, CORRECTION.c.state == "open")
            .values(state="closed", closed_by=ACTOR)
        )
        connection.execute(
            sa.update(CORRECTION)
            .where(of_claim, is_current, CORRECTION.c.closed_by == ACTOR)
            .values(state="open", closed_by=None, found_at=at)
        )
        noted = query(connection, sa.select(CORRECTION.c.dedupe_key).join(now, of_claim))
    fresh = corrections.join(noted, on="dedupe_key", how="anti")
    insert(connection, CORRECTION, fresh.with_columns(state=pl.lit("open"), found_at=instant(at)))


def _told(connection: sa.Connection, claims: pl.DataFrame) -> pl.DataFrame:
    """Return id and, as JSON, what the ledger's claims tell the payer."""
    with staged(connection, claims.select("id")) as wanted:
        facts = query(
            connection,
            sa.select(CLAIM.c.id, *(CLAIM.c[name] for name in TOLD)).join(wanted, CLAIM.c.id == wanted.c.id),
        )
        lines = query(
            connection,
            sa.select(
                CLAIM_LINE.c.claim_id.label("id"), *(CLAIM_LINE.c[name] for name in TOLD_PER_LINE)
            ).join(wanted, CLAIM_LINE.c.claim_id == wanted.c.id),
        )
    return _as_json(facts, lines)


def _as_json(facts: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Return id and what a claim and its lines tell, as one JSON text that compares."""
    per_line = pl.struct(pl.col(*TOLD_PER_LINE).cast(pl.String))
    listed = lines.sort("id", "line_number").group_by("id", maintain_order=True).agg(lines=per_line)
    text = pl.struct(pl.col(*TOLD).cast(pl.String), "lines").struct.json_encode()
    return facts.join(listed, on="id").select("id", told=text)
