"""Remittance loops: which payment, claim and line of an 835 each segment belongs to.

`edi.remittance_tables` fills its frames by them. The numbers run through all parts of a file. What a segment
says does not belong here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from edi.nesting import Rows
from edi.segments import Document, code

_CLAIM_ENDS = ("CLP", "LX", "TS3", "TS2", "PLB", "ST", "SE", "GS", "GE", "ISA", "IEA")


@dataclass(frozen=True)
class Counts:
    """How many of each loop the earlier parts of a file held."""

    payments: int = 0
    claims: int = 0
    lines: int = 0


class Loops:
    """Which payment, claim and line each row of a document belongs to."""

    def __init__(self, document: Document, before: Counts) -> None:
        """Find the CLP and SVC loops of the document's 835 transaction sets."""
        self.document = document
        self._before = before
        sets = document.transactions.filter(type="835")
        self.sets = sets.with_columns(
            is_new=pl.col("first_segment") > document.number([-1])[0]
        )  # one set may go on from the part before
        self.first_payment = before.payments + 1 - int((~self.sets["is_new"]).sum())
        self.clp, clp_set = document.rows_in("835", "CLP")
        self.svc, _ = document.rows_in("835", "SVC")
        self.claim_payment = self.payment(clp_set)
        self._claim_of = self._owner(self.clp, "CLP", before.claims)
        self._line_of = self._owner(self.svc, "SVC", before.lines)
        self._looked_up: dict[str, tuple[Rows, npt.NDArray[np.uint32]]] = {}

    @property
    def after(self) -> Counts:
        """What the next part must count from."""
        return Counts(
            self.first_payment + len(self.sets) - 1,
            self._before.claims + len(self.clp),
            self._before.lines + len(self.svc),
        )

    def payment(self, transactions: Rows) -> Rows:
        """Number the payments of these transaction sets."""
        return np.searchsorted(self.sets["transaction"].to_numpy(), transactions) + self.first_payment

    def _owner(self, starts: Rows, tag: str, before: int) -> Rows:
        """Give every row the number of the loop it lies in; 0 for none."""
        numbers = np.zeros(len(self.document) + 1, np.int64)
        numbers[starts] = np.arange(len(starts)) + before + 1
        return numbers[self.document.last_of(tag, *_CLAIM_ENDS)]

    def claims(self, rows: Rows) -> Rows:
        """Give the claim of each row; 0 for none."""
        claims: Rows = self._claim_of[rows]
        return claims

    def lines(self, rows: Rows) -> Rows:
        """Give the line of each row; 0 for none."""
        lines: Rows = self._line_of[rows]
        return lines

    def in_claims(self, tag: str) -> Rows:
        """Find the rows of one id inside claims or lines."""
        rows = self.document.rows(tag)
        return rows[(self._claim_of[rows] > 0) | (self._line_of[rows] > 0)]

    def places(self, rows: Rows) -> dict[str, pl.Series]:
        """Say for each row its claim, line (null at claim level) and segment."""
        return {
            "claim": _null_if_zero(self._claim_of[rows]),
            "line": _null_if_zero(self._line_of[rows]),
            "segment": pl.Series(self.document.number(rows)),
        }

    def first(self, owners: Rows, count: int, before: int, rows: Rows) -> Rows:
        """Find the first of `rows` for each of `count` owners; -1 for none."""
        found = np.full(count, -1, np.int64)
        owned = owners > 0
        found[(owners[owned] - before - 1)[::-1]] = rows[owned][::-1]
        return found

    def first_of_lines(self, tag: str, qualifier: str) -> Rows:
        """Find the first segment of an id and qualifier in each line; -1 for none."""
        rows = self._qualified_in_claims(tag, qualifier)
        return self.first(self._line_of[rows], len(self.svc), self._before.lines, rows)

    def first_of_claims(self, tag: str, qualifier: str) -> Rows:
        """Find the first segment of an id and qualifier in each claim, outside its lines; -1 for none."""
        rows = self._qualified_in_claims(tag, qualifier)
        rows = rows[self._line_of[rows] == 0]
        return self.first(self._claim_of[rows], len(self.clp), self._before.claims, rows)

    def first_of_payments(self, tag: str, qualifier: str | None = None) -> Rows:
        """Find the first segment of an id in the header of each payment; -1 for none."""
        rows = self.document.rows(tag)
        rows = rows[self._claim_of[rows] == 0]
        if qualifier is not None:
            rows = self._qualified(rows, qualifier)
        rows, transactions = self.document.within("835", rows)
        return self.first(self.payment(transactions), len(self.sets), self.first_payment - 1, rows)

    def _qualified_in_claims(self, tag: str, qualifier: str) -> Rows:
        if tag not in self._looked_up:
            rows = self.in_claims(tag)
            self._looked_up[tag] = rows, self.document.codes(rows, 1)
        rows, qualifiers = self._looked_up[tag]
        found: Rows = rows[qualifiers == code(qualifier)]
        return found

    def _qualified(self, rows: Rows, qualifier: str) -> Rows:
        found: Rows = rows[self.document.codes(rows, 1) == code(qualifier)]
        return found


def _null_if_zero(numbers: Rows) -> pl.Series:
    series = pl.Series(numbers, dtype=pl.Int64)
    return series.set(series == 0, None)
