"""Registration: what a month's claims become in the ledger, given what it already holds.

`tasks.ledger` calls it inside one write. A claim is new, unchanged, rebuilt (not sent yet), replaced by
a new version (rejected before adjudication) or corrected (sent: it stays as it is and people are told).
What a claim should say is `billing`'s; how many seconds or cents it holds is only checked here.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

from schemas.errors import require_equal
from schemas.ledger import BUILT, REJECTED, REPLACED, VOID
from tasks.claim_states import (
    CLAIM,
    INTERCHANGE,
    KEY,
    ORIGINAL,
    REPLACEMENT,
    TABLES,
    VERSION_CHARACTERS,
    VOIDING,
    append_events,
    instant,
    move,
    void_interchanges,
)
from tasks.corrections import ACTOR, changed, post_corrections, withdrawn
from tasks.database import insert, query, staged
from tasks.versions import reinstate

CLAIM_LINE: Final = TABLES["claim_line"]

CLAIM_COLUMNS: Final = (
    *KEY,
    *("patient_id", "rendering_npi", "payer_id", "payer_kind", "submitter_id", "receiver_id", "usage"),
    *("mac_contract", "locality", "place_of_service", "date_of_service"),
    *("total_charge", "allowed_estimate", "medicare_estimate", "patient_estimate", "line_count"),
    *("content_sha256", "evidence_sha256", "evidence_uri"),
)
LINE_COLUMNS: Final = (
    *("line_number", "code", "modifiers", "units", "date_of_service", "charge"),
    *("allowed_estimate", "medicare_estimate", "patient_estimate", "counted_seconds"),
)
NOT_YET_SENT: Final = ("reserved", "written")


@dataclass(frozen=True)
class Registration:
    """What became of each claim that was handed in.

    `claims` has billed_number (as handed in), claim_number (as the ledger holds it; another version's
    after a replacement) and outcome: new, unchanged, rebuilt, replaced, corrected, taken_back (a person voids
    the claim at the payer, whatever the input says), or already_billed, which says that another patient
    record holds the live claim of this member and month.
    """

    claims: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Claims by outcome."""
        return dict(self.claims["outcome"].value_counts(sort=True).iter_rows())

    @property
    def claim_numbers(self) -> pl.Series:
        """The live claims this registration stands for; pass them to `withdraw_missing`."""
        return self.claims.filter(pl.col("outcome") != "already_billed")["claim_number"]


def register(
    connection: sa.Connection,
    claims: pl.DataFrame,
    lines: pl.DataFrame,
    *,
    month: date,
    source: str,
    at: datetime,
) -> Registration:
    """Bring the ledger to what the claims say, as far as what was sent allows."""
    _check(claims, lines, month)
    decided = _decide(claims.with_columns(source=pl.lit(source)), _known(connection, claims))
    rebuilt = decided.filter(pl.col("outcome") == "rebuilt")
    replaced = decided.filter(pl.col("outcome") == "replaced")
    added = decided.filter(pl.col("outcome").is_in(["new", "replaced"]))

    void_interchanges(connection, rebuilt["live_interchange_id"].drop_nulls())
    _rebuild(connection, rebuilt, at)
    _replace(connection, replaced, at)
    _add(connection, added, at)
    _add_lines(connection, pl.concat([rebuilt, added]), lines)

    standing = decided.filter(pl.col("outcome").is_in(["unchanged", "sent"]))
    _adopt(connection, standing, source)
    suspects = standing.filter(pl.col("outcome") == "sent")
    corrections = changed(connection, suspects.with_columns(id="live_id"), lines)
    post_corrections(connection, standing["live_id"], corrections, at)
    outcome = (
        pl.when(pl.col("live_id").is_in(corrections["claim_id"].implode()))
        .then(pl.lit("corrected"))
        .when(pl.col("outcome") == "sent")
        .then(pl.lit("unchanged"))
        .otherwise("outcome")
    )
    return Registration(decided.select("billed_number", "claim_number", outcome=outcome))


