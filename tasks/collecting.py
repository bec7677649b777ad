"""Collecting: the steps of the collection: from the objects of an inbox to files in the ledger.

Each step takes and returns small records (`schemas.answers`). Raw bytes are kept before anybody looks at
them; what they mean is `tasks.translate`, what becomes of them `tasks.posting`.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import polars as pl
import sqlalchemy as sa

from schemas.answers import Answers, Arrival, CollectedFile, CollectionRun, CollectionSummary
from schemas.crashpoints import crashpoint
from schemas.errors import Refused
from schemas.settings import load_settings
from tasks import translate
from tasks.arrivals import ArrivedFile
from tasks.claim_states import TABLES
from tasks.database import reading
from tasks.exchange import mailbox_at
from tasks.filing import open_ledger
from tasks.late_matching import match_again
from tasks.ledger import Ledger
from tasks.posting import post_file, sent_files, taken_before
from tasks.step import LOG, step
from tasks.storage import NotFound, storage_at

# Files are taken in a few batches, however many there are: Prefect loses records in the thousands.
BATCHES_AT_MOST: Final = 16
SENT_CLAIMS: Final = {
    "interchange_id": pl.Int64(),
    "transaction_control_number": pl.String(),
    "batch_number": pl.String(),
    "claim_number": pl.String(),
    "billing_npi": pl.String(),
    "position": pl.Int64(),
}


@step("open-collection")
def open_collection(output: str, inbox: str | None) -> CollectionRun:
    """Settle where answers come from and bring the ledger up to date.

    Raises:
        Refused: If no inbox is named.
    """
    settings = load_settings()
    named = inbox or settings.inbox
    if not named:
        raise Refused("No inbox is named: give --inbox, or set RPMCLAIMS_INBOX.")
    with open_ledger() as ledger:
        ledger.upgrade()
    return CollectionRun(output=output.rstrip("/"), inbox=named.rstrip("/"), at=settings.clock())


@step("list-inbox")
def list_inbox(run: CollectionRun) -> list[Arrival]:
    """List the files of the inbox that have stopped growing and were not taken as they are now."""
    found = [
        Arrival(key=one.key, uri=one.uri, version=one.version, size=one.size)
        for one in mailbox_at(run.inbox).list(load_settings().quiet_seconds)
    ]
    with open_ledger() as ledger:
        taken = taken_before(ledger.engine, [arrival.origin for arrival in found])
    new = [arrival for arrival in found if arrival.origin not in taken]
    LOG.info("%d files in the inbox, %d of them new", len(found), len(new))
    return new


def batches(arrivals: Sequence[Arrival]) -> list[list[Arrival]]:
    """Share the files out over a few batches, in the order of their keys."""
    size = -(-len(arrivals) // BATCHES_AT_MOST) or 1
    return [list(arrivals[start : start + size]) for start in range(0, len(arrivals), size)]


@step("collect-files")
def collect_files(arrivals: list[Arrival], run: CollectionRun) -> list[CollectedFile]:
    """Take files one by one: keep the bytes, read them, post them whole."""
    with open_ledger() as ledger:
        return [_collect(arrival, run, ledger) for arrival in arrivals]


def _collect(arrival: Arrival, run: CollectionRun, ledger: Ledger) -> CollectedFile:
    """Take one file."""
    data = mailbox_at(run.inbox).fetch(arrival.key)
    sha256 = hashlib.sha256(data).hexdigest()
    kept = storage_at(run.folder)
    kept.create(sha256, data)
    crashpoint("answer kept")
    name = arrival.key
    file = ArrivedFile(sha256, name, arrival.origin, kept.uri_of(sha256), len(data), run.at)
    answers = translate.read_answers(data, name)
    collected = post_file(ledger.engine, file, answers, _sent(ledger, answers))
    crashpoint("answer posted")
    LOG.info("%s: %s, %s", name, collected.kind, collected.state)
    return collected


def _sent(ledger: Ledger, answers: Answers) -> pl.DataFrame:
    """Read back the files of ours that the answers speak of; one that lies nowhere says nothing."""
    frames = [pl.DataFrame(schema=SENT_CLAIMS)]
    for interchange_id, uri in sent_files(ledger.engine, answers).rows():
        folder, _, name = uri.rpartition("/")
        try:
            data = storage_at(folder or ".").read(name)
        except NotFound:
            LOG.warning("%s is gone; its answers are tied to it as a whole", name)
            continue
        claims = translate.sent_claims(data).with_columns(interchange_id=pl.lit(interchange_id))
        frames.append(claims.select(pl.col(name).cast(kind) for name, kind in SENT_CLAIMS.items()))
    return pl.concat(frames)


@step("match-again")
def settle_up(run: CollectionRun, collected: Sequence[CollectedFile]) -> CollectionSummary:
    """Match what waited for its claim, charge what was sent, and tell how the collection went."""
    with open_ledger() as ledger:
        later = match_again(ledger.engine, run.at)
        claims, paid, answers = _unmatched(ledger)
    return CollectionSummary(
        inbox=run.inbox,
        output=run.output,
        files=list(collected),
        matched_later=later,
        unmatched_claims=claims,
        unmatched_paid=paid,
        unmatched_answers=answers,
    )


def _unmatched(ledger: Ledger) -> tuple[int, str, int]:
    """Count what nobody has matched yet, and its dollars."""
    claim, answer = TABLES["remittance_claim"], TABLES["answer"]
    money = sa.func.coalesce(sa.func.sum(claim.c.paid), 0, type_=claim.c.paid.type)
    with reading(ledger.engine) as connection:
        claims, paid = connection.execute(
            sa.select(sa.func.count(), money).where(claim.c.claim_id.is_(None))
        ).one()
        answers = connection.execute(sa.select(sa.func.count()).where(~answer.c.is_matched)).scalar_one()
    return claims, str(paid), answers
