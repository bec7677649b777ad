"""Remittance: an 835 as frames, balanced on line, claim and payment.

`edi.reader` and the posting of money use it; `edi.remittance_tables` takes the values out of the segments and
`edi.balance` adds them up. A large file is read in parts of bounded memory. Whose claim it is, and what an
adjustment means, does not belong here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from mmap import mmap

import polars as pl

from edi import remittance_tables as tables
from edi.balance import balance_claims, balance_lines, balance_payments, payment_totals
from edi.findings import collect
from edi.parts import PART_SIZE, parts
from edi.remittance_faults import claim_faults, payment_balance_faults, payment_faults, value_faults
from edi.remittance_loops import Counts, Loops
from edi.segments import Document
from edi.trailers import nesting_findings

_INTERNAL = re.compile(r".*_(text|cents)|is_readable|is_unlike_lines|position")


@dataclass(frozen=True)
class Remittance:
    """What an 835 says. Numbers of payments, claims and lines count from 1 in file order.

    Attributes:
        payments: One row per 835 transaction set.
        claims: One row per CLP; `is_reversal` where CLP02 is 22.
        lines: One row per SVC; `code` and `units` are those paid for, `submitted_…` those billed.
        adjustments: One row per triple of a CAS; `line` is null at claim level.
        remarks: One row per remark code (LQ*HE, MOA, MIA).
        provider_adjustments: One row per pair of a PLB; a positive amount lowers the payment.
        references: REF of claims and lines, one row each; `dates`, `amounts`, `names` likewise.
        findings: What does not add up or cannot be read.
    """

    payments: pl.DataFrame
    claims: pl.DataFrame
    lines: pl.DataFrame
    adjustments: pl.DataFrame
    remarks: pl.DataFrame
    provider_adjustments: pl.DataFrame
    references: pl.DataFrame
    dates: pl.DataFrame
    amounts: pl.DataFrame
    names: pl.DataFrame
    findings: pl.DataFrame


TABLES = tuple(field.name for field in fields(Remittance))


def read_remittance(document: Document) -> Remittance:
    """Read the 835 transaction sets of a document; its envelope findings stay with the document."""
    part, totals, _ = _read_part(document, Counts())
    payments, faults = _balance_payments(part.payments, totals)
    return replace(part, payments=payments, findings=collect(part.findings, _placed(faults, document)))


def read_remittance_file(data: bytes | mmap, part_size: int = PART_SIZE) -> Remittance:
    """Read an 835 of any size; its findings include those of the envelope."""
    frames = list(read_remittance_parts(parts(data, part_size)))
    together = Remittance(*(pl.concat([getattr(part, name) for part in frames]) for name in TABLES))
    return replace(together, findings=collect(together.findings))


def read_remittance_parts(documents: Iterable[Document]) -> Iterator[Remittance]:
    """Read an 835 part by part (`edi.parts`), in bounded memory; `RemittanceParts` says what each holds."""
    remittance = RemittanceParts()
    for document in documents:
        yield remittance.read(document)
    yield remittance.finish()


class RemittanceParts:
    """An 835 read part by part: `read` each part in file order, then `finish`."""

    def __init__(self) -> None:
        """Begin at the start of a file."""
        self._before = Counts()
        self._segments = 0
        self._payments: list[pl.DataFrame] = []
        self._totals: list[pl.DataFrame] = []
        self._envelopes: list[pl.DataFrame] = []
        self._faults: list[pl.DataFrame] = []

    def read(self, document: Document) -> Remittance:
        """Read the next part: all but the payments, which balance only over all parts."""
        part, totals, self._before = _read_part(document, self._before)
        self._segments = document.after.segments
        self._payments.append(part.payments)
        self._totals.append(totals)
        self._envelopes.append(document.envelope)
        self._faults.append(document.syntax_findings)
        return replace(part, payments=_nothing().payments)

    def finish(self) -> Remittance:
        """Give the payments of all parts, balanced, and the findings about them and about the envelope."""
        payments, unbalanced = _balance_payments(pl.concat(self._payments), pl.concat(self._totals))
        envelope = nesting_findings(pl.concat(self._envelopes), self._segments)
        return replace(_nothing(), payments=payments, findings=collect(*self._faults, envelope, unbalanced))


@cache
def _nothing() -> Remittance:
    """Give the tables of a file without any segment."""
    return read_remittance(Document.read(b""))


def _read_part(document: Document, before: Counts) -> tuple[Remittance, pl.DataFrame, Counts]:
    """Read the tables of one part, and the totals its payments need; payments are not balanced yet."""
    if document.sets_of("835").is_empty():
        return *_no_sets(), before
    loops = Loops(document, before)
    return *_read_sets(loops), loops.after


@cache
def _no_sets() -> tuple[Remittance, pl.DataFrame]:
    """Give the tables of a part that pays nothing; most files of an inbox do not."""
    return _read_sets(Loops(Document.read(b""), Counts()))


def _read_sets(loops: Loops) -> tuple[Remittance, pl.DataFrame]:
    document = loops.document
    payments, provider_adjustments = tables.read_payments(loops), tables.read_provider_adjustments(loops)
    references, dates = tables.read_references(loops), tables.read_dates(loops)
    amounts, names = tables.read_amounts(loops), tables.read_names(loops)
    adjustments = tables.read_adjustments(loops)
    lines = balance_lines(tables.read_lines(loops, references, dates, amounts), adjustments)
    claims = balance_claims(tables.read_claims(loops, dates, names), lines, adjustments)
    faults = collect(
        *payment_faults(payments, provider_adjustments),
        *claim_faults(claims, lines, adjustments),
        *value_faults(dates, amounts),
    )
    part = Remittance(
        payments=payments,
        claims=_finished(claims),
        lines=_finished(lines),
        adjustments=_finished(adjustments),
        remarks=tables.read_remarks(loops),
        provider_adjustments=_finished(provider_adjustments),
        references=references,
        dates=_finished(dates),
        amounts=_finished(amounts),
        names=names,
        findings=_placed(faults, document),
    )
    return part, payment_totals(claims, provider_adjustments)


def _placed(faults: pl.DataFrame, document: Document) -> pl.DataFrame:
    """Say in which transaction set the faults are."""
    if faults.is_empty():
        return faults
    return faults.with_columns(transaction=document.transaction_of(faults["segment"]))


def _balance_payments(payments: pl.DataFrame, totals: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    balanced = balance_payments(payments, totals)
    return _finished(balanced), payment_balance_faults(balanced)


def _finished(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out what only balancing and findings needed."""
    return frame[[name for name in frame.columns if not _INTERNAL.fullmatch(name)]]