def withdraw_missing(
    connection: sa.Connection, wanted: pl.Series, *, month: date, source: str, at: datetime
) -> pl.DataFrame:
    """Take back the live claims a month no longer supports; see `tasks.ledger.Ledger.withdraw_missing`."""
    held = query(
        connection,
        sa.select(*_LIVE_COLUMNS)
        .outerjoin_from(CLAIM, INTERCHANGE, CLAIM.c.interchange_id == INTERCHANGE.c.id)
        .where(
            CLAIM.c.service_month == month,
            CLAIM.c.source == source,
            CLAIM.c.is_live,
            CLAIM.c.frequency_code != VOIDING,
        ),
    )
    missing = held.join(wanted.rename("claim_number").to_frame(), on="claim_number", how="anti")
    missing = missing.with_columns(is_void=_is_unsent() | (pl.col("state") == REJECTED))
    voided, sent = missing.filter("is_void"), missing.filter(~pl.col("is_void"))
    unsent = voided.filter(pl.col("state") == BUILT)
    void_interchanges(connection, unsent["interchange_id"].drop_nulls())
    event_key = pl.format("withdrawn:{}:{}", "claim_number", "state_version")
    move(connection, voided, VOID, actor=ACTOR, at=at, dedupe=event_key)
    given_up = voided.filter(pl.col("frequency_code") == REPLACEMENT)
    reinstated = reinstate(connection, given_up, actor=ACTOR, at=at)
    told = pl.concat([sent.select("id", "claim_number"), reinstated])
    post_corrections(connection, told["id"], withdrawn(connection, told), at)
    return missing.select(
        "claim_number", outcome=pl.when("is_void").then(pl.lit("void")).otherwise(pl.lit("corrected"))
    ).sort("claim_number")


_LIVE_COLUMNS: Final = (
    *(CLAIM.c[name] for name in ("id", "claim_number", *KEY, "patient_id", "version", "is_live", "source")),
    *(CLAIM.c[name] for name in ("content_sha256", "evidence_sha256", "state", "state_version")),
    *(CLAIM.c[name] for name in ("frequency_code", "payer_claim_number")),
    CLAIM.c.interchange_id,
    INTERCHANGE.c.state.label("interchange_state"),
)


def _check(claims: pl.DataFrame, lines: pl.DataFrame, month: date) -> None:
    """Refuse claims whose totals do not chain; a break here is ours, so it stops the run."""
    require_equal("the month of the claims to register", {month}, {*claims["service_month"], month})
    require_equal("the number of claim numbers", claims.height, claims["claim_number"].n_unique())
    summed = lines.group_by("claim_number").agg(pl.col("charge").sum(), count=pl.len().cast(pl.Int64))
    both = claims.join(summed, on="claim_number", how="full", coalesce=True)
    adds_up = pl.col("charge").eq_missing(pl.col("total_charge")) & pl.col("count").eq_missing(
        pl.col("line_count")
    )
    require_equal("the number of claims that their lines do not add up to", 0, both.filter(~adds_up).height)


def _known(connection: sa.Connection, claims: pl.DataFrame) -> pl.DataFrame:
    """Return what the ledger holds for the claims' keys: the live version, if any, and the latest number."""
    with staged(connection, claims.select(KEY)) as keys:
        versions = query(
            connection,
            sa.select(*_LIVE_COLUMNS)
            .select_from(keys)
            .join(CLAIM, sa.and_(*(CLAIM.c[name] == keys.c[name] for name in KEY)))
            .outerjoin(INTERCHANGE, CLAIM.c.interchange_id == INTERCHANGE.c.id),
        )
    latest = versions.group_by(KEY).agg(latest_version=pl.col("version").max())
    live = versions.filter("is_live").drop("version", "is_live").with_columns(is_unsent=_is_unsent())
    live = live.rename({name: f"live_{name}" for name in live.columns if name not in KEY})
    return latest.join(live, on=KEY, how="left")


def _is_unsent() -> pl.Expr:
    """Tell whether a claim can still be changed: no copy of it can have left the building."""
    return (pl.col("state") == BUILT) & pl.col("interchange_state").is_in(NOT_YET_SENT).fill_null(value=True)


