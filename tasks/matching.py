"""Matching: whose claim and which line a payer's words are about.

`tasks.answering` and `tasks.remittances` call it inside a write they hold. A claim number of ours decides,
then the payer's own number; anything less certain is a suggestion that a person confirms.
"""

from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

import schemas.ledger_answers  # noqa: F401  its tables belong to the ledger
from billing.line_matching import match_lines
from schemas.ledger import BUILT
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES
from tasks.database import query, staged
from tasks.interchanges import record_sending, record_sent
from tasks.registration import CLAIM_LINE

REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
SHORTEST_CUT: Final = 8  # a claim number cut below this says too little
NOTHING_TOLD: Final = pl.DataFrame(schema={"claim_id": pl.Int64, "number": pl.String})


def claims_by_number(connection: sa.Connection, numbers: pl.Series) -> pl.DataFrame:
    """Find the claims of ours that these numbers name exactly.

    Returns:
        claim_number, claim_id, state, interchange_id: the numbers that are ours.
    """
    with staged(connection, numbers.drop_nulls().unique().to_frame("claim_number")) as asked:
        return query(
            connection,
            sa.select(
                CLAIM.c.claim_number, CLAIM.c.id.label("claim_id"), CLAIM.c.state, CLAIM.c.interchange_id
            ).join_from(asked, CLAIM, CLAIM.c.claim_number == asked.c.claim_number),
        )


def match_claims(connection: sa.Connection, claims: pl.DataFrame) -> pl.DataFrame:
    """Find whose claims a remittance speaks of.

    Args:
        claims: claim, claim_number, payer_claim_number, original_payer_claim_number.

    Returns:
        claim, claim_id, matched_by: the claims that are ours.
    """
    known = claims_by_number(connection, claims["claim_number"]).select("claim_number", "claim_id")
    by_number = claims.join(known, on="claim_number").with_columns(matched_by=pl.lit("number"))
    rest = claims.join(by_number, on="claim", how="anti")
    names = ("payer_claim_number", "original_payer_claim_number")
    wanted = pl.concat([rest.select("claim", number=name) for name in names]).drop_nulls()
    if wanted.is_empty():
        return by_number.select("claim", "claim_id", "matched_by")
    learned = [
        by_number.select("claim_id", number="payer_claim_number"),
        *_claims_of_payer_numbers(connection, wanted["number"].unique()),
    ]
    owners = pl.concat(learned).drop_nulls().unique().filter(pl.len().over("number") == 1)
    found = wanted.join(owners, on="number").select("claim", "claim_id").unique()
    by_payer = found.filter(pl.len().over("claim") == 1).with_columns(matched_by=pl.lit("payer_number"))
    return pl.concat([by_number.select(by_payer.columns), by_payer])


def _claims_of_payer_numbers(connection: sa.Connection, numbers: pl.Series) -> list[pl.DataFrame]:
    """Find the claims that a payer has called by these numbers before."""
    with staged(connection, numbers.to_frame("number")) as asked:
        return [
            query(
                connection,
                sa.select(owner.label("claim_id"), asked.c.number)
                .join_from(asked, table, table.c.payer_claim_number == asked.c.number)
                .where(owner.is_not(None)),
            )
            for table, owner in ((CLAIM, CLAIM.c.id), (REMITTANCE_CLAIM, REMITTANCE_CLAIM.c.claim_id))
        ]


