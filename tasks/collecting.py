"""Collecting: the steps of the collection: from the objects of an inbox to files in the ledger.

Each step takes and returns small records (`schemas.answers`). Raw bytes are kept before anybody looks at
them; what they mean is `tasks.translate`, what becomes of them `tasks.posting`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

import polars as pl
import sqlalchemy as sa
from polars.exceptions import PanicException

from schemas.answers import Answers, Arrival, CollectedFile, CollectionRun, CollectionSummary
from schemas.crashpoints import crashpoint
from schemas.errors import Refused
from schemas.settings import load_settings
from tasks import translate
from tasks.answering import answer_again
from tasks.arrivals import ArrivedFile
from tasks.claim_states import TABLES
from tasks.database import reading, writing
from tasks.exchange import Mailbox, mailbox_at
from tasks.filing import open_ledger
from tasks.late_answers import waiting_files
from tasks.late_matching import match_again
from tasks.ledger import Ledger
from tasks.posting import post_file, sent_files, taken_before
from tasks.step import LOG, step
from tasks.storage import NotFound, Storage, is_transient, storage_at

# Files are taken in a few batches, however many there are: Prefect loses records in the thousands, and a
# step costs more than a small file.
BATCHES_AT_MOST: Final = 16
FILES_AT_LEAST: Final = 50
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
    size = max(-(-len(arrivals) // BATCHES_AT_MOST), FILES_AT_LEAST)
    return [list(arrivals[start : start + size]) for start in range(0, len(arrivals), size)]


@step("collect-files")
def collect_files(arrivals: list[Arrival], run: CollectionRun) -> list[CollectedFile]:
    """Take files one by one: keep the bytes, read them, post them whole.

    A file that fails stops nobody else: its failure is raised when the others are taken. What was taken
    before, by a try that did not come to its end, is told again.
    """
    files: list[CollectedFile] = []
    failures: list[BaseException] = []
    with open_ledger() as ledger:
        desk = _Desk.of(run, ledger)
        taken = taken_before(ledger.engine, [arrival.origin for arrival in arrivals])
        for arrival in arrivals:
            try:
                files.append(taken.get(arrival.origin) or desk.take(arrival))
            # A panic of Polars is no Exception.
            except (Exception, PanicException) as failure:
                if is_transient(failure):
                    raise
                LOG.error("%s could not be taken; it stays in the inbox", arrival.key)
                failures.append(failure)
    if failures:
        raise failures[0]
    return files


@dataclass(frozen=True)
class _Desk:
    """What the files of a batch pass over: where they come from, where they are kept, and the ledger."""

    inbox: Mailbox
    kept: Storage
    ledger: Ledger
    at: datetime
    read_back: dict[str, pl.DataFrame] = field(default_factory=dict)  # files of ours, by their uri

    @classmethod
    def of(cls, run: CollectionRun, ledger: Ledger) -> Self:
        """Set it up for a run."""
        return cls(mailbox_at(run.inbox), storage_at(run.folder), ledger, run.at)

    def take(self, arrival: Arrival) -> CollectedFile:
        """Take one file."""
        data = self.inbox.fetch(arrival.key)
        sha256 = hashlib.sha256(data).hexdigest()
        self.kept.create(sha256, data)
        crashpoint("answer kept")
        name = arrival.key
        file = ArrivedFile(sha256, name, arrival.origin, self.kept.uri_of(sha256), len(data), self.at)
        answers = translate.read_answers(data, name)
        collected = post_file(self.ledger.engine, file, answers, self._sent(answers))
        crashpoint("answer posted")
        LOG.info("%s: %s, %s", name, collected.kind, collected.state)
        return collected

    def take_again(self, file_id: int, file: ArrivedFile) -> int:
        """Tie a file taken before to what we have filed since; count the answers that found it."""
        answers = translate.read_answers(_kept_bytes(file.uri), file.name)
        sent = self._sent(answers)
        with writing(self.ledger.engine) as connection:
            return answer_again(connection, file_id, file, answers, sent, self.at)

    def _sent(self, answers: Answers) -> pl.DataFrame:
        """Say where each claim stands in the files of ours that the answers speak of."""
        frames = [pl.DataFrame(schema=SENT_CLAIMS)]
        for interchange_id, uri in sent_files(self.ledger.engine, answers).rows():
            if uri not in self.read_back:
                self.read_back[uri] = translate.sent_claims(_kept_bytes(uri))
            ours = self.read_back[uri].with_columns(interchange_id=pl.lit(interchange_id, pl.Int64))
            frames.append(ours.select(SENT_CLAIMS.keys()))
        return pl.concat(frames)


def _kept_bytes(uri: str) -> bytes:
    """Read a file that we kept; one that lies nowhere any more says nothing."""
    folder, _, name = uri.rpartition("/")
    try:
        return storage_at(folder or ".").read(name)
    except NotFound:
        LOG.warning("%s is gone; what it says is not heard", name)
        return b""


@step("match-again")
def settle_up(run: CollectionRun, collected: Sequence[CollectedFile]) -> CollectionSummary:
    """Match what waited for its claim, charge what was sent, and tell how the collection went."""
    with open_ledger() as ledger:
        desk = _Desk.of(run, ledger)
        later = sum(desk.take_again(*waiting) for waiting in waiting_files(ledger.engine))
        later += match_again(ledger.engine, run.at)
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