def _decide(claims: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Say what each claim becomes, and under which number."""
    is_same = (pl.col("content_sha256") == pl.col("live_content_sha256")) & (
        pl.col("evidence_sha256") == pl.col("live_evidence_sha256")
    )
    is_ours = pl.col("source") == pl.col("live_source")
    outcome = (
        pl.when(pl.col("live_id").is_null())
        .then(pl.lit("new"))
        .when(pl.col("live_frequency_code") == VOIDING)
        .then(pl.lit("taken_back"))
        .when(pl.col("live_patient_id") != pl.col("patient_id"))
        .then(pl.lit("already_billed"))
        .when(is_same & (is_ours | ~pl.col("live_is_unsent")))
        .then(pl.lit("unchanged"))
        .when("live_is_unsent")
        .then(pl.lit("rebuilt"))
        .when(pl.col("live_state") == REJECTED)
        .then(pl.lit("replaced"))
        .otherwise(pl.lit("sent"))
    )
    version = pl.col("latest_version").fill_null(0) + 1
    numbered = pl.col("claim_number").str.head(16) + pl.lit(VERSION_CHARACTERS).str.slice(version, 1)
    is_added = pl.col("outcome").is_in(["new", "replaced"])
    return (
        claims.select("claim_number", "source", *CLAIM_COLUMNS)
        .join(known, on=KEY, how="left")
        .with_columns(outcome=outcome)
        .with_columns(
            billed_number="claim_number",
            version=pl.when(is_added).then(version),
            claim_number=pl.when(is_added).then(numbered).otherwise("live_claim_number"),
        )
        .sort("billed_number")
    )


def _rebuild(connection: sa.Connection, rebuilt: pl.DataFrame, at: datetime) -> None:
    """Write a claim that was not sent anew, under its own number."""
    _move_live(connection, rebuilt, BUILT, at)
    changed = rebuilt.select("source", *CLAIM_COLUMNS, id="live_id")
    if changed.is_empty():
        return
    with staged(connection, changed) as now:
        told = {name: now.c[name] for name in ("source", *CLAIM_COLUMNS)}
        connection.execute(sa.update(CLAIM).where(CLAIM.c.id == now.c.id).values(told))
        ids = sa.select(now.c.id).scalar_subquery()
        connection.execute(sa.delete(CLAIM_LINE).where(CLAIM_LINE.c.claim_id.in_(ids)))


def _replace(connection: sa.Connection, replaced: pl.DataFrame, at: datetime) -> None:
    """End the versions a payer refused to take in, so that the next ones can live."""
    _move_live(connection, replaced, REPLACED, at)


def _move_live(connection: sa.Connection, decided: pl.DataFrame, to: str, at: datetime) -> None:
    """Move the live claims behind a decision, noting which content gave way to which."""
    live = decided.select(
        pl.col("^live_(id|claim_number|state|state_version|content_sha256)$").name.replace("^live_", ""),
        now="content_sha256",
    )
    data = pl.struct(was="content_sha256", now="now").struct.json_encode()
    key = pl.format("{}:{}:{}", pl.lit(f"{ACTOR}-{to}"), "claim_number", "state_version")
    move(connection, live, to, actor=ACTOR, at=at, dedupe=key, data=data)


def _add(connection: sa.Connection, added: pl.DataFrame, at: datetime) -> None:
    """Insert new claims and new versions, each with its first event."""
    rows = added.select(
        "claim_number",
        "version",
        "source",
        *CLAIM_COLUMNS,
        is_live=pl.lit(value=True),
        # What it replaces was never taken in: so it is what that was, an original or itself a replacement.
        frequency_code=pl.col("live_frequency_code").fill_null(ORIGINAL),
        payer_claim_number=pl.when(pl.col("live_frequency_code") != ORIGINAL).then("live_payer_claim_number"),
        original_claim_number="live_claim_number",
        state=pl.lit(BUILT),
        state_version=pl.lit(1),
        created_at=instant(at),
        updated_at=instant(at),
    )
    insert(connection, CLAIM, rows)
    events = _ids(connection, rows["claim_number"]).select(
        "id",
        dedupe_key=pl.format("built:{}", "claim_number"),
        from_state=pl.lit(None, pl.String),
        to_state=pl.lit(BUILT),
        data=pl.lit("{}"),
    )
    append_events(connection, events, actor=ACTOR, at=at)


def _add_lines(connection: sa.Connection, claims: pl.DataFrame, lines: pl.DataFrame) -> None:
    """Insert the lines of claims, their control numbers following the claim's own."""
    if claims.is_empty():
        return
    owners = claims.select("billed_number", "claim_number").join(
        _ids(connection, claims["claim_number"]), on="claim_number"
    )
    number = pl.col("line_number").cast(pl.String).str.zfill(2)
    rows = lines.join(owners, left_on="claim_number", right_on="billed_number").select(
        *LINE_COLUMNS,
        claim_id="id",
        line_control_number=pl.format("{}-{}", "claim_number_right", number),
    )
    insert(connection, CLAIM_LINE, rows)


def _ids(connection: sa.Connection, claim_numbers: pl.Series) -> pl.DataFrame:
    """Return id and claim_number of claims in the ledger."""
    with staged(connection, claim_numbers.to_frame()) as wanted:
        return query(
            connection,
            sa.select(CLAIM.c.id, CLAIM.c.claim_number).join(
                wanted, CLAIM.c.claim_number == wanted.c.claim_number
            ),
        )


def _adopt(connection: sa.Connection, standing: pl.DataFrame, source: str) -> None:
    """Let the source that asked last own a claim that stands, so that its outputs are whole."""
    foreign = standing.filter(pl.col("live_source") != source).select(id="live_id")
    if foreign.is_empty():
        return
    with staged(connection, foreign) as theirs:
        owned = sa.update(CLAIM).where(CLAIM.c.id == theirs.c.id).values(source=source)
        connection.execute(owned)