def suggest_claims(connection: sa.Connection, claims: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Point to the one claim that an unmatched one is probably about.

    Args:
        claims: claim, claim_number, member_id: the unmatched ones.
        lines: claim, code, charge, date_of_service of theirs.

    Returns:
        claim, suggested_claim_id: where a cut number, or member, date, code and charge, point to one claim.
    """
    if claims.is_empty():
        return pl.DataFrame(schema={"claim": pl.Int64, "suggested_claim_id": pl.Int64})
    cut = claims.select("claim", "claim_number", start=pl.col("claim_number").str.head(SHORTEST_CUT)).filter(
        pl.col("claim_number").str.len_chars() >= SHORTEST_CUT
    )
    said = lines.join(claims.drop_nulls("member_id").select("claim", "member_id"), on="claim")
    suggested = [_claims_begun(connection, cut), _claims_like(connection, said)]
    only = pl.concat(suggested).unique().filter(pl.len().over("claim") == 1)
    return only.select("claim", suggested_claim_id="claim_id")


def _claims_begun(connection: sa.Connection, cut: pl.DataFrame) -> pl.DataFrame:
    """Find the claims whose numbers begin with a cut one, or that a payer lengthened."""
    if cut.is_empty():
        return pl.DataFrame(schema={"claim": pl.Int64, "claim_id": pl.Int64})
    with staged(connection, cut.select("start").unique()) as asked:
        begun = query(
            connection,
            sa.select(
                asked.c.start, CLAIM.c.claim_number.label("ours"), CLAIM.c.id.label("claim_id")
            ).join_from(asked, CLAIM, sa.func.substr(CLAIM.c.claim_number, 1, SHORTEST_CUT) == asked.c.start),
        )
    is_cut = pl.col("ours").str.starts_with(pl.col("claim_number"))
    is_longer = pl.col("claim_number").str.starts_with(pl.col("ours"))
    return cut.join(begun, on="start").filter(is_cut | is_longer).select("claim", "claim_id")


def _claims_like(connection: sa.Connection, said: pl.DataFrame) -> pl.DataFrame:
    """Find the claims with a line of the same member, date, code and charge."""
    columns = ["claim", "member_id", "code", "charge", "date_of_service"]
    with staged(connection, said.select(columns).drop_nulls()) as asked:
        return query(
            connection,
            sa.select(asked.c.claim, CLAIM.c.id.label("claim_id"))
            .join_from(asked, CLAIM, CLAIM.c.member_id == asked.c.member_id)
            .join(
                CLAIM_LINE,
                sa.and_(
                    CLAIM_LINE.c.claim_id == CLAIM.c.id,
                    *(CLAIM_LINE.c[name] == asked.c[name] for name in ("code", "charge", "date_of_service")),
                ),
            ),
        )


def claims_of_references(
    connection: sa.Connection, references: pl.Series, told: pl.DataFrame = NOTHING_TOLD
) -> pl.DataFrame:
    """Find the claim that the free text of a provider adjustment names, by our number or the payer's.

    Args:
        told: claim_id, number: what the file at hand calls its claims, which the ledger may not know yet.

    Returns:
        reference, named_claim_id: the references that name exactly one claim.
    """
    words = (
        references.drop_nulls()
        .unique()
        .to_frame("reference")
        .with_columns(number=pl.col("reference").str.extract_all(r"[A-Za-z0-9-]{8,}"))
        .explode("number")
        .drop_nulls()
    )
    if words.is_empty():
        return pl.DataFrame(schema={"reference": pl.String, "named_claim_id": pl.Int64})
    known = claims_by_number(connection, words["number"]).select("claim_id", number="claim_number")
    payers = _claims_of_payer_numbers(connection, words["number"].unique())
    named = (
        words.join(pl.concat([known, *payers, told.select(known.columns)]).unique(), on="number")
        .select("reference", "claim_id")
        .unique()
    )
    return named.filter(pl.len().over("reference") == 1).rename({"claim_id": "named_claim_id"})


def match_answered_lines(connection: sa.Connection, lines: pl.DataFrame) -> pl.DataFrame:
    """Find the line of ours for each line of a matched claim; see `billing.line_matching.match_lines`."""
    place = ["claim_id", "line_control_number"]
    numbers = _lines_of(connection, lines["claim_id"], *place, "line_number")
    numbered = lines.join(numbers, on=place).select("line", "claim_id", claim_line_number="line_number")
    odd = lines.join(numbered, on="line", how="anti").select("claim_id").unique()
    if odd.is_empty():
        return numbered.drop("claim_id")
    # Where a number is missing or not ours, the whole claim is looked at.
    facts = ("code", "modifiers", "charge", "date_of_service")
    ours = _lines_of(connection, odd["claim_id"], *place, "line_number", *facts)
    plain = numbered.join(odd, on="claim_id", how="anti").drop("claim_id")
    return pl.concat([plain, match_lines(lines.join(odd, on="claim_id", how="semi"), ours)])


def _lines_of(connection: sa.Connection, claim_ids: pl.Series, *columns: str) -> pl.DataFrame:
    """Return columns of the lines of claims."""
    with staged(connection, claim_ids.unique().to_frame("claim_id")) as asked:
        return query(
            connection,
            sa.select(*(CLAIM_LINE.c[name] for name in columns)).join_from(
                asked, CLAIM_LINE, CLAIM_LINE.c.claim_id == asked.c.claim_id
            ),
        )


def prove_sent(connection: sa.Connection, claim_ids: pl.Series, *, sha256: str, at: datetime) -> None:
    """Take an answer as the receipt of a file that nobody remembers sending.

    A crash between the upload and its record leaves claims that look unsent; who answers them has them, so
    they must never be sent again.
    """
    with staged(connection, claim_ids.unique().to_frame("id")) as asked:
        waiting = query(
            connection,
            sa.select(INTERCHANGE.c.id, INTERCHANGE.c.state)
            .join_from(asked, CLAIM, CLAIM.c.id == asked.c.id)
            .join(INTERCHANGE, INTERCHANGE.c.id == CLAIM.c.interchange_id)
            .where(CLAIM.c.state == BUILT, INTERCHANGE.c.state.in_(("written", "sending")))
            .distinct(),
        )
    for interchange_id, state in waiting.rows():
        if state == "written":
            record_sending(connection, interchange_id)
        record_sent(connection, interchange_id, receipt={"answered_by": sha256}, at=at)
